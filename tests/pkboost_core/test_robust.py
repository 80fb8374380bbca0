"""robust=True: batches are aligned before they are scored, and only then."""

import numpy as np
import polars as pl
import pytest

from pkboost_core import PKBoostClassifier
from pkboost_core.metrics import roc_auc
from pkboost_core.pruning import tree_scores
from pkboost_core.repair import Repair
from pkboost_core.serialize import dumps, loads

OPTIONS = {"n_estimators": 30, "early_stopping": False, "max_leaf_nodes": 8}


def leads(n, seed):
    rng = np.random.default_rng(seed)
    visits, size = rng.poisson(6, n).astype(float), np.round(rng.gamma(2, 30, n))
    y = visits + size / 20 + rng.normal(size=n) > 10
    return pl.DataFrame({"visits": visits, "size": size, "source": rng.choice(["web", "fair"], n)}), y


@pytest.fixture(scope="module")
def fitted():
    return PKBoostClassifier(**OPTIONS, robust=True).fit(*leads(3000, 0))


def test_a_batch_in_other_units_scores_as_before(fitted):
    batch, y = leads(1000, 1)
    disturbed = batch.with_columns(pl.col("size") * 0.453 + 7.7)
    frozen = PKBoostClassifier(**OPTIONS).fit(*leads(3000, 0))
    clean = roc_auc(y, frozen.predict_proba(batch)[:, 1])
    assert roc_auc(y, frozen.predict_proba(disturbed)[:, 1]) < clean - 0.02
    assert roc_auc(y, fitted.predict_proba(disturbed)[:, 1]) > clean - 0.005


def test_the_report_names_what_was_touched(fitted):
    batch, _ = leads(1000, 1)
    matrix, report = fitted.align(batch.with_columns(-pl.col("visits") - 0.5))
    assert [(t.name, t.column) for t in report] == [("visits", 0)]
    assert matrix.shape == batch.shape
    np.testing.assert_array_equal(matrix[:, 1], batch["size"])


def test_an_undisturbed_batch_scores_as_without(fitted):
    batch, _ = leads(1000, 2)
    frozen = PKBoostClassifier(**OPTIONS).fit(*leads(3000, 0))
    assert fitted.align(batch)[1] == []
    np.testing.assert_array_equal(fitted.predict_proba(batch), frozen.predict_proba(batch))
    np.testing.assert_array_equal(frozen.ensemble_.nodes, fitted.ensemble_.nodes)


@pytest.mark.parametrize("first", [np.float32, np.float64])
def test_the_same_rows_in_another_precision_are_no_novelty(first):
    X = np.round(np.random.default_rng(0).gamma(2, 1, size=(2000, 3)), 1)
    model = PKBoostClassifier(**OPTIONS, robust=True).fit(X.astype(first), X.sum(axis=1) > 5)
    for second in (np.float32, np.float64):
        assert model.align(X.astype(second))[1] == []
        assert [t.reason for t in model.align(X.astype(second) * [1.0, 1.609, 1.0])[1]] == ["novel values"]


def test_a_repair_sees_the_rows_as_scoring_does(fitted):
    batch, y = leads(1000, 4)
    repair = Repair(fitted, batch.with_columns(pl.col("size") * 2.2 + 0.3), y, None, None, {})
    scores = tree_scores(repair.trees, repair.rows, repair.plan.binning).sum(axis=0)
    np.testing.assert_allclose(scores + fitted.ensemble_.base_score[0], repair.raw, atol=1e-5)
    matrix = fitted.align(batch)[0]
    matrix[3, 2] = -1.0
    with pytest.raises(ValueError, match="categorical column 'source' holds -1; expected integer codes"):
        Repair(fitted, matrix, y, None, None, {})


def test_the_profile_is_saved_with_the_model(fitted):
    again = loads(dumps(fitted))
    batch = leads(1000, 3)[0].with_columns(pl.col("size") * 2.2 + 0.3)
    assert again.robust
    assert again.align(batch)[1] == fitted.align(batch)[1] != []
    np.testing.assert_array_equal(again.predict_proba(batch), fitted.predict_proba(batch))
    state = fitted.to_state()
    state["reference"] = {"columns": [], "correlation": np.zeros((0, 0))}
    with pytest.raises(ValueError, match="training profile does not belong to 3 columns"):
        PKBoostClassifier.from_state(state)
    with pytest.raises(ValueError, match="robust=True needs the training profile"):
        PKBoostClassifier.from_state(state | {"reference": None})


def test_explanations_speak_of_the_aligned_batch(fitted):
    batch = leads(1000, 3)[0].with_columns(pl.col("size") * 2.2 + 0.3)
    values, expected = fitted.shap_values(batch)
    raw = fitted.decision_function(batch)
    np.testing.assert_allclose(values.sum(axis=1) + expected, raw, atol=1e-10)
    matrix, _ = fitted.align(batch)
    assert fitted.explain(matrix[7]).raw_score[0] == raw[7]


def test_without_robust_there_is_nothing_to_align_to():
    X, y = leads(200, 0)
    with pytest.raises(ValueError, match="align needs a model fitted with robust=True"):
        PKBoostClassifier(**OPTIONS).fit(X, y).align(X)
    with pytest.raises(ValueError, match="robust='yes' should be one of True, False"):
        PKBoostClassifier(robust="yes").fit(X, y)
