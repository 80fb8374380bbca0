"""Which trees of a fitted booster hurt on rows that they were not grown on."""

import math
from collections.abc import Sequence

import numpy as np

from pkboost_core.binning import Binning
from pkboost_core.linear_leaves import NO_POSITIONS
from pkboost_core.predictor import add_tree
from pkboost_core.rows import Rows

MAX_SWEEPS = 4
"""Passes over all trees: dropping some may show others as harmful, and rarely does so for long."""


def tree_scores(trees: Sequence[np.ndarray], rows: Rows, binning: Binning) -> np.ndarray:
    """Return what each tree adds to the raw score of each row, float32 (n_trees, n)."""
    scores = np.empty((len(trees), len(rows)), dtype=np.float32)
    added = np.empty(len(rows))
    for out, nodes in zip(scores, trees, strict=True):
        added[:] = 0.0
        add_tree(rows.codes, binning.n_bins, NO_POSITIONS, nodes, added)
        out[:] = added
    return scores


def harmful_trees(
    scores: np.ndarray, raw: np.ndarray, target: np.ndarray, weight: np.ndarray, units: np.ndarray
) -> np.ndarray:
    """Mark the trees without which the log-loss is lower beyond chance, bool (n_trees,).

    The saving of leaving a tree out is compared with its standard error over units. The largest of T errors
    of pure chance is about sqrt(2 ln T) (Donoho and Johnstone 1994): only trees beyond that are dropped, the
    most harmful first, each judged anew with the others already gone.

    Parameters
    ----------
    scores : as `tree_scores` returns them
    raw : float64 (n,), raw scores with all trees
    target, weight : float64 (n,)
    units : int64 (n,), rows of one unit (a lead at several dates) go together
    """
    n_trees = len(scores)
    is_dropped = np.zeros(n_trees, dtype=bool)
    limit = math.sqrt(2.0 * math.log(max(n_trees, 2)))
    raw = raw.copy()
    for _ in range(MAX_SWEEPS):
        surprise = np.where(is_dropped, -np.inf, _screened(scores, raw, target, weight, units))
        candidates = np.argsort(-surprise, kind="stable")[: int((surprise > limit).sum())]
        found = False
        for tree in candidates:
            without = raw - scores[tree]
            saved = weight * (log_losses(raw, target) - log_losses(without, target))
            if in_standard_errors(saved, units) > limit:
                raw, is_dropped[tree], found = without, True, True
        if not found:
            break
    return is_dropped


def log_losses(raw: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the log-loss of each row, float64, from raw scores in log-odds."""
    return np.logaddexp(0.0, raw) - target * raw


def in_standard_errors(values: np.ndarray, units: np.ndarray) -> float:
    """Return the sum of `values` over its standard error, rows of one unit added up first; 0 for all 0."""
    sums = np.bincount(units, weights=values)
    spread = math.sqrt(float(np.sum((sums - sums.mean()) ** 2)))
    return float(sums.sum()) / spread if spread > 0 else 0.0


def _screened(
    scores: np.ndarray, raw: np.ndarray, target: np.ndarray, weight: np.ndarray, units: np.ndarray
) -> np.ndarray:
    """Return `in_standard_errors` of leaving out each tree, the loss taken to second order."""
    p = 1.0 / (1.0 + np.exp(-np.clip(raw, -500.0, 500.0)))
    gradient, hessian = weight * (p - target), 0.5 * weight * p * (1.0 - p)
    return np.array([in_standard_errors(v * (gradient - hessian * v), units) for v in scores])
