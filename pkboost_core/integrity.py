"""Are these trees safe to walk: what compiled code assumes, checked once when a model comes from outside."""

import numpy as np

from pkboost_core.binning import MAX_CATEGORIES
from pkboost_core.dtypes import MAX_BINS, N_TERMS, NODE
from pkboost_core.ensemble import Ensemble


def check_ensemble(ensemble: Ensemble) -> None:
    """Refuse trees that would send compiled code out of bounds or round in circles; ValueError says why.

    Children must lie after their parent and inside its tree, and each node but the root must be the child of
    exactly one, so every walk ends and a tree of m nodes has (m + 1) / 2 leaves; features, bins, shapes and
    numbers must be in range.
    """
    nodes, offsets, k = ensemble.nodes, ensemble.tree_offsets, ensemble.n_columns
    _require(nodes.dtype == NODE and nodes.ndim == 1, "nodes must be one array of node records")
    _require(
        offsets.ndim == 1 and offsets.dtype.kind == "i" and len(offsets) > 0, "tree_offsets must be integers"
    )
    _require(offsets[0] == 0 and offsets[-1] == len(nodes), "tree_offsets must span all nodes")
    _require(bool((np.diff(offsets) > 0).all()), "every tree needs a node")
    base = ensemble.base_score
    _require(
        base.ndim == 1 and base.dtype == np.float64 and len(base) > 0,
        "base_score must be a vector of float64",
    )
    _require(bool(np.isfinite(base).all()), "base_score must be finite")
    _require(
        ensemble.n_trees % ensemble.n_outputs == 0, "the number of trees must be a multiple of the outputs"
    )
    _require(ensemble.is_categorical.shape == (k,), f"is_categorical must have {k} entries")
    _require(ensemble.is_categorical.dtype == np.bool_, "is_categorical must be boolean")
    for j, thresholds in enumerate(ensemble.bin_thresholds):
        _check_thresholds(thresholds, bool(ensemble.is_categorical[j]), f"feature {j}")
    _check_pairs(ensemble)
    _check_nodes(nodes, offsets, ensemble.is_categorical, k)


def _check_thresholds(thresholds: np.ndarray, is_categorical: bool, label: str) -> None:
    """Check the cuts of a feature, or its levels: as many as bin codes of one byte can tell apart."""
    _require(
        thresholds.ndim == 1 and thresholds.dtype == np.float64,
        f"bin thresholds of {label} must be a vector of float64",
    )
    most = MAX_CATEGORIES if is_categorical else MAX_BINS - 1
    _require(len(thresholds) <= most, f"{label} has {len(thresholds)} bin thresholds, at most {most}")
    _require(bool(np.isfinite(thresholds).all()), f"bin thresholds of {label} must be finite")
    _require(bool((thresholds[1:] > thresholds[:-1]).all()), f"bin thresholds of {label} must ascend")
    if is_categorical:
        are_codes = bool(((thresholds >= 0) & (thresholds == np.floor(thresholds))).all())
        _require(are_codes, f"levels of {label} must be integer codes >= 0")


def _check_pairs(ensemble: Ensemble) -> None:
    pairs, n_features = ensemble.pairs, ensemble.n_features
    _require(pairs.ndim == 2 and pairs.shape[1] == 2, "pairs must have two columns")
    _require(n_features >= 0, f"{len(pairs)} pairs need {2 * len(pairs)} columns")
    _require(
        bool(((pairs >= 0) & (pairs < n_features)).all()), f"a pair has a feature outside 0..{n_features - 1}"
    )
    _require(not ensemble.is_categorical[pairs].any(), "a pair has a categorical feature")
    _require(not ensemble.is_categorical[n_features:].any(), "a cross of two features is not categorical")


def _check_nodes(nodes: np.ndarray, offsets: np.ndarray, is_categorical: np.ndarray, k: int) -> None:
    inner = ~nodes["is_leaf"]
    _require(bool(np.isfinite(nodes["value"]).all()), "leaf values must be finite")
    _require(not np.isnan(nodes["threshold"][inner]).any(), "thresholds must be numbers")
    _require(
        bool((np.isfinite(nodes["cover"]) & (nodes["cover"] >= 0)).all()),
        "covers must be finite and not negative",
    )
    index, last = np.arange(len(nodes)), np.repeat(offsets[1:], np.diff(offsets))
    for side in ("left", "right"):
        child = nodes[side]
        _require(
            bool(((child > index) & (child < last))[inner].all()), f"a {side} child lies outside its tree"
        )
        _require(bool((child[~inner] == -1).all()), f"a leaf has a {side} child")
    _check_terms(nodes, k)
    feature = nodes["feature"][inner]
    _require(bool(((feature >= 0) & (feature < k)).all()), f"a split tests a feature outside 0..{k - 1}")
    _require(
        bool((is_categorical[feature] == nodes["is_categorical"][inner]).all()),
        "a split's kind differs from its feature's",
    )
    children = np.concatenate([nodes["left"][inner], nodes["right"][inner]])
    n_parents = np.ones(len(nodes), dtype=np.int64)
    n_parents[offsets[:-1]] = 0
    _require(
        np.array_equal(np.bincount(children, minlength=len(nodes)), n_parents),
        "every node but the root must be the child of exactly one node",
    )


def _check_terms(nodes: np.ndarray, k: int) -> None:
    n_terms, features = nodes["n_terms"], nodes["term_features"]
    _require(bool((n_terms <= N_TERMS).all()), f"a leaf has more than {N_TERMS} terms")
    is_used = np.arange(N_TERMS) < n_terms[:, np.newaxis]
    _require(
        bool(((features >= 0) & (features < k))[is_used].all()), f"a term's feature is outside 0..{k - 1}"
    )
    for name in ("term_slopes", "term_centers"):
        _require(bool(np.isfinite(nodes[name][is_used]).all()), f"{name} must be finite")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(f"malformed trees: {message}")
