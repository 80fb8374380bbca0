"""Grow one tree leaf by leaf, best gain first: partition rows, sum one child, subtract for the other."""

import numpy as np
from numba import types

from pkboost_core.compiled import helper, inlined, kernel
from pkboost_core.dtypes import N_CATEGORY_WORDS
from pkboost_core.histogram import gradient_of, hessian_of
from pkboost_core.jobs import (
    GROWTH_TYPE,
    LEAVES,
    NODES,
    count_rows,
    do_chunk,
    find_leaf_split,
    node_histogram,
    part_rows,
    split_children,
    stride_of,
)
from pkboost_core.splitting import leaf_value
from pkboost_core.team import TEAM_TYPE, finish, next_chunk


@inlined
def start_root(growth, team, n_rows):
    """Make the leaf that holds all rows, with its histogram; its value bounds are the caller's."""
    leaf = growth.leaves[0]
    leaf.node = 0
    leaf.start = 0
    leaf.stop = n_rows
    leaf.slot = 0
    leaf.depth = 0
    leaf.groups = ~np.uint64(0)
    count_rows(leaf)
    node_histogram(growth, team, np.int64(0))
    total = np.int64(0)
    labels = np.int64(0)
    channel = growth.rules.label_channel
    for code in range(stride_of(growth)):  # every row has one code of the first feature
        total += growth.histograms[0, 0, code]
        if channel >= 0:
            labels += growth.histograms[0, channel, code]
    leaf.total = total
    leaf.labels = labels


@helper
def start_child(child, parent, node, start, stop, total, labels, groups):
    """Make a child leaf with its parent's bounds and no split yet; rows and histogram are the caller's."""
    child.node = node
    child.start = start
    child.stop = stop
    child.depth = parent.depth + 1
    child.total = total
    child.labels = labels
    child.groups = groups
    child.lower = parent.lower
    child.upper = parent.upper
    child.gain = 0.0
    child.feature = -1


@helper
def order_children(left, right, monotonic, rules, scales):
    """Bound two children of a monotonic split so that no descendant of one can pass the other."""
    values = np.empty(2)
    for side in range(2):
        leaf = left if side == 0 else right
        gradient = scales[0] * gradient_of(leaf.total)
        hessian = scales[1] * hessian_of(leaf.total)
        values[side] = leaf_value(gradient, hessian, rules.l2, leaf.lower, leaf.upper)
    middle = 0.5 * (values[0] + values[1])
    if monotonic > 0:
        left.upper = middle
        right.lower = middle
    else:
        left.lower = middle
        right.upper = middle


@helper
def write_split(node, leaf, features, left):
    """Record a leaf's best split in its node; thresholds in raw units follow after growth."""
    node.feature = leaf.feature
    node.left = left
    node.right = left + 1
    node.gain = leaf.gain
    node.bin_threshold = leaf.bin
    node.missing_left = leaf.missing_left
    node.is_categorical = features.is_categorical[leaf.feature]
    node.is_leaf = False
    for word in range(N_CATEGORY_WORDS):
        node.left_categories[word] = leaf.categories[word] if node.is_categorical else np.uint64(0)


@helper
def write_node(node, leaf, rules, scales):
    """Record what every node carries: its rows and the value it would have as a leaf."""
    gradient = scales[0] * gradient_of(leaf.total)
    hessian = scales[1] * hessian_of(leaf.total)
    node.feature = -1
    node.left = -1
    node.right = -1
    node.depth = leaf.depth
    node.threshold = 0.0
    node.value = rules.learning_rate * leaf_value(gradient, hessian, rules.l2, leaf.lower, leaf.upper)
    node.gain = 0.0
    node.count = leaf.n_rows
    node.cover = leaf.n_rows
    node.bin_threshold = 0
    node.missing_left = False
    node.is_categorical = False
    node.is_leaf = True
    for word in range(N_CATEGORY_WORDS):
        node.left_categories[word] = 0


@helper
def best_leaf(leaves, n_leaves):
    """Index of the leaf with the greatest gain (the earliest of equals), -1 when none can be split."""
    best = -1
    gain = 0.0
    for k in range(n_leaves):
        if leaves[k].gain > gain:
            gain = leaves[k].gain
            best = k
    return best


@helper
def copy_leaf(source, target):
    """Copy the fields of a parent that its children need while one of them takes its place."""
    target.node = source.node
    target.start = source.start
    target.stop = source.stop
    target.n_rows = source.n_rows
    target.slot = source.slot
    target.depth = source.depth
    target.total = source.total
    target.labels = source.labels
    target.groups = source.groups
    target.lower = source.lower
    target.upper = source.upper
    target.feature = source.feature
    target.left_total = source.left_total
    target.left_labels = source.left_labels


@inlined
def help_grow(growth, team, thread):
    """Do chunks of what another thread grows, until there is nothing to do for a while."""
    chunk = next_chunk(team, thread)
    while chunk >= 0:
        do_chunk(growth, team, thread, chunk)
        finish(team)
        chunk = next_chunk(team, thread)


@inlined
def split_leaf(growth, team, k, n_leaves, n_nodes):
    """Split leaf `k`: its children become leaf `k` and leaf `n_leaves`, nodes `n_nodes` and the next."""
    leaves, nodes, rules, scales = growth.leaves, growth.nodes, growth.rules, growth.scales
    parent = leaves[len(leaves) - 1]
    node = nodes[leaves[k].node]
    write_split(node, leaves[k], growth.features, n_nodes)
    copy_leaf(leaves[k], parent)
    feature = parent.feature
    middle = part_rows(growth, team, parent, parent.node)
    left = leaves[k]
    right = leaves[n_leaves]
    groups = parent.groups & growth.features.groups[feature]
    left_labels = parent.left_labels
    right_labels = parent.labels - left_labels
    right_total = parent.total - parent.left_total
    start_child(left, parent, n_nodes, parent.start, middle, parent.left_total, left_labels, groups)
    start_child(right, parent, n_nodes + 1, middle, parent.stop, right_total, right_labels, groups)
    count_rows(left)
    right.n_rows = parent.n_rows - left.n_rows
    if growth.features.monotonic[feature] != 0:
        order_children(left, right, growth.features.monotonic[feature], rules, scales)
    write_node(nodes[n_nodes], left, rules, scales)
    write_node(nodes[n_nodes + 1], right, rules, scales)


@kernel(types.int64(GROWTH_TYPE, TEAM_TYPE, types.int64, types.int64))
def grow_tree(growth, team, thread, n_rows):
    """Grow a tree on the rows in `elements[:n_rows]` and return its number of nodes; see `Growth`.

    Thread 0 grows; others help, and return 0 when there has been nothing to do for about a millisecond. One
    entry point for both, because they share most of the code that has to be compiled.
    """
    if thread > 0:
        help_grow(growth, team, thread)
        return 0
    leaves, rules = growth.leaves, growth.rules
    start_root(growth, team, n_rows)
    write_node(growth.nodes[0], leaves[0], rules, growth.scales)
    find_leaf_split(growth, np.int64(0))
    n_leaves = np.int64(1)
    n_nodes = np.int64(1)
    while n_leaves < rules.max_leaf_nodes:
        k = best_leaf(leaves, n_leaves)
        if k < 0:
            break
        split_leaf(growth, team, k, n_leaves, n_nodes)
        n_nodes += 2
        slot = n_leaves
        n_leaves += 1
        if n_leaves == rules.max_leaf_nodes or leaves[k].depth >= rules.max_depth:
            continue
        is_left_small = leaves[k].n_rows <= leaves[slot].n_rows
        small = k if is_left_small else slot
        large = slot if is_left_small else k
        leaves[small].slot = slot
        leaves[large].slot = leaves[len(leaves) - 1].slot
        node_histogram(growth, team, small)
        split_children(growth, team, small, large)
    return n_nodes


@kernel(types.void(types.int64[::1], types.float64[::1], LEAVES, NODES, types.int64))
def add_leaf_values(elements, raw, leaves, nodes, n_leaves):
    """Add each leaf's value to the raw score of its rows, by the partition that growing left behind."""
    for k in range(n_leaves):
        leaf = leaves[k]
        value = nodes[leaf.node].value
        for i in range(np.uint64(leaf.start), np.uint64(leaf.stop)):
            raw[np.uint64(elements[i] >> 32)] += value


@kernel(types.void(types.int64[::1], types.float32[::1], LEAVES, NODES, types.int64, types.int64))
def set_weighted_cover(elements, weight, leaves, nodes, n_leaves, n_nodes):
    """Replace row counts in `cover` by sums of sample weights, from the leaves up."""
    for k in range(n_leaves):
        leaf = leaves[k]
        cover = 0.0
        for i in range(leaf.start, leaf.stop):
            cover += weight[elements[i] >> 32]
        nodes[leaf.node].cover = cover
    for n in range(n_nodes - 1, -1, -1):
        node = nodes[n]
        if not node.is_leaf:
            node.cover = nodes[node.left].cover + nodes[node.right].cover
