"""Regression on the classifier's engine: as good as its peers, and as well-behaved as the classifier."""

import pickle

import numpy as np
import pytest
from sklearn.base import is_regressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import (
    mean_absolute_error,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
    r2_score,
)
from threadpoolctl import threadpool_limits

from pkboost_core import PKBoostRegressor
from pkboost_core.explain import shap_values
from pkboost_core.serialize import dumps, loads

LOSS_NAMES = ("squared", "huber", "poisson", "quantile")
SMALL = {"n_estimators": 30, "early_stopping": False, "max_leaf_nodes": 8}


def friedman(n, seed=0, kind="squared"):
    """Friedman's surface with a coarse column; noise whose spread depends on the sixth column."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n, 10))
    X[:, 4] = np.round(3 * X[:, 4])
    f = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * X[:, 2] ** 2 + 10 * X[:, 3] + 3 * (X[:, 4] == 1)
    if kind == "poisson":
        return X, rng.poisson(np.exp(f / 12)).astype(float)
    y = f + rng.normal(size=n) * (1 + 2 * (X[:, 5] > 0))
    return X, y + 300 * (rng.random(n) < 0.05) * (kind == "huber")


@pytest.fixture(scope="module")
def data():
    return friedman(800)


def pinball(y, predicted):
    return mean_pinball_loss(y, predicted, alpha=0.9)


PEERS = {
    "squared": (mean_squared_error, "squared_error"),
    "poisson": (mean_poisson_deviance, "poisson"),
    "quantile": (pinball, "quantile"),
}


@pytest.mark.parametrize("loss", PEERS)
def test_no_worse_than_a_peer_by_more_than_two_percent(loss):
    X, y = friedman(1000, 1, loss)
    X_test, y_test = friedman(4000, 2, loss)
    metric, name = PEERS[loss]
    found = metric(y_test, PKBoostRegressor(loss=loss, alpha=0.9, n_estimators=300).fit(X, y).predict(X_test))
    peer = HistGradientBoostingRegressor(
        loss=name, quantile=0.9, learning_rate=0.05, max_iter=300, early_stopping=True, n_iter_no_change=30,
        validation_fraction=0.2, random_state=0,
    )  # fmt: skip
    with threadpool_limits(1):
        assert found < 1.02 * metric(y_test, peer.fit(X, y).predict(X_test))


def test_huber_is_not_impressed_by_gross_errors():
    X, y = friedman(1000, 1, "huber")
    X_test, y_test = friedman(2000, 2)
    errors = {
        loss: mean_absolute_error(
            y_test, PKBoostRegressor(loss=loss, n_estimators=200).fit(X, y).predict(X_test)
        )
        for loss in ("squared", "huber")
    }
    assert errors["huber"] < 0.25 * errors["squared"]


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_quantiles_leave_their_share_of_rows_below(level):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2))
    y = X[:, 0] + np.exp(0.5 * X[:, 1]) * rng.normal(size=4000)
    model = PKBoostRegressor(loss="quantile", alpha=level, n_estimators=80, min_child_hessian=100.0)
    is_below = y[2000:] <= model.fit(X[:2000], y[:2000]).predict(X[2000:])
    assert is_below.mean() == pytest.approx(level, abs=0.03)
    assert is_below[X[2000:, 1] > 1].mean() == pytest.approx(level, abs=0.08)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_units_of_y_change_nothing(loss, data):
    X, y = data
    y = np.round(y - y.min())
    model = PKBoostRegressor(loss=loss, alpha=0.7, **SMALL).fit(X, y)
    scaled = PKBoostRegressor(loss=loss, alpha=0.7, **SMALL).fit(X, 4096.0 * y)
    np.testing.assert_allclose(scaled.predict(X), 4096.0 * model.predict(X), rtol=1e-9)
    for name in ("feature", "left", "bin_threshold"):
        np.testing.assert_array_equal(scaled.ensemble_.nodes[name], model.ensemble_.nodes[name])


def test_a_small_signal_on_a_large_offset_is_not_lost(data):
    X, y = data
    model = PKBoostRegressor(**SMALL).fit(X, y)
    far = PKBoostRegressor(**SMALL).fit(X, 1e9 + y)
    np.testing.assert_allclose(far.predict(X) - 1e9, model.predict(X), atol=1e-4)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_constant_targets_are_predicted(loss):
    X = np.random.default_rng(0).normal(size=(60, 2))
    np.testing.assert_allclose(PKBoostRegressor(loss=loss).fit(X, np.full(60, 7.0)).predict(X), 7.0)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_monotonic_constraints_hold(loss, data):
    X, y = data
    model = PKBoostRegressor(loss=loss, monotonic_constraints={3: -1, 0: 1}, **SMALL).fit(X, y - y.min())
    grid = np.repeat(X[:40], 30, axis=0)
    for column, sign in ((3, -1), (0, 1)):
        moved = grid.copy()
        moved[:, column] = np.tile(np.linspace(-1.2, 1.2, 30), 40)
        steps = np.diff(model.predict(moved).reshape(40, 30), axis=1)
        assert (sign * steps >= -1e-12).all()
    assert np.ptp(model.predict(grid)) > 0


def test_interactions_categories_weights_and_groups_reach_the_trees(data):
    X, y = data
    X = np.column_stack([X[:, :4], X[:, 4] + 3])
    model = PKBoostRegressor(
        categorical_features=[4], interaction_constraints=[[0, 1], [4]], n_iter_no_change=5
    )
    weight = np.where(np.arange(len(y)) % 2, 1.0, 0.0)
    model.fit(X, np.where(weight, y, 1e6), weight, groups=np.arange(len(y)) // 4)
    assert np.abs(model.predict(X)).max() < 100
    nodes = model.ensemble_.nodes
    assert nodes["is_categorical"].any()
    met = [{int(f) for f in used} for used in paths(model.ensemble_)]
    assert all(used <= {0, 1} or used <= {2, 3} or used == {4} for used in met)


def paths(ensemble):
    """Features tested on each way from a root to a leaf."""
    stack = [(int(root), frozenset()) for root in ensemble.tree_offsets[:-1]]
    while stack:
        at, used = stack.pop()
        node = ensemble.nodes[at]
        if node["is_leaf"]:
            yield used
        else:
            used = used | {int(node["feature"])}
            stack += [(int(node["left"]), used), (int(node["right"]), used)]


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_refit_uses_all_rows_and_keeps_the_structure(loss, data):
    X, y = data
    options = {"loss": loss, "n_estimators": 20, "subsample": 1.0}
    kept, refitted = (PKBoostRegressor(**options, refit=r).fit(X, y - y.min()) for r in (False, True))
    np.testing.assert_array_equal(kept.ensemble_.nodes["feature"], refitted.ensemble_.nodes["feature"])
    assert (kept.ensemble_.nodes[0]["count"], refitted.ensemble_.nodes[0]["count"]) == (640, 800)
    assert not np.array_equal(kept.predict(X), refitted.predict(X))


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_early_stopping_goes_by_the_loss_itself(loss, data):
    X, y = data
    y = y - y.min()
    model = PKBoostRegressor(loss=loss, alpha=0.8, n_iter_no_change=3, n_estimators=60)
    model.fit(X[:600], y[:600], eval_set=(X[600:], y[600:]))
    assert model.n_trees_ == np.argmin(model.validation_loss_) + 1
    expected = {
        "squared": mean_squared_error,
        "poisson": mean_poisson_deviance,
        "quantile": lambda y, p: mean_pinball_loss(y, p, alpha=0.8),
    }
    if loss in expected:
        found = expected[loss](y[600:], model.predict(X[600:]))
        assert model.validation_loss_.min() == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_files_pickles_threads_stages_leaves_and_explanations(loss, data):
    X, y = data
    options = {"loss": loss, "mode": "quality", "n_estimators": 6, "n_iter_no_change": 2}
    model = PKBoostRegressor(**options).fit(X, y - y.min())
    predicted = model.predict(X)
    again = PKBoostRegressor(**options, n_threads=3).fit(X, y - y.min()).set_params(n_threads=1)
    assert dumps(again) == dumps(model)
    for same in (loads(dumps(model)), pickle.loads(pickle.dumps(model))):  # noqa: S301
        np.testing.assert_array_equal(same.predict(X), predicted)
    stages = list(model.staged_predict(X))
    np.testing.assert_allclose(stages[-1], predicted, rtol=1e-12)
    assert 1 <= len(stages) <= 6
    assert model.apply(X).shape == (len(X), model.n_trees_)
    values, expected = shap_values(model.ensemble_, X[:30])
    raw = np.log(predicted[:30]) if loss == "poisson" else predicted[:30]
    np.testing.assert_allclose(values.sum(axis=1) + expected, raw, rtol=1e-9)


def test_few_rows_are_judged_by_folds_and_one_row_is_enough():
    X, y = friedman(120)
    model = PKBoostRegressor(n_estimators=200).fit(X, y)
    assert len(model.validation_loss_) == 0
    assert model.score(X, y) > 0.5
    assert PKBoostRegressor().fit([[1.0]], [3.0]).predict([[2.0]]) == 3.0


def test_score_is_r2_and_scikit_learn_knows_a_regressor(data):
    X, y = data
    model, weight = PKBoostRegressor(**SMALL).fit(X, y), np.arange(len(y)) + 1.0
    assert model.score(X, y, weight) == pytest.approx(r2_score(y, model.predict(X), sample_weight=weight))
    assert is_regressor(model)


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({"loss": "log"}, [1, 2], "loss='log' should be one of 'squared', 'huber', 'poisson', 'quantile'"),
        ({"alpha": 0}, [1, 2], "alpha=0 should be greater than 0"),
        ({"loss": "poisson"}, [1, -2], "y=-2 should not be smaller than 0 with loss='poisson'"),
        ({"loss": "poisson"}, [0, 0], "needs a positive sum"),
        ({}, [1, np.inf], "y contains NaN or infinity at row 1"),
        ({}, ["a", "b"], "y holds <U1 values; expected numbers"),
        ({}, np.array([1, None], dtype=object), "y contains NaN or infinity at row 1"),
        ({}, [1, 1e300], r"y=1e\+300 at row 1 should lie within \+-1e\+100"),
        ({"loss": "huber"}, [-1e308, 1e308], r"y=-1e\+308 at row 0 should lie within"),
    ],
)
def test_bad_input_is_named(options, y, message):
    with pytest.raises(ValueError, match=message):
        PKBoostRegressor(**options).fit([[1.0], [2.0]], y)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_targets_of_any_size_are_predicted_or_refused(loss):
    X, y = np.arange(60.0)[:, None] % 7, 1.0 + np.arange(60.0) % 7
    for size in (1e-300, 1e-30, 1e30, 1e99):
        model = PKBoostRegressor(loss=loss, n_estimators=5, early_stopping=False).fit(X, y * size)
        assert 0 < model.predict(X).min() <= model.predict(X).max() <= 7 * size
    y[3] = 1e40
    weight = np.where(np.arange(60) == 3, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"y=1e\+40 at row 3 lies too far from the rest"):
        PKBoostRegressor(loss=loss).fit(X, y, weight)


def test_rows_held_out_without_any_weight_are_named():
    X, y = friedman(40)
    with pytest.raises(ValueError, match="has sample_weight zero in every row; drop rows without weight"):
        PKBoostRegressor().fit(X, y, np.arange(40) == 7)
