"""Carry fitted trees over to other bins, so that new trees may split where the old ones could not.

Bins are learnt from the rows a model was fitted on. Rows that come later may lie beyond them, or hold
categories that did not exist: in the old bins such rows are all alike. The bins used by the old trees are
kept and those of the new rows are added; the old trees then send every row where they sent it before.
"""

import numpy as np

from pkboost_core.binning import MAX_CATEGORIES, Binning, fit_binning
from pkboost_core.dtypes import MAX_BINS, N_CATEGORY_WORDS
from pkboost_core.ensemble import Ensemble

N_CODES = 64 * N_CATEGORY_WORDS


def split_trees(ensemble: Ensemble) -> list[np.ndarray]:
    """Return the nodes of each tree with children counted from its root: the inverse of `join_trees`."""
    trees = []
    for start, stop in zip(ensemble.tree_offsets[:-1], ensemble.tree_offsets[1:], strict=True):
        nodes = ensemble.nodes[start:stop].copy()
        is_inner = ~nodes["is_leaf"]
        nodes["left"][is_inner] -= start
        nodes["right"][is_inner] -= start
        trees.append(nodes)
    return trees


def widened_binning(
    ensemble: Ensemble,
    X: np.ndarray,
    max_bins: int,
    sample_weight: np.ndarray | None,
    rng: np.random.Generator,
) -> Binning:
    """Return bins with every cut that the trees use, and as many of the rows of `X` as there is room for.

    Parameters
    ----------
    X : float matrix (n_rows, n_features) of newer rows
    max_bins : most bins that the new rows ask for; both together never exceed 255
    """
    fresh = fit_binning(X, max_bins, ensemble.is_categorical, sample_weight, rng)
    inner = ensemble.nodes[~ensemble.nodes["is_leaf"]]
    thresholds = []
    for feature, cuts in enumerate(fresh.thresholds):
        if ensemble.is_categorical[feature]:
            thresholds.append(_more_levels(ensemble.bin_thresholds[feature], X[:, feature]))
        else:
            used = np.unique(inner["threshold"][inner["feature"] == feature])
            thresholds.append(_more_cuts(used[np.isfinite(used)], cuts))
    return Binning(tuple(thresholds), ensemble.is_categorical)


def rebin(trees: list[np.ndarray], old: Binning, new: Binning) -> list[np.ndarray]:
    """Return the trees with their splits in the codes of `new`, which must hold every cut they use."""
    rebinned = [tree.copy() for tree in trees]
    for tree in rebinned:
        for node in np.flatnonzero(~tree["is_leaf"]):
            feature = tree["feature"][node]
            if tree["is_categorical"][node]:
                levels = old.thresholds[feature], new.thresholds[feature]
                tree["left_categories"][node] = _recoded(tree["left_categories"][node], *levels)
            else:
                cuts = new.thresholds[feature]
                tree["bin_threshold"][node] = np.searchsorted(cuts, tree["threshold"][node])
    return rebinned


def _more_cuts(used: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    added = np.setdiff1d(fresh, used)
    room = MAX_BINS - 1 - len(used)
    if len(added) > room:
        added = added[np.linspace(0, len(added) - 1, room).round().astype(np.int64)]
    return np.union1d(used, added)


def _more_levels(known: np.ndarray, column: np.ndarray) -> np.ndarray:
    levels, counts = np.unique(column[~np.isnan(column)].astype(np.float64), return_counts=True)
    is_new = ~np.isin(levels, known)
    by_frequency = np.argsort(-counts[is_new], kind="stable")
    return np.union1d(known, levels[is_new][by_frequency][: max(0, MAX_CATEGORIES - len(known))])


def _recoded(words: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Give each new code the side of its level; new levels go where missing values went."""
    goes_left = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), bitorder="little").astype(bool)
    recoded = np.full(N_CODES, goes_left[max(len(old), 1)])
    recoded[np.searchsorted(new, old)] = goes_left[: len(old)]
    return np.packbits(recoded, bitorder="little").view(np.uint64)
