"""robust=True: batches are aligned before they are scored, and only then."""

import numpy as np
import polars as pl
import pytest

from pkboost_core import PKBoostClassifier
from pkboost_core.metrics import roc_auc
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
