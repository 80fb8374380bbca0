"""Cross features: a bag's second kind of members, which test differences and products of columns."""

import pickle

import numpy as np
import polars as pl
import pytest

from pkboost_core import PKBoostClassifier, PKBoostRegressor, bag, recipes
from pkboost_core.binning import fit_binning
from pkboost_core.crosses import NO_PAIRS, credited, crossed, top_pairs, widened
from pkboost_core.metrics import log_loss
from pkboost_core.recipes import SHALLOW
from pkboost_core.serialize import ModelFileError, dumps, loads

OPTIONS = {"mode": "quality", "n_estimators": 40, "n_iter_no_change": 10, "max_leaf_nodes": 8}
N = 3_000


def comparison(n, seed, n_levels=3):
    """Make rows whose label says whether a < b, as staircases of splits on a and on b cannot."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(n, 3)), rng.integers(n_levels, size=n)])
    y = (rng.random(n) < np.where(X[:, 0] < X[:, 1], 0.9, 0.1)).astype(int)
    X[rng.random(X.shape) < 0.03] = np.nan
    return X, y


def fitted(n_rows=N, **options):
    X, y = comparison(n_rows, 0)
    return PKBoostClassifier(**OPTIONS | {"categorical_features": [3]} | options).fit(X, y)


@pytest.fixture(scope="module")
def model():
    return fitted()


def test_crosses_are_differences_and_products():
    X = np.array([[1.0, 4.0, np.inf], [np.nan, 2.0, 3.0], [0.0, -1.0, np.inf]], dtype=np.float32)
    found = crossed(X, np.array([[0, 1], [0, 2]]))
    np.testing.assert_array_equal(
        found,
        [[-3.0, 4.0, -np.inf, np.inf], [np.nan] * 4, [1.0, 0.0, -np.inf, np.nan]],
    )
    assert widened(X, NO_PAIRS) is X
    np.testing.assert_array_equal(widened(X, np.array([[0, 1]]))[:, 3:], found[:, :2])


def test_pairs_are_those_of_the_columns_that_gain_most():
    gain = np.array([5.0, 9.0, 0.0, 7.0, 1.0])
    is_crossable = np.array([True, True, True, False, True])
    np.testing.assert_array_equal(top_pairs(gain, is_crossable), [[0, 1], [0, 4], [1, 4]])
    assert top_pairs(gain, is_crossable & (gain > 8)).shape == NO_PAIRS.shape
    assert len(top_pairs(np.arange(1.0, 31.0), np.ones(30, bool))) == 28


def test_credit_goes_to_both_columns_and_none_is_lost():
    values = np.array([[1.0, 2.0, 3.0, 10.0, 20.0]])
    np.testing.assert_array_equal(credited(values, np.array([[0, 2]])), [[16.0, 2.0, 18.0]])


def test_a_comparison_is_learned_better(model):
    X, y = comparison(5_000, 1)
    alone = fitted(cross_features=False)
    assert len(model.ensemble_.pairs) == 3
    assert len(alone.ensemble_.pairs) == 0
    losses = [log_loss(y, m.predict_proba(X)[:, 1]) for m in (model, alone)]
    assert losses[0] < losses[1] - 0.01


def test_attributions_add_up_and_name_the_columns_of_x(model):
    X, _ = comparison(60, 2)
    values, expected = model.shap_values(X)
    assert values.shape == (60, 4)
    np.testing.assert_allclose(values.sum(axis=1) + expected, model.decision_function(X), rtol=0, atol=1e-9)
    strength = np.abs(values).mean(axis=0)
    assert strength[:2].min() > 3 * strength[2:].max()
    assert model.feature_importances_.shape == (4,)
    assert model.feature_importances_.sum() == pytest.approx(1)
    assert model.feature_importances_[:2].min() > 0.25


def test_trees_name_the_crosses_they_test():
    X, y = comparison(N, 0)
    model = PKBoostClassifier(**OPTIONS).fit(pl.DataFrame(X[:, :2], ["paid", "due"]), y)
    table = model.trees_to_frame("polars")
    assert {"paid - due", "paid"} <= set(table["feature"].drop_nulls())
    crossed_tree = int(table.filter(pl.col("feature") == "paid - due")["tree"][0])
    for drawing in (model.tree_text, model.tree_svg, model.tree_dot):
        assert "paid - due" in drawing(crossed_tree)
    assert model.explain({"paid": 1.0, "due": 2.0}).names == ("paid", "due")


def test_files_pickles_threads_batches_and_stages_change_nothing(model):
    X, _ = comparison(200, 3)
    raw = model.decision_function(X)
    many = fitted(n_threads=3).set_params(n_threads=1)
    assert dumps(many) == dumps(model)
    copies = loads(dumps(model)), pickle.loads(pickle.dumps(model))  # noqa: S301
    for again in copies:
        assert dumps(again) == dumps(model)
        np.testing.assert_array_equal(again.decision_function(X), raw)
    np.testing.assert_array_equal(np.concatenate([model.decision_function(row[None]) for row in X]), raw)
    *_, last = model.staged_predict_proba(X)
    np.testing.assert_allclose(last, model.predict_proba(X), rtol=0, atol=1e-9)
    assert model.apply(X).shape == (200, model.n_trees_)


def test_they_come_with_quality_and_rows_enough():
    X, y = comparison(N, 0)
    for n_rows, options, has_crosses in (
        (N, {}, True),
        (N, {"mode": "fast"}, False),
        (2_000, {}, False),
        (1_000, {"cross_features": True}, True),
        (N, {"monotonic_constraints": {0: -1}}, False),
        (N, {"interaction_constraints": [[0, 1]]}, False),
    ):
        model = PKBoostClassifier(**OPTIONS | {"n_estimators": 5} | options).fit(X[:n_rows], y[:n_rows])
        assert bool(len(model.ensemble_.pairs)) == has_crosses, (n_rows, options)


def test_columns_that_cannot_be_crossed_have_shallow_members_too(monkeypatch):
    monkeypatch.setattr(bag, "mixture", lambda *given: np.array([0.5, 0.5]))
    rng = np.random.default_rng(0)
    codes = rng.integers(12, size=(N, 4)).astype(float)
    y = (rng.random(N) < 1 / (1 + np.exp(3 - (codes % 3).sum(axis=1)))).astype(int)
    options = OPTIONS | {"max_leaf_nodes": 31, "categorical_features": range(4)}
    model = PKBoostClassifier(**options, linear_leaves=False).fit(codes, y)
    assert len(model.ensemble_.pairs) == 0
    n_large = sum(model._member_sizes[:5])
    table = model.trees_to_frame("none")
    deepest = [table["depth"][is_of].max() for is_of in (table["tree"] < n_large, table["tree"] >= n_large)]
    assert deepest[0] > deepest[1] == SHALLOW
    with pytest.raises(ValueError, match="and of one kind; fit the model with cross_features=False"):
        model.adapt(codes, y)


def test_soft_targets_weights_groups_and_a_set_to_stop_on_are_taken():
    X, y = comparison(N, 0)
    rng = np.random.default_rng(1)
    soft = np.clip(0.1 + 0.8 * y + 0.05 * rng.random(N), 0, 1)
    weight = rng.uniform(0.5, 2.0, N)
    soft_model = PKBoostClassifier(**OPTIONS).fit(X, soft, weight, groups=np.arange(N) // 2)
    stopped = PKBoostClassifier(**OPTIONS, scale_pos_weight=2.0).fit(
        X[:2_700], y[:2_700], eval_set=(X[2_700:], y[2_700:])
    )
    Z, z = comparison(2_000, 5)
    for model in (soft_model, stopped):
        assert len(model.ensemble_.pairs) == 6
        assert log_loss(z, model.predict_proba(Z)[:, 1]) < 0.45


def test_classes_and_numbers_have_crosses_too():
    X, _ = comparison(N, 0)
    difference = np.nan_to_num(X[:, 0] - X[:, 1])
    classes = np.digitize(difference, [-0.7, 0.7])
    many = PKBoostClassifier(**OPTIONS | {"n_estimators": 15}).fit(X, classes)
    values, expected = many.shap_values(X[:40])
    np.testing.assert_allclose(values.sum(axis=1) + expected, many.decision_function(X[:40]), atol=1e-9)
    errors = []
    for value in ("auto", False):
        model = PKBoostRegressor(**OPTIONS, cross_features=value).fit(X[:2_600], difference[:2_600])
        errors.append(np.mean((model.predict(X[2_600:]) - difference[2_600:]) ** 2))
    assert errors[0] < errors[1]


def test_what_does_not_go_together_is_refused(model):
    X, y = comparison(N, 0)
    with pytest.raises(ValueError, match=r"cross_features=True does not go with mode='fast'"):
        PKBoostClassifier(cross_features=True).fit(X, y)
    with pytest.raises(ValueError, match=r"cross_features=True does not go with monotonic_constraints"):
        PKBoostClassifier(mode="quality", cross_features=True, monotonic_constraints={0: 1}).fit(X, y)
    with pytest.raises(ValueError, match=r"cross_features='no' should be one of"):
        PKBoostClassifier(cross_features="no").fit(X, y)
    plain_leaves = fitted(linear_leaves=False)
    with pytest.raises(ValueError, match="repairs need trees on the columns of X alone"):
        plain_leaves.adapt(X, y)


@pytest.mark.parametrize(
    ("pair", "message"),
    [((0, 9), "a pair has a feature outside 0..3"), ((0, 3), "a pair has a categorical feature")],
)
def test_a_damaged_pair_is_refused(pair, message):
    model = fitted(n_estimators=3)
    model.ensemble_.pairs[0] = pair
    with pytest.raises(ModelFileError, match=message):
        loads(dumps(model))


def test_crosses_are_encoded_block_by_block_as_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    X, pairs = rng.normal(size=(250, 3)), np.array([[0, 1], [1, 2]])
    wide = widened(X, pairs)
    binning = fit_binning(wide, 16, np.zeros(wide.shape[1], dtype=bool), None, rng)
    monkeypatch.setattr(recipes, "ENCODED_ROWS", 100)
    np.testing.assert_array_equal(recipes.encoded(binning, X, pairs), binning.transform(wide))
