"""What a team does together while a tree grows: sum a node's rows, part them, find its children's splits."""

from typing import NamedTuple

import numpy as np
from numba import from_dtype, types

from pkboost_core.compiled import helper, inlined
from pkboost_core.dtypes import NODE
from pkboost_core.histogram import add_histogram, add_rows, add_scattered, relabel, subtract
from pkboost_core.partition import partition, place_sides, separate
from pkboost_core.splitting import FEATURES_TYPE, LEAF_TYPE, RULES_TYPE, FeatureTable, SplitRules, find_split
from pkboost_core.team import FIRST, JOINED, KIND, LAST, OTHER, SIZE, SUBJECT, finish, publish, take, wait_for

NODES = types.Array(from_dtype(NODE), 1, "C")
LEAVES = types.Array(LEAF_TYPE, 1, "C")

SCATTERED = 4
"""A node with less than one in so many rows of the table is summed from the codes kept by row."""

SPARSE = 6
"""Nodes with less than one in so many rows of the table prefetch their codes: 2-9 times faster at 1M."""

MOST_CHUNKS = 8
"""Chunks of a job, about: enough to even out two threads, few enough to cost nothing."""

SUM_ROWS, PART_ROWS = 2048, 4096
"""Fewest rows of a chunk of a sum and of a partition; nodes of one chunk are left to one thread."""

SUM, SEPARATE, PLACE, SPLIT = 0, 1, 2, 3
"""Kinds of jobs."""


class Growth(NamedTuple):
    """All that growing a tree reads and writes, the same arrays for every tree of a fit.

    Attributes
    ----------
    columns, words : the same bin codes as uint8 (n_groups * 8, n) and as uint64 (n_groups, n)
    by_row : `words` by row, uint64 (n, width), or no rows where that is not worth its memory
    elements, scratch : int64 (n,); when a tree is grown the rows of a leaf lie together, in
        `elements[leaf.start:leaf.stop]`
    payloads : uint32 (n_channels - 1, n): what further channels sum, by row
    histograms : int64 (max_leaf_nodes, n_channels, n_groups * 8 * stride)
    features, rules : what a split may use and must satisfy
    scales : float64 (3,), from integers back to gradients, hessians and label weights
    leaves : LEAF (max_leaf_nodes + 1,); `leaves[0].lower` and `.upper` bound the values, the last is scratch
    nodes : NODE (2 * max_leaf_nodes - 1,); children are indices into it
    """

    columns: np.ndarray
    words: np.ndarray
    by_row: np.ndarray
    elements: np.ndarray
    scratch: np.ndarray
    payloads: np.ndarray
    histograms: np.ndarray
    features: FeatureTable
    rules: SplitRules
    scales: np.ndarray
    leaves: np.ndarray
    nodes: np.ndarray


GROWTH_TYPE = types.NamedTuple(
    [
        types.uint8[:, ::1],
        types.uint64[:, ::1],
        types.uint64[:, ::1],
        types.int64[::1],
        types.int64[::1],
        types.uint32[:, ::1],
        types.int64[:, :, ::1],
        FEATURES_TYPE,
        RULES_TYPE,
        types.float64[::1],
        LEAVES,
        NODES,
    ],
    Growth,
)


@helper
def stride_of(growth):
    """Bins set aside for each feature in a histogram."""
    return growth.histograms.shape[2] // (8 * len(growth.words))


@helper
def sum_rows(growth, start, stop, n_rows, histogram):
    """Add the rows `start:stop` of a node of `n_rows` to its histogram, (n_channels, width)."""
    stride = stride_of(growth)
    is_scattered = n_rows * SCATTERED < len(growth.by_row)
    is_sparse = n_rows * SPARSE < growth.words.shape[1]
    for channel in range(len(histogram)):
        source = growth.elements
        if channel > 0:
            relabel(growth.elements, start, stop, growth.payloads[channel - 1], growth.scratch)
            source = growth.scratch
        if is_scattered:
            add_scattered(growth.by_row, len(growth.words), source, start, stop, histogram[channel], stride)
        else:
            add_rows(growth.words, source, start, stop, is_sparse, histogram[channel], stride)


@inlined
def find_leaf_split(growth, k):
    """Set the best split of a leaf from its histogram."""
    leaf = growth.leaves[k]
    histogram = growth.histograms[leaf.slot]
    find_split(leaf, histogram, growth.features, growth.rules, growth.scales, stride_of(growth))


@helper
def do_chunk(growth, team, thread, chunk):
    """Do one chunk of the current job."""
    kind = team.job[KIND]
    start = team.job[FIRST] + chunk * team.job[SIZE]
    stop = min(start + team.job[SIZE], team.job[LAST])
    if kind == SUM:
        if thread == 0:
            histogram = growth.histograms[team.job[SUBJECT]]
        else:
            histogram = team.partials[thread]
            if team.job[JOINED + thread] == 0:
                histogram[:] = 0
                team.job[JOINED + thread] = 1
        sum_rows(growth, start, stop, team.job[LAST] - team.job[FIRST], histogram)
    elif kind == SPLIT:
        k = team.job[SUBJECT] if chunk == 0 else team.job[OTHER]
        if chunk == 1:
            small = growth.histograms[growth.leaves[team.job[SUBJECT]].slot]
            large = growth.histograms[growth.leaves[k].slot]
            for channel in range(len(small)):
                subtract(large[channel], small[channel])
        find_leaf_split(growth, k)
    else:
        node = growth.nodes[team.job[SUBJECT]]
        if kind == SEPARATE:
            missing = growth.features.n_bins[node.feature]
            team.lefts[chunk] = separate(
                growth.columns, growth.elements, growth.scratch, start, stop, node, missing
            )
        else:
            left = team.job[FIRST]
            for earlier in range(chunk):
                left += team.lefts[earlier]
            right = team.job[OTHER] + start - left
            place_sides(growth.elements, growth.scratch, start, stop, team.lefts[chunk], left, right)


@inlined
def run_job(growth, team, n_chunks):
    """Do the job described in `team.job`, with whoever of the team is awake."""
    is_shared = team.size > 1 and n_chunks > 1
    chunk = 0
    if is_shared:
        publish(team, n_chunks)
        chunk = take(team, np.int64(0))
    while 0 <= chunk < n_chunks:
        do_chunk(growth, team, np.int64(0), chunk)
        chunk += 1
        if is_shared:
            finish(team)
            chunk = take(team, np.int64(0))
    if is_shared:
        wait_for(team, n_chunks)


@inlined
def describe(team, kind, start, stop, fewest, subject, other):
    """Describe a job over rows; return its number of chunks."""
    team.job[KIND] = kind
    team.job[FIRST] = start
    team.job[LAST] = stop
    n_rows = stop - start
    size = n_rows
    if team.size > 1 and n_rows >= 2 * fewest:
        size = max(fewest, -(-n_rows // MOST_CHUNKS))
    team.job[SIZE] = size
    team.job[SUBJECT] = subject
    team.job[OTHER] = other
    for thread in range(team.size):
        team.job[JOINED + thread] = 0
    return -(-n_rows // max(size, 1))


@inlined
def node_histogram(growth, team, k):
    """Sum the rows of a leaf, channel by channel: gradients, then counts and label weights if asked for.

    With `count_rows` the seam for growing on several machines. All that the grower learns about rows passes
    through these two: with their sums over the machines in place of their own, machines that were handed the
    same `scales` and packed gradients and hold equal features and rules grow one tree, each on its own rows.
    What comes before and after a tree is no part of it: cut points, base scores, the scales and the sampling
    of rows, weighted covers, linear parts, quantiles in leaves and the held-out loss.
    """
    leaf = growth.leaves[k]
    histogram = growth.histograms[leaf.slot]
    histogram[:] = 0
    run_job(growth, team, describe(team, SUM, leaf.start, leaf.stop, SUM_ROWS, leaf.slot, 0))
    for thread in range(1, team.size):
        if team.job[JOINED + thread] != 0:
            for channel in range(len(histogram)):
                add_histogram(histogram[channel], team.partials[thread, channel])


@inlined
def count_rows(leaf):
    """Set how many rows a leaf has: the other half of the seam, see `node_histogram`.

    Not the sum of a bin: counts are summed only where `min_samples_leaf` asks for them, and to choose the
    child to sum by its hessian was some 3 % slower, many rows that are certain weighing little.
    """
    leaf.n_rows = leaf.stop - leaf.start


@inlined
def part_rows(growth, team, leaf, n):
    """Move the rows of a leaf to the sides of its split, node `n`; return where the right side begins."""
    n_chunks = describe(team, SEPARATE, leaf.start, leaf.stop, PART_ROWS, n, 0)
    if n_chunks <= 1:
        node = growth.nodes[n]
        missing = growth.features.n_bins[node.feature]
        return partition(
            growth.columns, growth.elements, growth.scratch, leaf.start, leaf.stop, node, missing
        )
    run_job(growth, team, n_chunks)
    middle = leaf.start
    for chunk in range(n_chunks):
        middle += team.lefts[chunk]
    team.job[KIND] = PLACE
    team.job[OTHER] = middle
    run_job(growth, team, n_chunks)
    return middle


@inlined
def split_children(growth, team, small, large):
    """Find the best splits of two children, whose parent's histogram the larger one takes over."""
    describe(team, SPLIT, 0, 0, 1, small, large)
    run_job(growth, team, np.int64(2))
