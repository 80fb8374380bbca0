from itertools import combinations
from math import factorial

import numpy as np
import pytest

from pkboost_core import PKBoostClassifier
from pkboost_core.crosses import credited
from pkboost_core.dtypes import NODE
from pkboost_core.ensemble import Ensemble
from pkboost_core.explain import cover_importance, gain_importance, permutation_importance, shap_values
from pkboost_core.linear_leaves import UNIT, bin_positions


def random_ensemble(rng, n_features=6, n_trees=4, n_leaves=9, n_outputs=1, n_categorical=2):
    """Random trees with consistent covers; the last columns are categorical with codes 3, 4, 7, 9."""
    trees, offsets = [], [0]
    is_categorical = np.arange(n_features) >= n_features - n_categorical
    for _ in range(n_trees):
        nodes = np.zeros(2 * n_leaves - 1, NODE)
        nodes["is_leaf"], nodes["feature"], nodes["left"], nodes["right"] = True, -1, -1, -1
        nodes["cover"][0] = 100
        size, base = 1, offsets[-1]
        while size < len(nodes):
            i = rng.choice(np.flatnonzero(nodes["is_leaf"][:size]))
            node, share = nodes[i], rng.uniform(0.1, 0.9)
            node["is_leaf"], node["feature"], node["gain"] = False, rng.integers(n_features), rng.random()
            node["left"], node["right"] = base + size, base + size + 1
            node["threshold"], node["missing_left"] = rng.normal(), rng.random() < 0.5
            node["is_categorical"] = is_categorical[node["feature"]]
            node["left_categories"][0] = rng.integers(1, 15)
            nodes["cover"][size], nodes["cover"][size + 1] = (
                node["cover"] * share,
                node["cover"] * (1 - share),
            )
            nodes["depth"][size : size + 2] = node["depth"] + 1
            size += 2
        nodes["value"] = rng.normal(size=len(nodes))
        trees.append(nodes)
        offsets.append(base + len(nodes))
    codes = np.array([3.0, 4.0, 7.0, 9.0])
    thresholds = tuple(codes if c else np.array([0.0]) for c in is_categorical)
    base_score = rng.normal(size=n_outputs)
    return Ensemble(np.concatenate(trees), np.array(offsets), base_score, thresholds, is_categorical)


def random_rows(rng, ensemble, n):
    X = rng.normal(size=(n, ensemble.n_features))
    for j in np.flatnonzero(ensemble.is_categorical):
        X[:, j] = rng.choice([3, 4, 7, 9, 5, -1], n)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[rng.random(X.shape) < 0.02] = np.inf
    return X


def goes_left(ensemble, node, x):
    if np.isnan(x):
        return node["missing_left"]
    if not node["is_categorical"]:
        return x <= node["threshold"]
    position = np.flatnonzero(ensemble.bin_thresholds[node["feature"]] == x)
    if len(position) == 0:
        return node["missing_left"]
    return bool(int(node["left_categories"][0]) >> int(position[0]) & 1)


def conditional_value(ensemble, root, x, coalition):
    node = ensemble.nodes[root]
    if node["is_leaf"]:
        return node["value"]
    left, right = ensemble.nodes[node["left"]], ensemble.nodes[node["right"]]
    if node["feature"] in coalition:
        child = node["left"] if goes_left(ensemble, node, x[node["feature"]]) else node["right"]
        return conditional_value(ensemble, child, x, coalition)
    return (
        left["cover"] * conditional_value(ensemble, node["left"], x, coalition)
        + right["cover"] * conditional_value(ensemble, node["right"], x, coalition)
    ) / (left["cover"] + right["cover"])


def brute_force(ensemble, x, output=0):
    k = ensemble.n_columns
    roots = ensemble.tree_offsets[:-1][output :: ensemble.n_outputs]
    worth = {
        s: sum(conditional_value(ensemble, root, x, s) for root in roots)
        for r in range(k + 1)
        for s in combinations(range(k), r)
    }
    phi = np.zeros(k)
    for s, value in worth.items():
        for i in set(range(k)) - set(s):
            weight = factorial(len(s)) * factorial(k - len(s) - 1) / factorial(k)
            phi[i] += weight * (worth[tuple(sorted((*s, i)))] - value)
    return phi, worth[()] + ensemble.base_score[output], worth[tuple(range(k))] + ensemble.base_score[output]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_values_equal_brute_force_shapley_values(seed, n_outputs):
    rng = np.random.default_rng(seed)
    ensemble = random_ensemble(rng, n_outputs=n_outputs)
    X = random_rows(rng, ensemble, 3)
    values, expected = shap_values(ensemble, X)
    values = values.reshape(3, ensemble.n_features, n_outputs)
    for i, output in np.ndindex(3, n_outputs):
        phi, empty, full = brute_force(ensemble, X[i], output)
        np.testing.assert_allclose(values[i, :, output], phi, atol=1e-12)
        np.testing.assert_allclose(expected[output], empty, atol=1e-12)
        np.testing.assert_allclose(values[i, :, output].sum() + expected[output], full, atol=1e-12)


def fitted_small(**options):
    """A fitted model of four columns, one categorical, some values missing, and rows to explain."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    X[:, 3] = rng.integers(0, 6, len(X))
    y = np.tanh(X[:, 0]) + (X[:, 1] > X[:, 2]) + (X[:, 3] == 2) + rng.normal(size=len(X)) > 1.2
    X[rng.random(X.shape) < 0.1] = np.nan
    options = {"max_leaf_nodes": 8, "early_stopping": False, "categorical_features": [3]} | options
    return PKBoostClassifier(**options).fit(X, y), X[:4]


def test_values_of_a_fitted_model_equal_brute_force_shapley_values():
    model, X = fitted_small(n_estimators=4, linear_leaves=False)
    values, expected = shap_values(model.ensemble_, X)
    for x, found in zip(X, values, strict=True):
        phi, empty, full = brute_force(model.ensemble_, x)
        np.testing.assert_allclose(found, phi, atol=1e-12)
        np.testing.assert_allclose(expected[0], empty, atol=1e-12)
        np.testing.assert_allclose(found.sum() + expected[0], full, atol=1e-12)


def lines(ensemble, x):
    """What the terms of the leaves that a row reaches add, by column."""
    added, positions = (
        np.zeros(ensemble.n_columns),
        bin_positions(ensemble.bin_thresholds, ensemble.is_categorical),
    )
    for root in ensemble.tree_offsets[:-1]:
        node = ensemble.nodes[root]
        while not node["is_leaf"]:
            node = ensemble.nodes[node["left" if goes_left(ensemble, node, x[node["feature"]]) else "right"]]
        for j, slope, center in zip(
            node["term_features"][: node["n_terms"]], node["term_slopes"], node["term_centers"], strict=False
        ):
            z = 0.0
            if not np.isnan(x[j]):
                z = positions[j, np.searchsorted(ensemble.bin_thresholds[j], x[j])] / UNIT
            added[j] += slope * (z - center)
    return added


@pytest.mark.parametrize(
    "options", [{"n_estimators": 4}, {"n_estimators": 1, "mode": "quality", "cross_features": True}]
)
def test_linear_leaves_and_crosses_are_attributed_by_convention(options):
    """Constant parts by Shapley values, terms to their own column, given the leaf, crosses in halves."""
    model, X = fitted_small(linear_leaves=True, **options)
    ensemble = model.ensemble_
    assert ensemble.nodes["n_terms"].any()
    assert len(ensemble.pairs) == (3 if "mode" in options else 0)
    values, expected = shap_values(ensemble, X[:2])
    for x, found in zip(ensemble.widened(X[:2]), values, strict=True):
        phi, empty, _ = brute_force(ensemble, x)
        np.testing.assert_allclose(found, credited(phi + lines(ensemble, x), ensemble.pairs), atol=1e-10)
        np.testing.assert_allclose(expected[0], empty, atol=1e-10)


def test_deep_chain_stays_additive():
    rng = np.random.default_rng(0)
    ensemble = random_ensemble(rng, n_features=40, n_trees=3, n_leaves=200, n_categorical=0)
    X = random_rows(rng, ensemble, 50)
    values, expected = shap_values(ensemble, X)
    raw = [
        sum(conditional_value(ensemble, root, x, range(40)) for root in ensemble.tree_offsets[:-1]) for x in X
    ]
    np.testing.assert_allclose(
        values.sum(axis=1) + expected[0], np.array(raw) + ensemble.base_score[0], atol=1e-10
    )


def test_additive_for_a_fitted_booster_with_categories_and_missing_values():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 6))
    X[:, 4], X[:, 5] = rng.integers(0, 90, 2000), rng.integers(0, 5, 2000)
    X[rng.random(X.shape) < 0.1] = np.nan
    y = np.nan_to_num(X[:, 0]) + (X[:, 4] % 3 == 0) + rng.normal(size=2000) > 1
    model = PKBoostClassifier(n_estimators=40, early_stopping=False, categorical_features=[4, 5]).fit(X, y)
    batch = np.vstack([X[:200], np.full((1, 6), 95.0), np.full((1, 6), np.nan)])
    values, expected = shap_values(model.ensemble_, batch)
    np.testing.assert_allclose(values.sum(axis=1) + expected[0], model.decision_function(batch), atol=1e-10)
    assert set(np.argsort(-np.abs(values).mean(axis=0))[:2]) == {0, 4}


def test_table_and_row_by_row_give_the_same_bytes_for_any_threads():
    rng = np.random.default_rng(1)
    ensemble = random_ensemble(rng, n_features=8, n_trees=5, n_leaves=20)
    X = random_rows(rng, ensemble, 5000)
    together, _ = shap_values(ensemble, X)
    threaded, _ = shap_values(ensemble, X, n_threads=3)
    alone = np.concatenate([shap_values(ensemble, X[i : i + 1])[0] for i in range(20)])
    assert together.tobytes() == threaded.tobytes()
    assert together[:20].tobytes() == alone.tobytes()


def test_no_trees_and_no_rows():
    empty = Ensemble(
        np.zeros(0, NODE), np.zeros(1, np.int64), np.array([0.5]), (np.zeros(0),) * 3, np.zeros(3, bool)
    )
    values, expected = shap_values(empty, np.zeros((4, 3)))
    assert values.shape == (4, 3)
    assert not values.any()
    assert expected.tolist() == [0.5]
    assert shap_values(empty, np.zeros((0, 3)))[0].shape == (0, 3)


def test_wrong_width_is_refused():
    ensemble = random_ensemble(np.random.default_rng(0))
    with pytest.raises(ValueError, match="6 columns"):
        shap_values(ensemble, np.zeros((2, 5)))


def test_path_of_too_many_features_is_refused():
    k = 65
    nodes = np.zeros(2 * k + 1, NODE)
    nodes["is_leaf"], nodes["cover"], nodes["left"], nodes["right"] = True, 1.0, -1, -1
    for i in range(k):
        inner = nodes[2 * i]
        inner["is_leaf"], inner["feature"], inner["left"], inner["right"] = False, i, 2 * i + 1, 2 * i + 2
    ensemble = Ensemble(nodes, np.array([0, len(nodes)]), np.zeros(1), (np.zeros(1),) * k, np.zeros(k, bool))
    with pytest.raises(ValueError, match="65 distinct features"):
        shap_values(ensemble, np.zeros((1, k)))


def test_gain_and_cover_importance_are_shares():
    ensemble = random_ensemble(np.random.default_rng(3))
    inner = ensemble.nodes[~ensemble.nodes["is_leaf"]]
    gain = [inner["gain"][inner["feature"] == j].sum() for j in range(ensemble.n_features)]
    np.testing.assert_allclose(gain_importance(ensemble), np.array(gain) / inner["gain"].sum())
    assert cover_importance(ensemble).sum() == pytest.approx(1)


def test_permutation_importance_finds_the_column_that_matters():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))

    def correlation(y, score, sample_weight=None):
        return float(np.corrcoef(y, score)[0, 1])

    mean, sd = permutation_importance(lambda m: m[:, 1], X, X[:, 1], correlation)
    assert mean[1] > 0.8
    assert mean[0] == mean[2] == 0
    assert sd[1] < 0.2
