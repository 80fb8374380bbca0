"""Route rows through trees by their bin codes: prediction, leaf ids and the sums that refit a tree."""

import numpy as np
from numba import types

from pkboost_core.binning import Binning
from pkboost_core.compiled import as_records, helper, kernel
from pkboost_core.ensemble import Ensemble
from pkboost_core.grower import NODES, code_of, goes_left
from pkboost_core.histogram import gradient_of, hessian_of, widen
from pkboost_core.splitting import RULES_TYPE, leaf_value

BLOCK = 16_384
"""Rows encoded at a time: the codes of a block of forty features stay in the second-level cache."""


def raw_scores(ensemble: Ensemble, X: np.ndarray) -> np.ndarray:
    """Return the raw scores, float64 (n_rows, n_outputs), of a float32 or float64 matrix."""
    binning = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
    nodes = as_records(ensemble.nodes)
    out = np.tile(ensemble.base_score, (len(X), 1))
    for start in range(0, len(X), BLOCK):
        codes = binning.transform(X[start : start + BLOCK])
        add_trees(codes, binning.n_bins, nodes, ensemble.tree_offsets, out[start : start + BLOCK])
    return out


def leaf_ids(ensemble: Ensemble, X: np.ndarray) -> np.ndarray:
    """Return the node index within its tree of the leaf each row falls into, int64 (n_rows, n_trees)."""
    binning = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
    out = np.empty((len(X), ensemble.n_trees), dtype=np.int64)
    find_leaves(binning.transform(X), binning.n_bins, as_records(ensemble.nodes), ensemble.tree_offsets, out)
    return out


@helper
def leaf_of(codes, row, n_bins, nodes, root):
    """Index of the leaf that a row falls into."""
    position = root
    node = nodes[position]
    while not node.is_leaf:
        feature = node.feature
        left = goes_left(node, code_of(codes, feature, row), n_bins[feature])
        position = node.left if left else node.right
        node = nodes[position]
    return position


CODES = types.uint8[:, :, ::1]


@kernel(types.void(CODES, types.int64[::1], NODES, types.int64[::1], types.float64[:, ::1]))
def add_trees(codes, n_bins, nodes, tree_offsets, out):
    """Add the value of every tree to the raw scores of every row."""
    n_rows, n_outputs = out.shape
    for tree in range(len(tree_offsets) - 1):
        root = tree_offsets[tree]
        output = tree % n_outputs
        for row in range(n_rows):
            out[row, output] += nodes[leaf_of(codes, row, n_bins, nodes, root)].value


@kernel(types.void(CODES, types.int64[::1], NODES, types.int64[::1], types.int64[:, ::1]))
def find_leaves(codes, n_bins, nodes, tree_offsets, out):
    """Write the leaf of every row and tree, counted from the tree's root."""
    for tree in range(len(tree_offsets) - 1):
        root = tree_offsets[tree]
        for row in range(len(out)):
            out[row, tree] = leaf_of(codes, row, n_bins, nodes, root) - root


@kernel(types.void(CODES, types.int64[::1], NODES, types.float64[::1]))
def add_tree(codes, n_bins, nodes, raw):
    """Add the value of one tree, whose root is `nodes[0]`, to one raw score per row."""
    for row in range(len(raw)):
        raw[row] += nodes[leaf_of(codes, row, n_bins, nodes, 0)].value


@kernel(
    types.void(
        CODES,
        types.int64[::1],
        types.int64[::1],
        types.float32[::1],
        types.float64[::1],
        types.int64[::1],
        types.float64,
        RULES_TYPE,
        NODES,
        types.float64[::1],
    )
)
def refit_tree(codes, n_bins, elements, weight, scales, monotonic, bound, rules, nodes, raw):
    """Replay a tree on new rows: keep its splits, recompute values, covers and counts, and update raw scores.

    Quantised gradients make the sums exact, so neither the order of rows nor the number of threads shows.
    """
    n_nodes = len(nodes)
    n_rows = len(raw)
    sums = np.zeros((n_nodes, 2), np.int64)
    lower = np.full(n_nodes, -bound)
    upper = np.full(n_nodes, bound)
    leaf = np.empty(n_rows, np.int32)
    for n in range(n_nodes):
        nodes[n].count = 0
        nodes[n].cover = 0.0
    for row in range(n_rows):
        position = leaf_of(codes, row, n_bins, nodes, 0)
        value = widen(elements[row])
        leaf[row] = position
        sums[position, 0] += gradient_of(value)
        sums[position, 1] += hessian_of(value)
        nodes[position].count += 1
        nodes[position].cover += weight[row] if len(weight) > 0 else np.float32(1.0)
    for n in range(n_nodes - 1, -1, -1):
        node = nodes[n]
        if not node.is_leaf:
            for side in range(2):
                child = node.left if side == 0 else node.right
                sums[n, 0] += sums[child, 0]
                sums[n, 1] += sums[child, 1]
                node.count += nodes[child].count
                node.cover += nodes[child].cover
    for n in range(n_nodes):
        node = nodes[n]
        node.value = rules.learning_rate * node_value(sums, n, scales, rules.l2, lower, upper)
        if not node.is_leaf:
            for side in range(2):
                child = node.left if side == 0 else node.right
                lower[child] = lower[n]
                upper[child] = upper[n]
            direction = monotonic[node.feature]
            if direction != 0:
                left_value = node_value(sums, node.left, scales, rules.l2, lower, upper)
                right_value = node_value(sums, node.right, scales, rules.l2, lower, upper)
                middle = 0.5 * (left_value + right_value)
                below = node.left if direction > 0 else node.right
                above = node.right if direction > 0 else node.left
                upper[below] = middle
                lower[above] = middle
    for row in range(n_rows):
        raw[row] += nodes[leaf[row]].value


@helper
def node_value(sums, n, scales, l2, lower, upper):
    """Newton step of a node from its integer sums."""
    return leaf_value(scales[0] * sums[n, 0], scales[1] * sums[n, 1], l2, lower[n], upper[n])
