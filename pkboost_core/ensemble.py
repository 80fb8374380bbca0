"""The trees of a fitted booster: plain arrays that prediction, explanation and storage share."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ensemble:
    """Trees and base scores of a fitted booster.

    Attributes
    ----------
    nodes : ndarray of NODE, shape (n_nodes,)
        All trees, one after another; the first node of a tree is its root.
    tree_offsets : ndarray of int64, shape (n_trees + 1,)
        Tree t is `nodes[tree_offsets[t]:tree_offsets[t + 1]]` and adds to output `t % n_outputs`.
    base_score : ndarray of float64, shape (n_outputs,)
        Raw score (log-odds for binary targets) before the first tree.
    bin_thresholds : tuple of ndarray of float64, one per feature
        Ascending upper bounds of the bins: bin(x) = number of thresholds < x, so x <= thresholds[k] means
        bin <= k. Empty for constant features; for categorical features the sorted category codes seen
        in training (bin = position, unseen codes count as missing).
    is_categorical : ndarray of bool, shape (n_features,)
    """

    nodes: np.ndarray
    tree_offsets: np.ndarray
    base_score: np.ndarray
    bin_thresholds: tuple[np.ndarray, ...]
    is_categorical: np.ndarray

    @property
    def n_features(self) -> int:
        """Number of columns the trees were grown on."""
        return len(self.bin_thresholds)

    @property
    def n_outputs(self) -> int:
        """Number of raw scores per row: 1, or the number of classes."""
        return len(self.base_score)

    @property
    def n_trees(self) -> int:
        """Number of trees over all outputs."""
        return len(self.tree_offsets) - 1
