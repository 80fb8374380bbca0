"""Linear leaves: a leaf adds a small linear function of the features tested on its path to its constant.

Within a leaf with gradients g, hessians h and path features z, centred on their h-weighted means m,

    slopes = -learning_rate (Zc' H Zc + lambda I)^-1 Zc' g,    score = value + slopes . (z - m)

which is the Newton step of a ridge regression; the constant stays that of a plain leaf. A feature enters by
the middle of its bin, standardised over bins, within -3..3 and rounded to 1/256; 0 where it is missing. So a
leaf does not extrapolate, and every sum that the regression needs is a sum of integers: exact, and the same
for any order of rows, number of threads or machines.
"""

from collections.abc import Sequence

import numpy as np
from numba import types

from pkboost_core.compiled import helper, kernel
from pkboost_core.dtypes import N_TERMS
from pkboost_core.histogram import gradient_of, hessian_of, widen
from pkboost_core.jobs import NODES
from pkboost_core.partition import code_of
from pkboost_core.splitting import RULES_TYPE, TINY

MIN_ROWS = 10
"""A leaf with fewer rows stays constant."""

MIN_RIDGE = 1e-3
"""Least lambda of the slopes: without any, two features that say the same would have no solution."""

BLOCK = 256
"""Rows whose products are summed as floats: below 2^53 they are still exact integers."""

CODES = types.uint8[:, :, ::1]


UNIT = 256
"""Steps of z per standard deviation."""

NO_POSITIONS = np.empty((0, 256))
"""Positions of a model whose leaves are constant."""

MAX_Z = 3
"""Where z is cut off, in standard deviations."""


def bin_positions(thresholds: Sequence[np.ndarray], is_categorical: np.ndarray) -> np.ndarray:
    """Return z of every bin code times `UNIT`, whole numbers as float64 (n_features, 256).

    `thresholds` are a feature's ascending cuts, as `Binning` holds them. The outermost bins are taken to be
    as wide as their neighbours. All bins of a feature whose spread no float can hold are at zero: no line.
    """
    table = np.zeros((len(thresholds), 256))
    for j, cuts in enumerate(thresholds):
        if is_categorical[j] or len(cuts) == 0:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            gaps = np.diff(cuts) if len(cuts) > 1 else np.ones(1)
            edges = np.concatenate([[cuts[0] - gaps[0]], cuts, [cuts[-1] + gaps[-1]]])
            middles = (edges[1:] + edges[:-1]) / 2
            spread = middles.std()
        if 0.0 < spread < np.inf:
            z = (middles - middles.mean()) / spread
            table[j, : len(z)] = np.rint(UNIT * np.clip(z, -MAX_Z, MAX_Z))
    return table


@helper
def linear_part(codes, row, positions, node):
    """Linear function of a leaf at one row."""
    total = 0.0
    for term in range(np.int64(node.n_terms)):
        feature = node.term_features[term]
        z = positions[feature, code_of(codes, feature, row)] / UNIT
        total += node.term_slopes[term] * (z - node.term_centers[term])
    return total


@helper
def pass_path_on(nodes, parent, child):
    """Give a child its parent's path, and the feature that the parent tests."""
    node = nodes[parent]
    target = nodes[child]
    n = np.int64(node.n_terms)
    is_new = not node.is_categorical and n < N_TERMS
    for term in range(n):
        target.term_features[term] = node.term_features[term]
        is_new = is_new and node.term_features[term] != node.feature
    if is_new:
        target.term_features[n] = node.feature
        n += 1
    target.n_terms = n


@helper
def add_block(codes, elements, start, stop, positions, node, zs, weighted, sums, products):
    """Add a block of rows to the sums g, h, g z and h z, and to the products h z z', all integers."""
    k = np.int64(node.n_terms)
    n = stop - start
    gradient = 0.0
    hessian = 0.0
    for i in range(n):
        value = widen(elements[start + i])
        weighted[N_TERMS, i] = gradient_of(value)
        weighted[N_TERMS + 1, i] = hessian_of(value)
        gradient += weighted[N_TERMS, i]
        hessian += weighted[N_TERMS + 1, i]
    sums[0, 0] += np.int64(gradient)
    sums[0, 1] += np.int64(hessian)
    for a in range(k):
        feature = node.term_features[a]
        with_gradient = 0.0
        with_hessian = 0.0
        for i in range(n):
            z = positions[feature, code_of(codes, feature, elements[start + i] >> 32)]
            zs[a, i] = z
            weighted[a, i] = z * weighted[N_TERMS + 1, i]
            with_gradient += z * weighted[N_TERMS, i]
            with_hessian += weighted[a, i]
        sums[1 + a, 0] += np.int64(with_gradient)
        sums[1 + a, 1] += np.int64(with_hessian)
        for b in range(a + 1):
            total = 0.0
            for i in range(n):
                total += weighted[a, i] * zs[b, i]
            products[a, b] += np.int64(total)


@helper
def solve(matrix, vector, k):
    """Solve a positive definite system in place by Cholesky; `vector` holds the solution on return."""
    for a in range(k):
        for b in range(a + 1):
            total = matrix[a, b]
            for c in range(b):
                total -= matrix[a, c] * matrix[b, c]
            matrix[a, b] = np.sqrt(total) if a == b else total / matrix[b, b]
    for a in range(k):
        for c in range(a):
            vector[a] -= matrix[a, c] * vector[c]
        vector[a] /= matrix[a, a]
    for a in range(k - 1, -1, -1):
        for c in range(a + 1, k):
            vector[a] -= matrix[c, a] * vector[c]
        vector[a] /= matrix[a, a]


@helper
def set_terms(node, sums, products, scales, rules, bound):
    """Turn the integer sums of a leaf into centers and slopes."""
    k = np.int64(node.n_terms)
    matrix = np.empty((N_TERMS, N_TERMS))
    vector = np.empty(N_TERMS)
    total = np.float64(sums[0, 1])
    for a in range(k):
        center = sums[1 + a, 1] / total
        node.term_centers[a] = center / UNIT
        vector[a] = -scales[0] * (sums[1 + a, 0] - center * sums[0, 0]) / UNIT
        for b in range(a + 1):
            matrix[a, b] = scales[1] * (products[a, b] - center * sums[1 + b, 1]) / (UNIT * UNIT)
        matrix[a, a] += max(rules.l2, MIN_RIDGE)
    solve(matrix, vector, k)
    reach = 0.0
    for a in range(k):
        reach += abs(vector[a]) * (MAX_Z + abs(node.term_centers[a]))
    shrink = rules.learning_rate * min(1.0, bound / max(reach, TINY))
    for a in range(k):
        node.term_slopes[a] = shrink * vector[a]


@kernel(
    types.void(
        CODES,
        types.float64[:, ::1],
        types.int64[::1],
        types.int64[:, ::1],
        types.float64[::1],
        RULES_TYPE,
        types.float64,
        NODES,
    )
)
def fit_linear_leaves(codes, positions, elements, spans, scales, rules, bound, nodes):
    """Give every leaf of a grown tree its linear function.

    Parameters
    ----------
    codes : uint8 (n_groups, n, 8)
    positions : as `bin_positions` returns them
    elements : int64, packed gradients
    spans : int64 (n_nodes, 2); the rows of leaf i lie in `elements[spans[i, 0]:spans[i, 1]]`
    scales : float64, factors from the packed integers back to gradients and hessians
    bound : the most that a linear part may reach, before the learning rate
    nodes : NODE of one tree, written
    """
    zs = np.empty((N_TERMS, BLOCK))
    weighted = np.empty((N_TERMS + 2, BLOCK))
    sums = np.empty((1 + N_TERMS, 2), np.int64)
    products = np.empty((N_TERMS, N_TERMS), np.int64)
    nodes[0].n_terms = 0
    for n in range(len(nodes)):
        node = nodes[n]
        if not node.is_leaf:
            pass_path_on(nodes, n, node.left)
            pass_path_on(nodes, n, node.right)
            node.n_terms = 0
            continue
        if node.n_terms == 0 or spans[n, 1] - spans[n, 0] < MIN_ROWS:
            node.n_terms = 0
            continue
        sums[:] = 0
        products[:] = 0
        for first in range(spans[n, 0], spans[n, 1], BLOCK):
            last = min(first + BLOCK, spans[n, 1])
            add_block(codes, elements, first, last, positions, node, zs, weighted, sums, products)
        if sums[0, 1] == 0:
            node.n_terms = 0
        else:
            set_terms(node, sums, products, scales, rules, bound)


@kernel(types.void(types.int64[::1], types.int64[::1], types.int64[:, ::1], types.int64[::1]))
def group_by_leaf(elements, leaf, spans, grouped):
    """Sort elements by the leaf of their row, keeping the order within a leaf, and write each leaf's span.

    `leaf` holds the node index of each row; `spans` and `grouped` are as `fit_linear_leaves` reads them.
    """
    spans[:] = 0
    for i in range(len(elements)):
        spans[leaf[elements[i] >> 32], 1] += 1
    start = 0
    for n in range(len(spans)):
        spans[n, 0] = start
        start += spans[n, 1]
        spans[n, 1] = spans[n, 0]
    for i in range(len(elements)):
        n = leaf[elements[i] >> 32]
        grouped[spans[n, 1]] = elements[i]
        spans[n, 1] += 1


@kernel(types.void(CODES, types.float64[:, ::1], NODES, types.int64[::1], types.float64[::1]))
def add_linear_parts(codes, positions, nodes, leaf, raw):
    """Add the linear part of each row's leaf, node `leaf[row]`, to its raw score."""
    for row in range(len(raw)):
        raw[row] += linear_part(codes, row, positions, nodes[leaf[row]])


@kernel(types.void(CODES, types.float64[:, ::1], NODES, types.int64[:, ::1], types.float64[:, ::1]))
def add_term_contributions(codes, positions, nodes, leaves, out):
    """Add each term of each row's leaves, int64 (n_rows, n_trees), to its feature's column of `out`."""
    for row in range(len(leaves)):
        for tree in range(leaves.shape[1]):
            node = nodes[leaves[row, tree]]
            for term in range(np.int64(node.n_terms)):
                feature = node.term_features[term]
                z = positions[feature, code_of(codes, feature, row)] / UNIT
                out[row, feature] += node.term_slopes[term] * (z - node.term_centers[term])
