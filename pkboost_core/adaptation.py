"""Repair a fitted booster on newer rows: drop what hurts, keep the rest as it is, grow what is missing.

The world of a model changes piece by piece. Fitting it anew on recent rows alone forgets what still holds;
on all rows it believes what no longer does. The repair keeps trees that still help: trees that hurt on the
newest labels are dropped, the rest is frozen, the base score is set right, and new trees are grown on what
remains.

Nothing is accepted on the rows it was made from. The whole repair, dropping included, is done K times without
one fold of the rows and judged on that fold; even the number of new trees a fold is judged by comes from the
other folds. Only a gain beyond its standard error is accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pkboost_core.bag import N_MEMBERS
from pkboost_core.binning import Binning
from pkboost_core.calibration import fit_logistic
from pkboost_core.linear_leaves import NO_POSITIONS
from pkboost_core.params import learning_rate_of
from pkboost_core.predictor import add_tree
from pkboost_core.pruning import harmful_trees, log_losses, tree_scores
from pkboost_core.repair import Adaptation, Repair, cross_fitted
from pkboost_core.rows import Rows
from pkboost_core.training import GradientState, Plan, TreeGrower

if TYPE_CHECKING:
    from pkboost_core.booster import PKBoostClassifier

__all__ = ["Adaptation", "adapt", "refit_leaves"]


def adapt(
    model: PKBoostClassifier,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    groups: Any = None,
    n_estimators: int = 300,
    learning_rate: float | str | None = None,
    min_gain_errors: float = 1.0,
) -> Adaptation:
    """Drop the trees that hurt on newer rows, grow new ones on top of the rest, keep it only if that helps.

    Parameters
    ----------
    model : fitted; it is not changed
    X, y, sample_weight, groups : rows as for `PKBoostClassifier.fit`, with labels known by now. Rows that the
        model was fitted on make its trees look better than they are: hand in newer ones.
    n_estimators : most new trees
    learning_rate : of the new trees; None takes the model's parameter
    min_gain_errors : standard errors by which the held-out log-loss has to fall

    Raises
    ------
    ValueError
        The rows do not fit the model, or hold fewer than `MIN_PER_CLASS` rows (groups) of a class.
    """
    rate = model.learning_rate if learning_rate is None else learning_rate
    repair = Repair(model, X, y, sample_weight, groups, {"learning_rate": rate, "n_estimators": n_estimators})
    scores = tree_scores(repair.trees, repair.rows, repair.plan.binning)

    def path(fold: int) -> list[np.ndarray]:
        grown, held = np.flatnonzero(repair.folds != fold), np.flatnonzero(repair.folds == fold)
        raw = _pruned(repair, scores, grown).raw
        return _held_out_path(
            repair.rows.take(grown), raw[grown], repair.rows.take(held), raw[held], repair.plan
        )

    raw, n_grown = cross_fitted(repair, path)
    start = _pruned(repair, scores, np.arange(len(repair.rows)))
    grower = _grower(repair.rows, start.raw, repair.plan)
    kept = [tree for tree, is_dropped in zip(repair.trees, start.is_dropped, strict=True) if not is_dropped]
    grown = [grower.grow(tree) for tree in range(n_grown)]
    return repair.judged(
        raw, [*kept, *grown], start.change, int(start.is_dropped.sum()), n_grown, min_gain_errors
    )


def refit_leaves(
    model: PKBoostClassifier,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    groups: Any = None,
    keep: float = 0.5,
    min_gain_errors: float = 1.0,
) -> Adaptation:
    """Keep the structure of every tree and move its leaf values towards what newer rows ask for.

    With v the old value of a leaf and G and H the sums of gradients and hessians of the new rows in it, the
    new value is

        keep v + (1 - keep) (lambda v - rate G) / (H + lambda)

    LightGBM's refit (`refit_decay_rate`) differs in the penalty, which pulls to 0: a leaf that no new row
    reaches loses half of its value there, although nothing was learnt about it, and held-out rows cannot see
    that, for they do not reach it either.

    Parameters
    ----------
    model, X, y, sample_weight, groups, min_gain_errors : as for `adapt`
    keep : share of the old leaf values that stays; 0 believes the new rows alone, where there are any

    Raises
    ------
    ValueError
        As for `adapt`, or `keep` outside [0, 1].
    """
    if not 0.0 <= keep <= 1.0:
        raise ValueError(f"keep={keep!r} should be between 0 and 1")
    repair = Repair(model, X, y, sample_weight, groups, {"learning_rate": _fitted_rate(model)})
    start = repair.raw - tree_scores(repair.trees, repair.rows, repair.plan.binning).sum(
        axis=0, dtype=np.float64
    )

    def path(fold: int) -> list[np.ndarray]:
        refitted = _refitted(repair, start, np.flatnonzero(repair.folds != fold), keep)
        held = np.flatnonzero(repair.folds == fold)
        return [start[held] + _sum_of(refitted, repair.rows.take(held), repair.plan.binning)]

    raw, _ = cross_fitted(repair, path)
    refitted = _refitted(repair, start, np.arange(len(repair.rows)), keep)
    return repair.judged(raw, refitted, 0.0, 0, 0, min_gain_errors)


@dataclass(frozen=True)
class _Start:
    """Which trees go, what is added to the base score, and the raw scores of all rows after both."""

    is_dropped: np.ndarray
    change: float
    raw: np.ndarray


def _pruned(repair: Repair, scores: np.ndarray, index: np.ndarray) -> _Start:
    """Drop trees and set the base score right by some of the rows."""
    target, weight = repair.target[index], repair.weight[index]
    dropped = harmful_trees(scores[:, index], repair.raw[index], target, weight, repair.units[index])
    raw = repair.raw - scores[dropped].sum(axis=0, dtype=np.float64)
    change = _intercept(raw[index], target, weight)
    return _Start(dropped, change, raw + change)


def _held_out_path(
    rows: Rows, raw: np.ndarray, held: Rows, held_raw: np.ndarray, plan: Plan
) -> list[np.ndarray]:
    """Grow trees until the held-out loss has not fallen for `plan.patience` trees; return the held-out scores
    after each.
    """
    grower = _grower(rows, raw, plan)
    weight = held.loss_weight if len(held.loss_weight) else np.ones(len(held))
    steps = [held_raw]
    best, best_loss = 0, float(weight @ log_losses(steps[0], held.loss_target))
    for tree in range(plan.n_trees):
        score = steps[-1].copy()
        add_tree(held.codes, plan.binning.n_bins, NO_POSITIONS, grower.grow(tree), score)
        steps.append(score)
        loss = float(weight @ log_losses(score, held.loss_target))
        if loss < best_loss:
            best, best_loss = tree + 1, loss
        if tree + 1 - best >= plan.patience:
            break
    return steps


def _grower(rows: Rows, raw: np.ndarray, plan: Plan) -> TreeGrower:
    grower = TreeGrower(rows, plan)
    grower.state.raw[:] = raw
    return grower


def _intercept(raw: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    """Return the shift of log-odds that fits the new base rate best, with one imagined row against it."""
    return float(fit_logistic(np.ones((len(raw), 1)), target, weight, np.zeros(1), 0.25, offset=raw)[0])


def _refitted(repair: Repair, start: np.ndarray, index: np.ndarray, keep: float) -> list[np.ndarray]:
    """Replay the trees in their order on some rows; a tree's new values mend what the ones before it left."""
    rows = repair.rows.take(index)
    state = GradientState(rows, repair.plan)
    state.raw[:] = start[index]
    plan, refitted = repair.plan, []
    for tree, old in enumerate(repair.trees):
        nodes = state.replay(tree, old, state.raw[0].copy(), keep_unseen=True)
        nodes["value"] = keep * old["value"] + (1.0 - keep) * nodes["value"]
        add_tree(rows.codes, plan.binning.n_bins, NO_POSITIONS, nodes, state.raw[0])
        refitted.append(nodes)
    return refitted


def _fitted_rate(model: PKBoostClassifier) -> float:
    """Learning rate that the trees have; members of a bag share it."""
    fitted = learning_rate_of(model.learning_rate)
    return fitted / N_MEMBERS if model.mode == "quality" else fitted


def _sum_of(trees: Sequence[np.ndarray], rows: Rows, binning: Binning) -> np.ndarray:
    added = np.zeros(len(rows))
    for nodes in trees:
        add_tree(rows.codes, binning.n_bins, NO_POSITIONS, nodes, added)
    return added
