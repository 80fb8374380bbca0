"""Route rows through trees by their bin codes: prediction, leaf ids and the sums that refit a tree."""

import numpy as np
from numba import types

from pkboost_core.binning import Binning
from pkboost_core.compiled import as_records, helper, kernel
from pkboost_core.ensemble import Ensemble
from pkboost_core.histogram import gradient_of, hessian_of, widen
from pkboost_core.jobs import NODES
from pkboost_core.leafmasks import BLOCK as ROWS
from pkboost_core.leafmasks import FEWEST_ROWS, lowest_bit, reach, tabulate, unpack, walk
from pkboost_core.linear_leaves import NO_POSITIONS, add_term_contributions, bin_positions, linear_part
from pkboost_core.splitting import RULES_TYPE, TINY, leaf_value

BLOCK = 16_384
"""Rows encoded at a time: the codes of a block of forty features stay in the second-level cache."""


def raw_scores(ensemble: Ensemble, X: np.ndarray) -> np.ndarray:
    """Return the raw scores, float64 (n_rows, n_outputs), of a float32 or float64 matrix."""
    binning = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
    nodes = as_records(ensemble.nodes)
    positions = positions_of(ensemble)
    out = np.tile(ensemble.base_score, (len(X), 1))
    for start in range(0, len(X), BLOCK):
        codes = binning.transform(ensemble.widened(X[start : start + BLOCK]))
        add_trees(codes, binning.n_bins, positions, nodes, ensemble.tree_offsets, out[start : start + BLOCK])
    return out


def positions_of(ensemble: Ensemble) -> np.ndarray:
    """Return what linear leaves need to know of each bin; nothing where all leaves are constant."""
    if not ensemble.nodes["n_terms"].any():
        return NO_POSITIONS
    return bin_positions(ensemble.bin_thresholds, ensemble.is_categorical)


def leaf_ids(ensemble: Ensemble, X: np.ndarray) -> np.ndarray:
    """Return the node index within its tree of the leaf each row falls into, int64 (n_rows, n_trees)."""
    binning = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
    out = np.empty((len(X), ensemble.n_trees), dtype=np.int64)
    codes = binning.transform(ensemble.widened(X))
    find_leaves(codes, binning.n_bins, as_records(ensemble.nodes), ensemble.tree_offsets, out)
    return out


def line_contributions(ensemble: Ensemble, X: np.ndarray) -> np.ndarray:
    """Return what linear leaves add to each row's scores, by column, float64 (n, n_columns, n_outputs)."""
    binning = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
    codes, nodes = binning.transform(ensemble.widened(X)), as_records(ensemble.nodes)
    positions = positions_of(ensemble)
    leaves = leaf_ids(ensemble, X) + ensemble.tree_offsets[:-1]
    out = np.zeros((ensemble.n_outputs, len(X), ensemble.n_columns))
    for output, contributions in enumerate(out):
        own = np.ascontiguousarray(leaves[:, output :: ensemble.n_outputs])
        add_term_contributions(codes, positions, nodes, own, contributions)
    return out.transpose(1, 2, 0)


CODES = types.uint8[:, :, ::1]
POSITIONS = types.float64[:, ::1]


@helper
def reach_leaves(codes, n_bins, positions, nodes, tree_offsets, leaf, out):
    """Add the score of every tree to the raw scores `out` (n, n_outputs), or write its leaves to `leaf`.

    Whichever has no rows is left alone. Leaves are taken as constant where `positions` has no rows. Sums run
    over the trees in order, so that a row scores the same in any company.
    """
    n_rows = max(len(out), len(leaf))
    n_outputs = out.shape[1]
    n_nodes = len(nodes)
    is_used = np.zeros(len(n_bins), np.bool_)
    inner = np.empty(n_nodes, np.int64)
    lowest = np.empty(n_nodes, np.uint8)
    span = np.empty(n_nodes, np.uint8)
    clear = np.empty(n_nodes, np.uint64)
    order = np.empty(n_nodes, np.int64)
    n_leaves = np.zeros(len(tree_offsets) - 1, np.int64)
    if n_rows >= FEWEST_ROWS:
        for tree in range(len(n_leaves)):
            first, last = tree_offsets[tree], tree_offsets[tree + 1]
            n_leaves[tree] = tabulate(nodes, first, last, n_bins, is_used, inner, lowest, span, clear, order)
    columns = np.empty((len(n_bins), ROWS), np.uint8)
    masks = np.empty(ROWS, np.uint64)
    found = np.empty(ROWS, np.int64)
    for start in range(0, n_rows, ROWS):
        stop = min(start + ROWS, n_rows)
        unpack(codes, start, stop, is_used, columns)
        for tree in range(len(n_leaves)):
            first = tree_offsets[tree]
            if n_leaves[tree] > 0:
                here = masks[: stop - start]
                reach(nodes, first, n_leaves[tree], inner, lowest, span, clear, columns, here)
                for r in range(stop - start):
                    found[r] = order[first + np.int64(lowest_bit(masks[r]))]
            else:
                for r in range(stop - start):
                    found[r] = walk(codes, start + r, n_bins, nodes, first)
            if len(out) > 0:
                for r in range(stop - start):
                    out[start + r, tree % n_outputs] += nodes[found[r]].value
                if len(positions) > 0:
                    for r in range(stop - start):
                        part = linear_part(codes, start + r, positions, nodes[found[r]])
                        out[start + r, tree % n_outputs] += part
            if len(leaf) > 0:
                for r in range(stop - start):
                    leaf[start + r, tree] = found[r] - first


@kernel(types.void(CODES, types.int64[::1], POSITIONS, NODES, types.int64[::1], types.float64[:, ::1]))
def add_trees(codes, n_bins, positions, nodes, tree_offsets, out):
    """Add the score of every tree to the raw scores of every row."""
    reach_leaves(codes, n_bins, positions, nodes, tree_offsets, np.empty((0, 1), np.int64), out)


@kernel(types.void(CODES, types.int64[::1], NODES, types.int64[::1], types.int64[:, ::1]))
def find_leaves(codes, n_bins, nodes, tree_offsets, out):
    """Write the leaf of every row and tree, counted from the tree's root."""
    reach_leaves(codes, n_bins, np.empty((0, 256)), nodes, tree_offsets, out, np.empty((0, 1)))


@kernel(types.void(CODES, types.int64[::1], POSITIONS, NODES, types.float64[::1]))
def add_tree(codes, n_bins, positions, nodes, raw):
    """Add the score of one tree, whose root is `nodes[0]`, to one raw score per row."""
    offsets = np.array([0, len(nodes)])
    reach_leaves(codes, n_bins, positions, nodes, offsets, np.empty((0, 1), np.int64), raw.reshape(-1, 1))


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
        types.float64[::1],
        NODES,
        types.float64[::1],
    )
)
def refit_tree(codes, n_bins, elements, weight, scales, monotonic, bound, rules, anchors, nodes, raw):
    """Replay a tree on new rows: keep its splits, recompute values, covers and counts, and update raw scores.

    `rules.l2` pulls the step of each node to its anchor, 0 or the one that it had.

    Quantised gradients make the sums exact, so neither the order of rows nor the number of threads shows.
    """
    n_nodes = len(nodes)
    n_rows = len(raw)
    sums = np.zeros((n_nodes, 2), np.int64)
    lower = np.full(n_nodes, -bound)
    upper = np.full(n_nodes, bound)
    leaf = np.empty((n_rows, 1), np.int64)
    reach_leaves(codes, n_bins, np.empty((0, 256)), nodes, np.array([0, n_nodes]), leaf, np.empty((0, 1)))
    for n in range(n_nodes):
        nodes[n].count = 0
        nodes[n].cover = 0.0
    for row in range(n_rows):
        position = leaf[row, 0]
        value = widen(elements[row])
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
        node.value = rules.learning_rate * node_value(sums, n, scales, rules.l2, anchors, lower, upper)
        if not node.is_leaf:
            for side in range(2):
                child = node.left if side == 0 else node.right
                lower[child] = lower[n]
                upper[child] = upper[n]
            direction = monotonic[node.feature]
            if direction != 0:
                left_value = node_value(sums, node.left, scales, rules.l2, anchors, lower, upper)
                right_value = node_value(sums, node.right, scales, rules.l2, anchors, lower, upper)
                middle = 0.5 * (left_value + right_value)
                below = node.left if direction > 0 else node.right
                above = node.right if direction > 0 else node.left
                upper[below] = middle
                lower[above] = middle
    for row in range(n_rows):
        raw[row] += nodes[leaf[row, 0]].value


@helper
def node_value(sums, n, scales, l2, anchors, lower, upper):
    """Newton step of a node from its integer sums; a node without rows has its anchor."""
    gradient = scales[0] * sums[n, 0] - (l2 + TINY) * anchors[n]
    return leaf_value(gradient, scales[1] * sums[n, 1], l2, lower[n], upper[n])
