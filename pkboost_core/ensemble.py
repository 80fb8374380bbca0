"""The trees of a fitted booster: plain arrays that prediction, explanation and storage share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from pkboost_core.binning import Binning
from pkboost_core.crosses import NO_PAIRS, widened
from pkboost_core.dtypes import NODE

TERMS = ("term_slopes", "term_centers", "term_features", "n_terms")
"""Fields of linear leaves, stored only where there are any."""


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
    bin_thresholds : tuple of ndarray of float64, one per column tested: the features, then their crosses
        Ascending upper bounds of the bins: bin(x) = number of thresholds < x, so x <= thresholds[k] means
        bin <= k. Empty for constant features; for categorical features the sorted category codes seen
        in training (bin = position, unseen codes count as missing).
    is_categorical : ndarray of bool, shape (n_columns,)
    pairs : ndarray of int64, shape (n_pairs, 2)
        Features whose difference and product lie behind the features as columns that trees test.
    """

    nodes: np.ndarray
    tree_offsets: np.ndarray
    base_score: np.ndarray
    bin_thresholds: tuple[np.ndarray, ...]
    is_categorical: np.ndarray
    pairs: np.ndarray = field(default_factory=NO_PAIRS.copy)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle; kernels take writable arrays, while joblib may hand over read-only memory maps."""
        for name, value in state.items():
            object.__setattr__(self, name, np.array(value) if isinstance(value, np.ndarray) else value)

    @property
    def n_features(self) -> int:
        """Number of columns of the matrix that is scored."""
        return self.n_columns - 2 * len(self.pairs)

    @property
    def n_columns(self) -> int:
        """Number of columns that trees test: the features and their crosses."""
        return len(self.bin_thresholds)

    def widened(self, X: np.ndarray) -> np.ndarray:
        """Return a matrix of the features with their crosses behind them; ValueError for another width."""
        if X.shape[1] != self.n_features:
            raise ValueError(f"X has {X.shape[1]} columns, the trees were grown on {self.n_features}")
        return widened(X, self.pairs)

    @property
    def n_outputs(self) -> int:
        """Number of raw scores per row: 1, or the number of classes."""
        return len(self.base_score)

    @property
    def n_trees(self) -> int:
        """Number of trees over all outputs."""
        return len(self.tree_offsets) - 1

    def to_state(self) -> dict[str, Any]:
        """Return the trees as a dict of plain arrays, one per field of a node."""
        state = {
            "nodes": {name: np.ascontiguousarray(self.nodes[name]) for name in self._stored_fields()},
            "tree_offsets": self.tree_offsets,
            "base_score": self.base_score,
            "thresholds": np.concatenate([np.zeros(0), *self.bin_thresholds]),
            "threshold_counts": np.array([len(cuts) for cuts in self.bin_thresholds], dtype=np.int64),
            "is_categorical": self.is_categorical,
        }
        return state | ({"pairs": self.pairs} if len(self.pairs) else {})

    def _stored_fields(self) -> list[str]:
        """Every field of a node, without those of linear leaves where there are none."""
        is_linear = bool(self.nodes["n_terms"].any())
        return [name for name in NODE.names or () if is_linear or name not in TERMS]

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_state`; `integrity.check_ensemble` says whether the trees are safe to walk."""
        nodes = _joined_fields(state["nodes"])
        counts = np.asarray(state["threshold_counts"])
        cuts = np.split(np.asarray(state["thresholds"], dtype=np.float64), np.cumsum(counts)[:-1])
        return cls(
            nodes,
            np.asarray(state["tree_offsets"], dtype=np.int64),
            np.asarray(state["base_score"], dtype=np.float64),
            tuple(cuts) if len(counts) else (),
            np.asarray(state["is_categorical"], dtype=np.bool_),
            np.asarray(state.get("pairs", NO_PAIRS), dtype=np.int64),
        )


def _joined_fields(fields: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return node records from one array per field; arrays are neither cast nor repeated to fit."""
    names = [name for name in NODE.names or () if name in fields or name not in TERMS]
    n_nodes = len(fields["feature"])
    for name in names:
        array, field = fields[name], NODE[name]
        if array.dtype != field.base or array.shape != (n_nodes, *field.shape):
            raise ValueError(
                f"field {name!r} of the nodes has shape {array.shape} and type {array.dtype}; expected"
                f" {(n_nodes, *field.shape)} and {field.base}"
            )
    nodes = np.zeros(n_nodes, dtype=NODE)
    for name in names:
        nodes[name] = fields[name]
    return nodes


def join_trees(
    trees: Sequence[np.ndarray],
    binning: Binning,
    base_scores: np.ndarray,
    score_shift: float = 0.0,
    score_factor: float = 1.0,
    pairs: np.ndarray = NO_PAIRS,
) -> Ensemble:
    """Lay trees one after another, child indices made global and thresholds raw.

    Scores become `score_shift + score_factor * score`. The columns of `binning` are the features and behind
    them the crosses of `pairs`.
    """
    offsets = np.concatenate([[0], np.cumsum([len(tree) for tree in trees])]).astype(np.int64)
    nodes = np.zeros(offsets[-1], dtype=NODE)
    for name in NODE.names or ():  # field by field: copying whole records would leave noise in the padding
        nodes[name] = np.concatenate([np.zeros(0, NODE)[name], *(tree[name] for tree in trees)])
    shift = np.repeat(offsets[:-1], np.diff(offsets)).astype(np.int32)
    is_inner = ~nodes["is_leaf"]
    nodes["value"] *= score_factor
    nodes["term_slopes"] *= score_factor
    nodes["left"][is_inner] += shift[is_inner]
    nodes["right"][is_inner] += shift[is_inner]
    for i in np.flatnonzero(is_inner & ~nodes["is_categorical"]):
        cuts, code = binning.thresholds[nodes["feature"][i]], nodes["bin_threshold"][i]
        nodes["threshold"][i] = cuts[code] if code < len(cuts) else np.inf
    base_scores = base_scores * score_factor + score_shift
    return Ensemble(nodes, offsets, base_scores, binning.thresholds, binning.is_categorical, pairs)
