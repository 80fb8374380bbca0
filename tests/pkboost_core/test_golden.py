"""Models stored by earlier versions answer as they did when they were stored."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pkboost_core.serialize import load

FOLDERS = sorted(path for path in (Path(__file__).parent / "golden").iterdir() if path.is_dir())
STORED = [path for folder in FOLDERS for path in sorted(folder.glob("*.pkb"))]


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_stored_models_answer_as_when_they_were_stored(path):
    expected = json.loads((path.parent / "expected.json").read_text(encoding="utf-8"))
    batch = pl.DataFrame(expected["rows"])
    model = load(path)
    found = {"predict": model.predict(batch)}
    found["shap_values"], found["expected"] = model.shap_values(batch)
    if "predict_proba" in expected[path.stem]:
        found["predict_proba"] = model.predict_proba(batch)
    assert set(found) == set(expected[path.stem])
    for name, values in expected[path.stem].items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-12)


def test_every_kind_of_model_is_stored():
    assert {path.stem for path in STORED} == {"two_classes", "three_classes", "bag", "quality", "counts"}
    assert sum(path.stat().st_size for path in STORED) < 100_000 * len(FOLDERS)


def test_the_stored_quality_models_have_linear_leaves_and_test_crosses():
    for path in (path for path in STORED if path.stem == "quality"):
        ensemble = load(path).ensemble_
        nodes = ensemble.nodes
        assert nodes["n_terms"].any()
        assert (nodes["feature"] >= ensemble.n_features).any()
