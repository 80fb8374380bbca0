"""How many trees: by rows handed in, by a share held out, or by folds where that share has too few rows."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from pkboost_core.holdout import n_outside_largest, strata_of_units, stratified_folds, stratified_share
from pkboost_core.rows import Rows
from pkboost_core.training import Boosted, Plan, boost, refit, scores_of

MIN_HELD_OUT_POSITIVES = 20
"""With fewer rows outside the largest class (or half) in the holdout, early stopping goes by K folds."""

N_FOLDS = 5

UNCHECKED_TREES = 100
"""Trees grown when early stopping is asked for but there are too few rows of a class to judge by."""


@dataclass(frozen=True)
class Stopping:
    """When to stop: not at all, or by `share` of the rows; `is_refitted` then on all of them."""

    is_early: bool
    share: float
    is_refitted: bool


@dataclass(frozen=True)
class Fitted:
    """Trees, and what rows that they were not grown on say about them.

    Attributes
    ----------
    trees : nodes of each tree, with indices from its root
    losses : float64, held-out loss after each round; empty with folds, for a bag, or without held-out rows
    raw : float64 (n_outputs, n), raw scores of rows that the trees were not grown on; n may be 0
    target, weight : float32 (n,), of those rows; an empty `weight` stands for ones
    member_sizes : trees of each member of a bag, which lie one member after another; empty without a bag
    """

    trees: Sequence[np.ndarray]
    losses: np.ndarray
    raw: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    member_sizes: tuple[int, ...] = ()


def unjudged(trees: Sequence[np.ndarray]) -> Fitted:
    """Return trees that no row was kept back to judge."""
    nothing = np.zeros(0, dtype=np.float32)
    return Fitted(trees, np.zeros(0), np.zeros((1, 0)), nothing, nothing)


def judged(trees: Sequence[np.ndarray], losses: np.ndarray, raw: np.ndarray, held: Rows) -> Fitted:
    """Return trees with the raw scores of the rows that judge them."""
    return Fitted(trees, losses, raw, held.loss_target, held.loss_weight)


def fit_trees(
    rows: Rows,
    plan: Plan,
    stopping: Stopping,
    units: np.ndarray,
    rng: np.random.Generator,
    held: Rows | None = None,
    n_threads: int = 1,
) -> Fitted:
    """Grow trees on `rows` and find out how many to keep.

    `held` are rows to stop on in place of a share of `rows`; no refit follows then. `units` number the groups
    of rows that are never divided, from 0 without gaps. Trees are grown
    on `n_threads`; folds, one thread each, side by side.
    """
    if held is not None:
        patient = plan if stopping.is_early else replace(plan, patience=0)
        fit = boost(rows, patient, held, n_threads)
        return judged(fit.trees, fit.losses, fit.raw, held)
    if not stopping.is_early:
        return unjudged(boost(rows, plan, None, n_threads).trees)
    strata = strata_of_units(units, plan.loss.strata(rows.loss_target))
    fewest = n_outside_largest(strata)
    if fewest * stopping.share >= MIN_HELD_OUT_POSITIVES:
        is_held = stratified_share(strata, stopping.share, rng)[units]
        return _fit_with_holdout(rows, plan, is_held, stopping.is_refitted, n_threads)
    if fewest < 2:
        few = replace(plan, n_trees=min(plan.n_trees, UNCHECKED_TREES))
        return unjudged(boost(rows, few, None, n_threads).trees)
    folds = stratified_folds(strata, min(N_FOLDS, fewest), rng)[units]
    best, raw = cross_validate(rows, plan, folds, n_threads)
    trees = boost(rows, replace(plan, n_trees=best), None, n_threads).trees
    return judged(trees, np.zeros(0), raw, rows)


def _fit_with_holdout(
    rows: Rows, plan: Plan, is_held: np.ndarray, is_refitted: bool, n_threads: int
) -> Fitted:
    held = rows.take(np.flatnonzero(is_held))
    fit = boost(rows.take(np.flatnonzero(~is_held)), plan, held, n_threads)
    return judged(refit(fit.trees, rows, plan) if is_refitted else fit.trees, fit.losses, fit.raw, held)


def cross_validate(rows: Rows, plan: Plan, folds: np.ndarray, n_threads: int = 1) -> tuple[int, np.ndarray]:
    """Choose a number of rounds by K-fold loss; return it with the out-of-fold raw scores at that number.

    `folds` holds the fold of each row. Folds that stopped early keep their last loss in the mean.
    """
    n_folds = int(folds.max()) + 1

    def fit_fold(k: int) -> Boosted:
        grown, held = np.flatnonzero(folds != k), np.flatnonzero(folds == k)
        report = plan.report.within(f"fold {k + 1} of {n_folds}").without_callbacks()
        return boost(rows.take(grown), replace(plan, report=report), rows.take(held))

    with ThreadPoolExecutor(n_threads) as pool:
        fits = list(pool.map(fit_fold, range(n_folds)))
    length = max(len(fit.losses) for fit in fits)
    curves = [
        np.pad(fit.losses, (0, length - len(fit.losses)), mode="edge") for fit in fits if len(fit.losses)
    ]
    best = int(np.argmin(np.mean(curves, axis=0))) + 1 if curves else 0
    n_outputs = plan.loss.n_outputs
    raw = np.empty((n_outputs, len(rows)))
    for k, fit in enumerate(fits):
        held = np.flatnonzero(folds == k)
        raw[:, held] = scores_of(fit.trees[: best * n_outputs], rows.take(held), plan)
    return best, raw
