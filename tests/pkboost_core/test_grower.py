"""What any grown ensemble looks like, on whatever columns it was grown."""

import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkboost_core import PKBoostClassifier, training
from pkboost_core.binning import Binning

OPTIONS = {"n_estimators": 8, "early_stopping": False, "subsample": 1.0, "colsample": 1.0}


def fitted(X, y, **options):
    return PKBoostClassifier(**(OPTIONS | options)).fit(X, y)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 9))
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, np.nansum(X[:, :3], axis=1) + rng.normal(size=1500) > 1.5


def test_children_partition_their_parent(data):
    model = fitted(*data, max_leaf_nodes=20)
    nodes = model.ensemble_.nodes
    inner = nodes[~nodes["is_leaf"]]
    for name in ("count", "cover"):
        np.testing.assert_array_equal(inner[name], nodes[inner["left"]][name] + nodes[inner["right"]][name])
    np.testing.assert_array_equal(nodes[inner["left"]]["depth"], inner["depth"] + 1)
    roots = nodes[model.ensemble_.tree_offsets[:-1]]
    assert (roots["count"] == 1500).all()
    assert (inner["gain"] > 0).all()


@pytest.mark.parametrize("options", [{}, {"subsample": 0.6, "min_samples_leaf": 5, "mi_weight": 0.3}])
def test_codes_kept_by_row_as_well_change_no_byte(data, options, monkeypatch):
    small = fitted(*data, **options).ensemble_.nodes
    monkeypatch.setattr(training, "LARGE_CODES", 0)
    assert fitted(*data, **options).ensemble_.nodes.tobytes() == small.tobytes()


@pytest.mark.parametrize(
    "options", [{}, {"subsample": 0.7, "colsample": 0.7}, {"min_samples_leaf": 5, "mi_weight": 0.3}]
)
def test_the_number_of_threads_changes_no_byte(options, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    rng = np.random.default_rng(5)
    X = rng.normal(size=(40_000, 9))
    X[:, 7] = rng.integers(0, 30, len(X))
    X[rng.random(X.shape) < 0.1] = np.nan
    y = np.nansum(X[:, :3], axis=1) + (X[:, 7] % 3 == 1) + rng.normal(size=len(X)) > 1.5
    options = options | {"categorical_features": [7], "n_estimators": 4}
    alone, *shared = (fitted(X, y, n_threads=n, **options) for n in (1, 2, 5))
    for model in shared:
        assert model.ensemble_.nodes.tobytes() == alone.ensemble_.nodes.tobytes()


def test_helpers_take_part_and_end_with_the_fit(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    joined = np.zeros(3, dtype=bool)

    def watch(n_trees, loss):
        helpers = [thread for thread in threading.enumerate() if thread.name.startswith("pkboost")]
        joined[len(helpers) - 1] = True

    rng = np.random.default_rng(6)
    X = rng.normal(size=(3000, 4))
    fitted(X, X[:, 0] > 0, n_threads=3, callbacks=[watch])
    np.testing.assert_array_equal(joined, [False, True, False])
    assert not any(thread.name.startswith("pkboost") for thread in threading.enumerate())


def test_limits_hold(data):
    model = fitted(*data, max_leaf_nodes=11, max_depth=4)
    nodes = model.ensemble_.nodes
    assert nodes["depth"].max() <= 4
    assert max(np.diff(model.ensemble_.tree_offsets)) == 2 * 11 - 1


def test_raw_thresholds_agree_with_bin_thresholds(data):
    X, y = data
    model = fitted(X, y)
    codes = Binning(model.ensemble_.bin_thresholds, model.ensemble_.is_categorical).transform(X)
    for node in model.ensemble_.nodes[~model.ensemble_.nodes["is_leaf"]]:
        f = node["feature"]
        x, code = X[:, f], codes[f // 8, :, f % 8]
        is_known = ~np.isnan(x)
        np.testing.assert_array_equal(
            (x <= node["threshold"])[is_known], (code <= node["bin_threshold"])[is_known]
        )


def test_weights_count_as_repeated_rows():
    rng = np.random.default_rng(1)
    X = rng.integers(0, 12, (300, 4)).astype(float)
    y, times = rng.random(300) < 0.2 + 0.05 * X[:, 0], rng.integers(1, 4, 300)
    options = OPTIONS | {"n_estimators": 5, "min_child_hessian": 1.0, "max_leaf_nodes": 8}
    weighted = PKBoostClassifier(**options).fit(X, y, times)
    repeated = fitted(np.repeat(X, times, axis=0), np.repeat(y, times), **options)
    for name in ("feature", "bin_threshold", "cover"):
        np.testing.assert_array_equal(weighted.ensemble_.nodes[name], repeated.ensemble_.nodes[name])
    np.testing.assert_allclose(weighted.decision_function(X), repeated.decision_function(X), atol=1e-3)


def test_the_order_of_rows_does_not_matter(data):
    X, y = data
    order = np.random.default_rng(2).permutation(len(X))
    a, b = fitted(X, y), fitted(X[order], y[order])
    np.testing.assert_array_equal(a.ensemble_.nodes, b.ensemble_.nodes)


def test_strictly_monotone_transforms_change_thresholds_only(data):
    X, y = data
    a, b = fitted(X, y), fitted(np.exp(X / 2) * 7 - 3, y)
    for name in ("feature", "bin_threshold", "value", "left", "missing_left", "gain", "count"):
        np.testing.assert_array_equal(a.ensemble_.nodes[name], b.ensemble_.nodes[name])
    np.testing.assert_array_equal(a.decision_function(X), b.decision_function(np.exp(X / 2) * 7 - 3))


def test_the_seed_decides_sampling(data):
    options = {"subsample": 0.5, "colsample": 0.5}
    a, b, c = (fitted(*data, **options, random_state=seed).ensemble_.nodes for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert len(a) != len(c) or (a != c).any()
    sampled = a[a["depth"] == 0]["count"]
    assert (abs(sampled - 750) < 100).all()


def test_column_sampling_limits_a_tree_to_its_columns(data):
    ensemble = fitted(*data, colsample=0.34).ensemble_
    for start, stop in zip(ensemble.tree_offsets, ensemble.tree_offsets[1:], strict=False):
        nodes = ensemble.nodes[start:stop]
        assert len(np.unique(nodes["feature"][~nodes["is_leaf"]])) <= 3


special = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0, 1e300, -1e300, 5e-324])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_finite_or_infinite_table_can_be_fitted(data):
    n, k = data.draw(st.integers(2, 40)), data.draw(st.integers(1, 10))
    cells = st.one_of(special, st.floats(width=64), st.integers(-3, 3).map(float))
    X = np.array(data.draw(st.lists(cells, min_size=n * k, max_size=n * k))).reshape(n, k)
    y = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    y[:2] = 0, 1
    model = PKBoostClassifier(n_estimators=4, max_leaf_nodes=5, min_child_hessian=0.0, l2_regularization=0.0)
    p = model.fit(X, y).predict_proba(X)
    assert ((p > 0) & (p < 1)).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)
