"""Kernels of exact path-dependent TreeSHAP, by quadrature of the multilinear extension.

The value function is that of Lundberg et al. (2020): features outside a coalition follow both branches of a
split, weighted by training cover. For one leaf of value v whose path tests the distinct features j, let z_j
be the product of the cover shares along j's splits, and o_j = 1 if the row passes all of them, else 0. Owen's
multilinear extension gives

    phi_i = v (o_i - z_i) * integral over t in [0, 1] of prod over j != i of (z_j (1 - t) + o_j t) dt

The integrand is a polynomial of degree d - 1 for d distinct features, so Gauss-Legendre quadrature with
ceil(d / 2) points is exact; all its terms are positive, so nothing cancels however deep the tree.

A row matters to a leaf through the d bits o_j only. Where there are more rows than bit patterns the
attributions are tabulated once per leaf and each row costs one look-up (the idea of Fast TreeSHAP v2, Yang
2021).
"""

from typing import NamedTuple

import numpy as np
from numba import types

from pkboost_core.compiled import helper, kernel
from pkboost_core.ensemble import Ensemble

MAX_PATH_FEATURES = 64
"""Distinct features on a path: one bit each."""

_INTS, _FLOATS, _BYTES = types.int64[::1], types.float64[::1], types.uint8[::1]
_MATRIX = types.float64[:, ::1]


class LeafPaths(NamedTuple):
    """For every leaf the splits above it, and its slots: one per distinct feature.

    Attributes
    ----------
    start, depth, n_slots : int64, one per node, 0 for inner nodes; a leaf's splits and slots begin at `start`
    split_node, split_slot, split_left : per split the node, the slot of its feature, 1 if the path goes left
    slot_feature, slot_share : per slot the feature, and its cover share z
    """

    start: np.ndarray
    depth: np.ndarray
    n_slots: np.ndarray
    split_node: np.ndarray
    split_slot: np.ndarray
    split_left: np.ndarray
    slot_feature: np.ndarray
    slot_share: np.ndarray


def leaf_paths(ensemble: Ensemble) -> LeafPaths:
    """Collect the path of every leaf; ValueError where one tests more than 64 distinct features."""
    feature, left, right, cover, is_leaf = _contiguous(
        ensemble, "feature", "left", "right", "cover", "is_leaf"
    )
    parent, depth = np.full(len(left), -1, np.int64), np.zeros(len(left), np.int64)
    _find_parents(left, right, parent, depth)
    depth[~is_leaf] = 0
    start, size = np.cumsum(depth) - depth, int(depth.sum())
    paths = LeafPaths(
        start, depth, np.zeros(len(left), np.int64),
        np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.uint8),
        np.zeros(size, np.int64), np.ones(size),
    )  # fmt: skip
    _fill_paths(parent, left, feature, cover, *paths)
    widest = paths.n_slots.max(initial=0)
    if widest > MAX_PATH_FEATURES:
        raise ValueError(
            f"a path tests {widest} distinct features, of which {MAX_PATH_FEATURES} can be explained; "
            "lower max_depth"
        )
    return paths


def attributions(ensemble: Ensemble, paths: LeafPaths, columns: np.ndarray, output: int) -> np.ndarray:
    """Return the attributions of one output, float64 (n, k).

    `columns` is float64 (k, n), feature-major, with NaN for missing values and bin codes for categories.
    """
    out = np.zeros((columns.shape[1], ensemble.n_columns))
    names = "feature", "threshold", "missing_left", "is_categorical", "left_categories", "is_leaf", "value"
    points, weights = _quadrature(int(paths.n_slots.max(initial=1)))
    offsets = ensemble.tree_offsets.astype(np.int64)
    trees = _contiguous(ensemble, *names)
    _explain(columns, output, ensemble.n_outputs, offsets, *trees, *paths, points, weights, out)
    return out


def expected(ensemble: Ensemble, paths: LeafPaths) -> np.ndarray:
    """Return the mean raw score over the training rows' cover, float64 (n_outputs,)."""
    total = ensemble.base_score.astype(np.float64)
    is_leaf, value = _contiguous(ensemble, "is_leaf", "value")
    offsets = ensemble.tree_offsets.astype(np.int64)
    _add_expected(offsets, is_leaf, value, paths.start, paths.n_slots, paths.slot_share, total)
    return total


def _contiguous(ensemble: Ensemble, *names: str) -> list[np.ndarray]:
    return [np.ascontiguousarray(ensemble.nodes[name]) for name in names]


def _quadrature(max_slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre points and weights on [0, 1]; row d serves paths with d distinct features."""
    size = (max_slots + 1) // 2
    points, weights = np.zeros((max_slots + 1, size)), np.zeros((max_slots + 1, size))
    for d in range(1, max_slots + 1):
        x, w = np.polynomial.legendre.leggauss((d + 1) // 2)
        points[d, : len(x)], weights[d, : len(x)] = (x + 1) / 2, w / 2
    return points, weights


@kernel(types.void(types.int32[::1], types.int32[::1], _INTS, _INTS))
def _find_parents(left, right, parent, depth):
    for i in range(len(left)):
        if left[i] >= 0:
            parent[left[i]] = parent[right[i]] = i
            depth[left[i]] = depth[right[i]] = depth[i] + 1


_PATHS = (_INTS, _INTS, _INTS, _INTS, _INTS, _BYTES, _INTS, _FLOATS)


@kernel(types.void(_INTS, types.int32[::1], types.int32[::1], _FLOATS, *_PATHS))
def _fill_paths(
    parent, left, feature, cover,
    start, depth, n_slots, split_node, split_slot, split_left, slot_feature, slot_share,
):  # fmt: skip
    """Walk up from each leaf; every distinct feature met gets a slot, repeated splits multiply its share."""
    for leaf in range(len(depth)):
        child, n = np.int64(leaf), 0
        for split in range(start[leaf], start[leaf] + depth[leaf]):
            node, slot = parent[child], 0
            while slot < n and slot_feature[start[leaf] + slot] != feature[node]:
                slot += 1
            if slot == n:
                slot_feature[start[leaf] + n] = feature[node]
                n += 1
            share = cover[child] / cover[node] if cover[node] > 0 else 0.5
            slot_share[start[leaf] + slot] *= share
            split_node[split], split_slot[split] = node, slot
            split_left[split] = left[node] == child
            child = node
        n_slots[leaf] = n


@kernel(types.void(_INTS, types.bool_[::1], _FLOATS, _INTS, _INTS, _FLOATS, _FLOATS))
def _add_expected(tree_offsets, is_leaf, value, start, n_slots, slot_share, total):
    """A leaf is reached with the product of the cover shares on its path."""
    for t in range(len(tree_offsets) - 1):
        for node in range(tree_offsets[t], tree_offsets[t + 1]):
            if is_leaf[node]:
                share = 1.0
                for slot in range(start[node], start[node] + n_slots[node]):
                    share *= slot_share[slot]
                total[t % len(total)] += value[node] * share


@kernel(
    types.void(
        _MATRIX, types.int64, types.int64,
        _INTS, types.int32[::1], _FLOATS, types.bool_[::1], types.bool_[::1], types.uint64[:, ::1],
        types.bool_[::1], _FLOATS,
        *_PATHS,
        _MATRIX, _MATRIX, _MATRIX,
    )
)  # fmt: skip
def _explain(
    columns, output, n_outputs,
    tree_offsets, feature, threshold, missing_left, is_categorical, left_categories, is_leaf, value,
    start, depth, n_slots, split_node, split_slot, split_left, slot_feature, slot_share,
    points, weights, out,
):  # fmt: skip
    """Route all rows through every split of a tree, then attribute leaf by leaf."""
    n, largest = columns.shape[1], 1
    for t in range(len(tree_offsets) - 1):
        largest = max(largest, tree_offsets[t + 1] - tree_offsets[t])
    goes_left = np.empty((largest, n), np.uint8)
    failed = np.empty(n, np.uint64)
    table = np.empty(max(n, 1) * points.shape[0])
    for t in range(output, len(tree_offsets) - 1, n_outputs):
        first, last = tree_offsets[t], tree_offsets[t + 1]
        for node in range(first, last):
            if not is_leaf[node]:
                x, way = columns[feature[node]], goes_left[node - first]
                if is_categorical[node]:
                    _route_categories(x, left_categories[node], missing_left[node], way)
                else:
                    _route_numbers(x, threshold[node], missing_left[node], way)
        for leaf in range(first, last):
            if is_leaf[leaf] and n_slots[leaf] > 0:
                a, d = start[leaf], n_slots[leaf]
                failed[:] = 0
                for s in range(a, a + depth[leaf]):
                    _mark(goes_left[split_node[s] - first], split_left[s], np.uint64(split_slot[s]), failed)
                z, features = slot_share[a : a + d], slot_feature[a : a + d]
                _attribute(failed, z, features, value[leaf], points[d], weights[d], table, out)


@helper
def _route_numbers(x, threshold, missing_left, way):
    for r in range(len(x)):
        way[r] = (x[r] <= threshold) | (missing_left & (x[r] != x[r]))


@helper
def _route_categories(x, left_categories, missing_left, way):
    for r in range(len(x)):
        if np.isnan(x[r]):
            way[r] = missing_left
        else:
            code = np.uint64(x[r])
            way[r] = (left_categories[code >> np.uint64(6)] >> (code & np.uint64(63))) & np.uint64(1)


@helper
def _mark(way, wanted, slot, failed):
    """Set the slot's bit for rows that leave the path at this split."""
    for r in range(len(failed)):
        failed[r] |= np.uint64(way[r] ^ wanted) << slot


@helper
def _attribute(failed, z, features, value, points, weights, table, out):
    """Add one leaf's attributions to all rows, from a table over patterns where that is less work."""
    n, d = len(failed), len(z)
    if d < 12 and (1 << d) <= n:
        for pattern in range(1 << d):
            _solve(np.uint64(pattern), z, value, points, weights, table[pattern * d : (pattern + 1) * d])
        for r in range(n):
            entry = np.int64(failed[r]) * d
            for j in range(d):
                out[r, features[j]] += table[entry + j]
    else:
        for r in range(n):
            _solve(failed[r], z, value, points, weights, table[:d])
            for j in range(d):
                out[r, features[j]] += table[j]


@helper
def _solve(failed, z, value, points, weights, phi):
    """Attributions of one leaf for one pattern of failed features, by quadrature over t."""
    d = len(z)
    phi[:] = 0.0
    for m in range((d + 1) // 2):
        t, product = points[m], 1.0
        for j in range(d):
            passed = 1.0 - np.float64((failed >> np.uint64(j)) & np.uint64(1))
            product *= z[j] * (1.0 - t) + passed * t
        if product > 0.0:  # a factor is zero only where z_j = o_j = 0, and then every attribution is
            for j in range(d):
                passed = 1.0 - np.float64((failed >> np.uint64(j)) & np.uint64(1))
                phi[j] += value * weights[m] * (passed - z[j]) * product / (z[j] * (1.0 - t) + passed * t)
