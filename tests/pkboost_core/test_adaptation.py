"""Repairs: what drifted gets better, what did not is left alone, and nothing else changes."""

from functools import cache

import numpy as np
import pytest

from pkboost_core import PKBoostClassifier
from pkboost_core.adaptation import adapt, refit_leaves
from pkboost_core.binning import Binning
from pkboost_core.ensemble import join_trees
from pkboost_core.explain import shap_values
from pkboost_core.integrity import check_ensemble
from pkboost_core.metrics import log_loss
from pkboost_core.predictor import raw_scores
from pkboost_core.rebinning import rebin, split_trees, widened_binning
from pkboost_core.repair import MAX_MOVE
from pkboost_core.serialize import dumps, loads

OPTIONS = {"learning_rate": 0.05, "max_leaf_nodes": 7, "n_iter_no_change": 20, "categorical_features": [3]}
WORLDS = ("none", "concept", "prior", "range", "level", "shuffled", "flipped")


def world(kind, n, seed):
    """Rows of a world: three plain effects, a category, an interaction; and what a drift makes of them."""
    rng = np.random.default_rng([seed, WORLDS.index(kind)])
    X = rng.normal(size=(n, 7))
    X[:, 3] = rng.integers(0, 6, n)
    if kind == "range":
        X[:, 5] += 6
    if kind == "level":
        X[rng.random(n) < 0.4, 3] = 9
    sign = -0.3 if kind == "concept" else 1.0
    score = -2 + sign * (1.2 * X[:, 0] - 0.8 * X[:, 1] + 0.6 * X[:, 2]) + 0.7 * (X[:, 3] == 2)
    score += 0.6 * X[:, 0] * X[:, 4] + 1.5 * (X[:, 5] > 6.3) + 2 * (X[:, 3] == 9) - 1.5 * (kind == "prior")
    y = (rng.random(n) < 1 / (1 + np.exp(-score))).astype(int)
    if kind == "shuffled":
        y = rng.permutation(y)
    return X, 1 - y if kind == "flipped" else y


@cache
def champion(seed=0):
    return PKBoostClassifier(**OPTIONS, random_state=seed).fit(*world("none", 4000, seed))


def loss(model, kind):
    X, y = world(kind, 8000, 99)
    return log_loss(y, model.predict_proba(X)[:, 1])


@cache
def adapted(kind, seed=1):
    return adapt(champion(), *world(kind, 1500, seed))


@pytest.mark.parametrize(
    ("kind", "least"), [("concept", 0.1), ("prior", 0.03), ("range", 0.02), ("level", 0.05)]
)
def test_what_drifted_gets_better_and_the_report_says_by_how_much(kind, least):
    old, found = champion(), adapted(kind)
    gain = loss(old, kind) - loss(found.model, kind)
    assert found.is_accepted
    assert gain > least
    assert found.gain == pytest.approx(gain, abs=3 * found.gain_error)
    assert found.gain == pytest.approx(found.log_loss_before - found.log_loss_after)
    assert found.trees_dropped + found.trees_kept == old.n_trees_
    assert found.model.n_trees_ == found.trees_kept + found.trees_grown
    check_ensemble(found.model.ensemble_)


def test_a_repair_beats_a_model_of_the_new_rows_alone():
    fresh = PKBoostClassifier(**OPTIONS).fit(*world("level", 1500, 1))
    assert loss(adapted("level").model, "level") < loss(fresh, "level")


def test_where_nothing_drifted_next_to_nothing_changes():
    found = [adapted("none", seed) for seed in range(1, 9)]
    assert max(one.trees_dropped for one in found) <= 1
    assert max(one.mean_move for one in found) < 0.5 < adapted("prior").mean_move
    assert max(loss(one.model, "none") for one in found) < loss(champion(), "none") + 0.001
    assert [one.model is champion() for one in found] == [not one.is_accepted for one in found]
    assert not all(one.is_accepted for one in found)


def test_flipped_labels_are_refused():
    found = adapted("flipped")
    assert found.mean_move > MAX_MOVE
    assert not found.is_accepted
    assert found.model is champion()


def test_labels_without_any_meaning_bring_scores_to_the_base_rate():
    found = adapted("shuffled")
    X, y = world("shuffled", 8000, 99)
    p = found.model.predict_proba(X)[:, 1]
    assert found.trees_dropped > 0.2 * champion().n_trees_
    assert np.std(p) < 0.3 * np.std(champion().predict_proba(X)[:, 1])
    assert p.mean() == pytest.approx(y.mean(), abs=0.03)


def test_the_old_model_is_untouched_and_the_new_one_is_reproduced_stored_and_explained():
    model = PKBoostClassifier(**OPTIONS).fit(*world("none", 2000, 3))
    before = dumps(model)
    X, y = world("concept", 1000, 3)
    found = adapt(model, X, y)
    assert dumps(model) == before
    assert dumps(model.adapt(X, y).model) == dumps(found.model)
    np.testing.assert_array_equal(loads(dumps(found.model)).predict_proba(X), found.model.predict_proba(X))
    values, expected = shap_values(found.model.ensemble_, X[:20])
    np.testing.assert_allclose(
        values.sum(axis=1) + expected, found.model.decision_function(X[:20]), atol=1e-9
    )


def test_weights_say_which_rows_count():
    (X, y), (other, labels) = world("none", 1500, 4), world("concept", 1500, 4)
    both, targets = np.vstack([X, other]), np.concatenate([y, labels])
    weight = np.repeat([1.0, 1e-9], 1500)
    assert adapt(champion(), both, targets, weight).trees_dropped <= 2
    turned = adapt(champion(), both, targets, weight[::-1])
    assert turned.is_accepted
    assert loss(turned.model, "concept") == pytest.approx(
        loss(adapted("concept", 4).model, "concept"), abs=0.01
    )


def test_repeated_rows_of_one_group_are_no_new_evidence():
    X, y = world("concept", 300, 5)
    once = adapt(champion(), X, y)
    rows = np.repeat(np.arange(300), 9)
    repeated = adapt(champion(), X[rows], y[rows], groups=rows)
    assert repeated.gain_error > 0.7 * once.gain_error


@pytest.mark.parametrize("options", [{"mode": "quality", "n_estimators": 20}, {"scale_pos_weight": "sqrt"}])
def test_other_modes_are_repaired_too(options):
    model = PKBoostClassifier(**OPTIONS | options).fit(*world("none", 1500, 6))
    X, y = world("concept", 1500, 6)
    for found in (adapt(model, X, y), refit_leaves(model, X, y)):
        assert found.is_accepted
        assert loss(found.model, "concept") < loss(model, "concept") - 0.02


def test_monotone_scores_stay_monotone():
    model = PKBoostClassifier(**OPTIONS, monotonic_constraints={0: 1}).fit(*world("none", 2000, 7))
    X = np.repeat(world("range", 40, 8)[0], 30, axis=0)
    X[:, 0] = np.tile(np.linspace(-3, 3, 30), 40)
    for found in (adapt(model, *world("range", 1500, 7)), refit_leaves(model, *world("prior", 1500, 7))):
        assert found.is_accepted
        steps = np.diff(found.model.decision_function(X).reshape(40, 30), axis=1)
        assert steps.min() >= -1e-9


def test_leaf_values_move_as_far_as_asked_for():
    X, y = world("concept", 1500, 1)
    losses = [loss(refit_leaves(champion(), X, y, keep=keep).model, "concept") for keep in (0.9, 0.5, 0.0)]
    assert loss(champion(), "concept") > losses[0] > losses[1] > losses[2]
    found = refit_leaves(champion(), X, y)
    np.testing.assert_array_equal(found.model.apply(X), champion().apply(X))
    assert (found.trees_dropped, found.trees_grown, found.base_score_change) == (0, 0, 0.0)
    unchanged = refit_leaves(champion(), *world("none", 1500, 9), keep=0.9)
    assert not unchanged.is_accepted
    assert unchanged.model is champion()


@pytest.mark.parametrize("l2", [1.0, 0.0])
def test_leaves_that_no_newer_row_reaches_keep_their_values(l2):
    model = PKBoostClassifier(**OPTIONS, l2_regularization=l2).fit(*world("none", 2000, 3))
    X, y = world("prior", 1500, 1)
    is_known = X[:, 3] != 2
    found = refit_leaves(model, X[is_known], y[is_known])
    old, new = model.ensemble_.nodes, found.model.ensemble_.nodes
    unseen = new["is_leaf"] & (new["count"] == 0)
    assert found.is_accepted
    assert unseen.sum() > 10
    np.testing.assert_allclose(new["value"][unseen], old["value"][unseen], rtol=1e-9)
    assert not np.allclose(new["value"][~unseen], old["value"][~unseen])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.r_[np.ones(5, int), np.zeros(195, int)]}, "hold 5 rows .groups. of one class; at least 10"),
        ({"y": np.arange(200) % 3}, "labels other than"),
        ({"X": np.zeros((200, 3))}, "X has 3 features"),
        ({"sample_weight": np.full(200, -1.0)}, "should not be smaller than 0"),
        ({"n_estimators": 0}, "n_estimators=0"),
        ({"sample_weight": 1.0 - world("none", 200, 8)[1]}, "hold 0 rows .groups. of one class; at least 10"),
    ],
)
def test_what_cannot_be_used_is_named(change, message):
    X, y = world("none", 200, 8)
    with pytest.raises(ValueError, match=message):
        adapt(champion(), **{"X": X, "y": y} | change)
    with pytest.raises(ValueError, match=r"keep=1.5 should be between 0 and 1"):
        refit_leaves(champion(), X, y, keep=1.5)


@pytest.mark.parametrize("kind", ["range", "level"])
def test_old_trees_score_the_same_in_wider_bins(kind):
    ensemble = champion().ensemble_
    X = np.vstack([world(kind, 500, 9)[0], world("none", 500, 9)[0]])
    X[::7, ::2] = np.nan
    binning = widened_binning(ensemble, X[:500], 255, None, np.random.default_rng(0))
    assert (binning.n_bins <= 255).all()
    assert binning.n_bins.sum() > sum(len(cuts) + 1 for cuts in ensemble.bin_thresholds)
    old = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
    trees = rebin(split_trees(ensemble), old, binning)
    moved = join_trees(trees, binning, ensemble.base_score)
    np.testing.assert_array_equal(raw_scores(moved, X), raw_scores(ensemble, X))
