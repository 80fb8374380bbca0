"""Linear leaves: the regression they claim, no extrapolation, and the guarantees of constant leaves."""

import numpy as np
import pytest

from pkboost_core import PKBoostClassifier, PKBoostRegressor
from pkboost_core.binning import Binning, fit_binning
from pkboost_core.explain import shap_values
from pkboost_core.linear_leaves import MAX_Z, UNIT, bin_positions
from pkboost_core.metrics import log_loss
from pkboost_core.serialize import ModelFileError, dumps, loads


def smooth(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose log-odds are smooth in the features, with missing values and a category."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    X[:, 5] = rng.integers(0, 4, n)
    log_odds = 1.2 * X[:, 0] - X[:, 1] + 0.8 * np.tanh(2 * X[:, 2]) + 0.5 * (X[:, 5] == 2) - 1.5
    X[rng.random((n, 6)) < 0.05] = np.nan
    return X, (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)


def fitted(n: int = 3_000, **params: object) -> PKBoostClassifier:
    X, y = smooth(n, 1)
    options = {"linear_leaves": True, "categorical_features": [5], "random_state": 3} | params
    return PKBoostClassifier(**options).fit(X, y)


def test_positions_are_standardised_middles_of_bins() -> None:
    X = np.random.default_rng(0).exponential(size=(2_000, 1))
    binning = fit_binning(X, 32, np.array([False]), None, np.random.default_rng(0))
    z = bin_positions(binning.thresholds, binning.is_categorical)[0] / UNIT
    seen = z[: int(binning.n_bins[0])]
    assert np.all(np.diff(seen) >= 0)
    assert abs(seen.mean()) < 0.1
    assert np.abs(z).max() <= MAX_Z
    assert z[int(binning.n_bins[0])] == 0.0  # missing


@pytest.mark.parametrize("cuts", [[2e17], [-1e308, 1e308], [0.0, 1e300, 2e300]])
def test_a_spread_that_no_float_can_hold_gives_no_line(cuts: list[float]) -> None:
    """A cut between two times in nanoseconds, say: a step of one beside it is lost in rounding."""
    assert not bin_positions([np.array(cuts)], np.array([False])).any()


def test_one_leaf_holds_the_ridge_regression_of_its_gradients() -> None:
    """A single split on a column that says nothing about the rest: each leaf against NumPy's solution."""
    rng = np.random.default_rng(5)
    X = np.column_stack([rng.normal(size=4_000), rng.normal(size=4_000)])
    y = (rng.random(4_000) < 1 / (1 + np.exp(1.0 - 1.5 * X[:, 0]))).astype(float)
    model = PKBoostClassifier(
        n_estimators=1, max_leaf_nodes=2, learning_rate=1.0, early_stopping=False, linear_leaves=True,
        subsample=1.0, colsample=1.0, max_delta_step=None, random_state=0,
    ).fit(X, y)  # fmt: skip
    nodes, ensemble = model.ensemble_.nodes, model.ensemble_
    binning = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
    positions = bin_positions(ensemble.bin_thresholds, ensemble.is_categorical) / UNIT
    feature = int(nodes["feature"][0])
    codes = binning.transform(X)[feature >> 3, :, feature & 7]
    z, leaf = positions[feature][codes], model.apply(X)[:, 0]
    p = y.mean()
    g, h = p - y, np.full(len(y), p * (1 - p))
    for n in np.flatnonzero(nodes["is_leaf"]):
        rows = leaf == n
        center = z[rows].mean()
        zc = z[rows] - center
        slope = -(zc @ g[rows]) / (zc @ (h[rows] * zc) + 1.0)
        assert nodes["n_terms"][n] == 1
        assert nodes["term_centers"][n, 0] == pytest.approx(center, abs=1e-3)
        assert nodes["term_slopes"][n, 0] == pytest.approx(slope, rel=2e-3)


def test_where_the_truth_is_smooth_lines_are_closer_than_steps() -> None:
    X, y = smooth(6_000, 2)
    losses = {
        linear: np.mean(
            [
                log_loss(
                    y[4_000:],
                    PKBoostClassifier(linear_leaves=linear, random_state=seed)
                    .fit(X[:4_000], y[:4_000])
                    .predict_proba(X[4_000:])[:, 1],
                )
                for seed in range(3)
            ]
        )
        for linear in (False, True)
    }
    assert losses[True] < losses[False]


def test_contributions_add_up_to_the_raw_score() -> None:
    model = fitted(mode="quality")
    X, _ = smooth(500, 7)
    values, expected = shap_values(model.ensemble_, X)
    assert model.ensemble_.nodes["n_terms"].any()
    np.testing.assert_allclose(values.sum(axis=1) + expected, model.decision_function(X), atol=1e-9)


def test_nothing_is_extrapolated() -> None:
    model = fitted()
    X, _ = smooth(50, 7)
    far, farther = X.copy(), X.copy()
    far[:, 0], farther[:, 0] = 1e3, 1e9
    np.testing.assert_array_equal(model.decision_function(far), model.decision_function(farther))


def test_files_threads_and_batches_change_nothing() -> None:
    model = fitted(mode="quality")
    X, _ = smooth(300, 7)
    raw = model.decision_function(X)
    other = fitted(mode="quality", n_threads=2)
    assert other.ensemble_.nodes.tobytes() == model.ensemble_.nodes.tobytes()
    np.testing.assert_array_equal(loads(dumps(model)).decision_function(X), raw)
    np.testing.assert_array_equal(np.concatenate([model.decision_function(row[None]) for row in X]), raw)


def test_the_order_of_rows_changes_nothing() -> None:
    X, y = smooth(2_000, 1)
    order = np.random.default_rng(0).permutation(len(y))
    options = {"linear_leaves": True, "subsample": 1.0, "colsample": 1.0, "early_stopping": False}
    models = [
        PKBoostClassifier(n_estimators=10, random_state=3, **options).fit(X[rows], y[rows])
        for rows in (slice(None), order)
    ]
    for field in ("term_slopes", "term_centers", "term_features", "value", "feature"):
        np.testing.assert_array_equal(*(model.ensemble_.nodes[field] for model in models))


def test_many_classes_and_numbers_have_lines_too() -> None:
    X, _ = smooth(3_000, 1)
    numbers = np.nan_to_num(X[:, 0]) + 0.5 * np.nan_to_num(X[:, 1])
    classes = np.digitize(numbers, [-0.7, 0.7])
    many = PKBoostClassifier(n_estimators=30, linear_leaves=True, random_state=0).fit(X, classes)
    values, expected = shap_values(many.ensemble_, X[:50])
    np.testing.assert_allclose(values.sum(axis=1) + expected, many.decision_function(X[:50]), atol=1e-9)
    errors = [
        np.mean((PKBoostRegressor(linear_leaves=linear).fit(X, numbers).predict(X) - numbers) ** 2)
        for linear in (False, True)
    ]
    assert errors[1] < errors[0]


def test_auto_is_for_quality_with_rows_enough() -> None:
    X, y = smooth(3_000, 1)
    few = slice(0, 1_500)
    for rows, mode, is_linear in (
        (slice(None), "quality", True),
        (slice(None), "fast", False),
        (few, "quality", False),
    ):
        model = PKBoostClassifier(n_estimators=5, mode=mode, random_state=0).fit(X[rows], y[rows])
        assert model.ensemble_.nodes["n_terms"].any() == is_linear


def test_what_cannot_be_linear_is_refused_by_name() -> None:
    X, y = smooth(500, 1)
    with pytest.raises(ValueError, match=r"linear_leaves=True does not go with monotonic_constraints"):
        PKBoostClassifier(linear_leaves=True, monotonic_constraints={0: 1}).fit(X, y)
    with pytest.raises(ValueError, match=r"linear_leaves=True does not go with loss='quantile'"):
        PKBoostRegressor(linear_leaves=True, loss="quantile").fit(X, y)
    with pytest.raises(ValueError, match=r"linear_leaves='yes' should be one of"):
        PKBoostClassifier(linear_leaves="yes").fit(X, y)
    with pytest.raises(ValueError, match="repairs need constant leaves"):
        fitted().adapt(X, y)


def test_a_damaged_term_is_refused() -> None:
    model = fitted(n_estimators=5)
    leaf = int(np.flatnonzero(model.ensemble_.nodes["n_terms"])[0])
    model.ensemble_.nodes["term_features"][leaf, 0] = 99
    with pytest.raises(ModelFileError, match="a term's feature is outside"):
        loads(dumps(model))
