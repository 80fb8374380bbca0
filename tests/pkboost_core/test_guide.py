"""The code of the guide runs as printed, and its comments are true."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "booster.md"


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    """What the guide's code leaves behind, with what it printed as "printed"."""
    names, printed = {}, io.StringIO()
    with contextlib.chdir(tmp_path_factory.mktemp("guide")), contextlib.redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL):
            exec(compile(block, GUIDE.name, "exec"), names)  # noqa: S102
    return names | {"printed": printed.getvalue()}


def test_models_are_printed_stored_and_matched_by_name(guide):
    assert "source in {fair}" in guide["printed"]
    leads = guide["leads"]
    expected = guide["same"].predict_proba(leads)
    assert expected.shape == (2000, 2)
    shuffled = guide["same"].predict_proba(leads.select("is_customer", "source", "visits"))
    np.testing.assert_array_equal(shuffled, expected)


def test_a_disturbed_batch_is_reported(guide):
    assert [(t.name, t.reason, t.row_share) for t in guide["touched"]] == [("visits", "novel values", 1.0)]


def test_numbers_and_more_classes_are_predicted(guide):
    leads, three = guide["leads"], guide["three"]
    assert 0.87 < (guide["weeks"] < guide["late"].predict(leads)).mean() < 0.93
    assert three.classes_.tolist() == ["lost", "silent", "won"]
    assert three.predict_proba(leads).shape == (2000, 3)
    assert (three.predict(leads) == guide["outcome"]).mean() > 0.85


def test_stages_end_with_the_model(guide):
    last = guide["model"].predict_proba(guide["leads"])
    np.testing.assert_array_equal(guide["stages"][-1], last)


def test_leaves_are_nodes_of_the_table(guide):
    model, leaf, table = guide["model"], guide["leaf"], guide["model"].trees_to_frame("none")
    assert leaf.shape == (2000, model.n_trees_)
    at = dict(zip(zip(table["tree"], table["node"], strict=True), table["value"], strict=True))
    raw = model.ensemble_.base_score[0] + sum(at[tree, node] for tree, node in enumerate(leaf[0]))
    assert raw == pytest.approx(model.decision_function(guide["leads"])[0])


def test_attributions_add_up_whatever_the_leaves(guide):
    leads = guide["leads"]
    assert guide["bag"].ensemble_.nodes["n_terms"].any()
    for model, (values, expected) in (
        (guide["model"], (guide["values"], guide["expected"])),
        (guide["bag"], guide["bag"].shap_values(leads)),
    ):
        np.testing.assert_allclose(values.sum(axis=1) + expected, model.decision_function(leads))
