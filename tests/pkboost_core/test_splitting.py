"""Planted rules come back as the first split."""

import numpy as np
import pytest

from pkboost_core import PKBoostClassifier

OPTIONS = {
    "n_estimators": 1,
    "early_stopping": False,
    "max_leaf_nodes": 2,
    "max_delta_step": None,
    "subsample": 1.0,
    "colsample": 1.0,
}


def root_of(X, y, **options):
    model = PKBoostClassifier(**(OPTIONS | options)).fit(X, y)
    return model.ensemble_.nodes[0], model


@pytest.fixture
def X():
    return np.random.default_rng(0).random((3000, 4))


def test_a_step_is_found(X):
    node, _ = root_of(X, X[:, 2] > 0.7)
    assert node["feature"] == 2
    assert node["threshold"] == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize("missing_is_positive", [True, False])
def test_missing_values_go_where_they_belong(X, missing_is_positive):
    X[::3, 1] = np.nan
    y = np.where(np.isnan(X[:, 1]), missing_is_positive, X[:, 1] > 0.4)
    node, model = root_of(X, y)
    assert node["feature"] == 1
    assert node["threshold"] == pytest.approx(0.4, abs=0.03)
    assert node["missing_left"] != missing_is_positive
    raw, is_clear = model.decision_function(X), ~(np.abs(X[:, 1] - 0.4) < 0.03)
    assert raw[y & is_clear].min() > raw[~y & is_clear].max()


def test_missing_against_the_rest_is_a_split_of_its_own(X):
    X[::2, 3] = np.nan
    node, model = root_of(X, np.isnan(X[:, 3]))
    assert node["feature"] == 3
    assert node["threshold"] == np.inf
    assert not node["missing_left"]
    assert len(np.unique(model.decision_function(X))) == 2


def test_without_missing_values_in_training_they_follow_the_larger_side(X):
    node, _ = root_of(X, X[:, 0] > 0.9)
    assert node["missing_left"]


def test_a_set_of_categories_is_found_whatever_its_order(X):
    levels = np.random.default_rng(1).integers(0, 20, len(X))
    chosen = np.isin(levels, [1, 6, 7, 13, 19])
    X[:, 1] = levels
    _, model = root_of(X, chosen, categorical_features=[1])
    raw = model.decision_function(X)
    assert raw[chosen].min() > raw[~chosen].max()


def test_rare_categories_are_drawn_to_the_node(X):
    rng = np.random.default_rng(3)
    X[:, 1] = np.where(np.arange(len(X)) < 40, 2 + np.arange(len(X)), rng.integers(0, 2, len(X)))
    y = np.where(X[:, 1] == 1, rng.random(len(X)) < 0.5, rng.random(len(X)) < 0.1)
    node, model = root_of(X, y, categorical_features=[1], min_child_hessian=5.0)
    assert node["feature"] == 1
    raw = model.decision_function(np.column_stack([X[:2, 0], [0.0, 1.0], X[:2, 2:]]))
    assert raw[1] > raw[0]


@pytest.mark.parametrize("direction", [1, -1])
def test_monotonic_scores(direction):
    rng = np.random.default_rng(4)
    X = rng.random((4000, 3))
    y = rng.random(4000) < 0.3 + 0.4 * np.sin(9 * X[:, 0]) * X[:, 1]
    model = PKBoostClassifier(
        n_estimators=60, monotonic_constraints={0: direction}, max_leaf_nodes=15, min_child_hessian=0.5
    ).fit(X, y)
    grid = np.repeat(rng.random((50, 1, 3)), 40, axis=1)
    grid[:, :, 0] = np.linspace(0, 1, 40)
    raw = model.decision_function(grid.reshape(-1, 3)).reshape(50, 40)
    assert (direction * np.diff(raw, axis=1) >= 0).all()
    assert np.ptp(raw, axis=1).max() > 0.1


def test_interactions_stay_within_their_groups(X):
    y = (X[:, 0] > 0.5) ^ (X[:, 1] > 0.5) ^ (X[:, 2] > 0.5)
    found = interactions(X, y, [[0, 1], [1, 2]])
    assert all(p <= {0, 1} or p <= {1, 2} or p == {3} for p in found)
    assert any(len(p) == 2 for p in found)


def test_columns_in_no_group_form_one_more_as_in_scikit_learn(X):
    y = (X[:, 1] > 0.5) ^ (X[:, 3] > 0.5)
    found = interactions(X, y, [[0, 2]])
    assert all(p <= {0, 2} or p <= {1, 3} for p in found)
    assert {1, 3} in found
    assert found == interactions(X, y, [[0, 2], [1, 3]])
    wide = np.tile(X, (1, 20))
    assert all(p <= {0, 1} or not p & {0, 1} for p in interactions(wide, y, [[0, 1]]))
    with pytest.raises(ValueError, match="interaction_constraints make 65 groups"):
        interactions(wide, y, [[j] for j in range(64)])


def interactions(X, y, groups):
    """The sets of columns that meet on a path."""
    model = PKBoostClassifier(n_estimators=20, early_stopping=False, interaction_constraints=groups).fit(X, y)
    nodes = model.ensemble_.nodes

    def paths(index, used):
        node = nodes[index]
        if node["is_leaf"]:
            yield used
        else:
            for child in (node["left"], node["right"]):
                yield from paths(child, used | {int(node["feature"])})

    return {frozenset(p) for root in model.ensemble_.tree_offsets[:-1] for p in paths(root, frozenset())}


def test_leaves_respect_their_smallest_size(X):
    y = np.random.default_rng(5).random(len(X)) < 0.3
    by_count = PKBoostClassifier(n_estimators=5, early_stopping=False, min_samples_leaf=120).fit(X, y)
    leaves = by_count.ensemble_.nodes[by_count.ensemble_.nodes["is_leaf"]]
    assert 120 <= leaves["count"].min() < 200
    deep = {"n_estimators": 5, "early_stopping": False, "max_delta_step": 0.01, "min_child_hessian": 0.0}
    bounded = PKBoostClassifier(learning_rate=0.5, **deep).fit(X, y)
    assert np.abs(bounded.ensemble_.nodes["value"]).max() == pytest.approx(0.005)


def test_gamma_prunes(X):
    y = np.random.default_rng(6).random(len(X)) < 0.3
    model = PKBoostClassifier(**(OPTIONS | {"n_estimators": 3, "min_split_gain": 1e6})).fit(X, y)
    assert model.n_trees_ == 0
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], y.mean())
