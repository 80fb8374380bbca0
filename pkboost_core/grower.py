"""Grow one tree leaf by leaf, best gain first: partition rows, sum one child, subtract for the other."""

import numpy as np
from numba import from_dtype, types

from pkboost_core.compiled import helper, kernel
from pkboost_core.dtypes import N_CATEGORY_WORDS, NODE
from pkboost_core.histogram import (
    fill_histogram,
    fill_scattered,
    gradient_of,
    hessian_of,
    relabel,
    subtract,
    widen,
)
from pkboost_core.splitting import FEATURES_TYPE, LEAF_TYPE, RULES_TYPE, find_split, leaf_value

NODES = types.Array(from_dtype(NODE), 1, "C")
LEAVES = types.Array(LEAF_TYPE, 1, "C")


SCATTERED = 2
"""A node with less than one in so many rows of the table is summed from the codes kept by row."""


@helper
def code_of(codes, feature, row):
    """Bin code of one value."""
    return codes[feature >> 3, row, feature & 7]


@helper
def goes_left(node, code, missing):
    """Whether a bin code goes to the left child; `missing` is the code of missing values."""
    if node.is_categorical:
        word = node.left_categories[code >> 6]
        return ((word >> np.uint64(code & 63)) & np.uint64(1)) != 0
    if code == missing:
        return node.missing_left
    return code <= node.bin_threshold


@helper
def partition(codes, elements, scratch, start, stop, node, missing):
    """Move the rows that go left to the front, keeping the order on both sides; return where right begins.

    Every row is written to both sides and one of the two positions advances: no branch to mispredict.
    """
    table = np.empty(256, np.uint64)
    for code in range(256):
        table[code] = goes_left(node, code, missing)
    column = codes[node.feature >> 3]
    lane = node.feature & 7
    left = np.uint64(start)
    right = np.uint64(0)
    for i in range(np.uint64(start), np.uint64(stop)):
        element = elements[i]
        is_left = table[column[np.uint64(element >> 32), lane]]
        elements[left] = element
        scratch[right] = element
        left += is_left
        right += np.uint64(1) - is_left
    for i in range(right):
        elements[left + i] = scratch[i]
    return np.int64(left)


@helper
def node_histogram(words, by_row, elements, scratch, leaf, payloads, rules, stride, histogram):
    """Sum the rows of a leaf, channel by channel: gradients, then counts and label weights if asked for.

    The seam for growing on several machines: everything the grower learns about rows passes through here.
    """
    n_rows = leaf.stop - leaf.start
    is_scattered = n_rows * SCATTERED < len(by_row)
    for channel in range(len(histogram)):
        source = elements
        start = leaf.start
        if channel > 0:
            relabel(elements, leaf.start, leaf.stop, payloads[channel - 1], scratch)
            source = scratch
            start = 0
        if is_scattered:
            fill_scattered(by_row, source, start, start + n_rows, histogram[channel], stride)
        else:
            fill_histogram(words, source, start, start + n_rows, histogram[channel], stride)


@helper
def start_root(leaf, elements, n_rows, payloads, rules):
    """Make the leaf that holds all rows; its value bounds are the caller's."""
    leaf.node = 0
    leaf.start = 0
    leaf.stop = n_rows
    leaf.slot = 0
    leaf.depth = 0
    leaf.groups = ~np.uint64(0)
    total = np.int64(0)
    labels = np.int64(0)
    for i in range(n_rows):
        total += widen(elements[i])
    if rules.label_channel >= 0:
        payload = payloads[rules.label_channel - 1]
        for i in range(n_rows):
            labels += widen(np.int64(payload[elements[i] >> 32]))
    leaf.total = total
    leaf.labels = labels


@helper
def start_child(child, parent, node, start, stop, total, labels, groups):
    """Make a child leaf; a child of a smaller depth limit or few rows may never be split."""
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
    node.count = leaf.stop - leaf.start
    node.cover = leaf.stop - leaf.start
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


GROW_SIGNATURE = types.int64(
    types.uint8[:, :, ::1],
    types.uint64[:, ::1],
    types.uint64[:, ::1],
    types.int64[::1],
    types.int64[::1],
    types.int64,
    types.uint32[:, ::1],
    types.int64[:, :, ::1],
    FEATURES_TYPE,
    RULES_TYPE,
    types.float64[::1],
    LEAVES,
    NODES,
)


@kernel(GROW_SIGNATURE)
def grow_tree(
    codes,
    words,
    by_row,
    elements,
    scratch,
    n_rows,
    payloads,
    histograms,
    features,
    rules,
    scales,
    leaves,
    nodes,
):
    """Grow a tree on the rows in `elements[:n_rows]`; return its number of nodes.

    Parameters
    ----------
    codes, words : the same bin codes as uint8 (n_groups, n, 8) and as uint64 (n_groups, n)
    by_row : `words` transposed, uint64 (n, n_groups), or no rows where that is not worth its memory
    elements, scratch : int64 (n,); on return the rows of a leaf lie together, in `leaves[k].start:stop`
    payloads : uint32 (n_channels - 1, n): what further channels sum, by row
    histograms : int64 (max_leaf_nodes, n_channels, n_groups * 8 * stride)
    leaves : LEAF (max_leaf_nodes + 1,); `leaves[0].lower` and `.upper` bound the values, the last is scratch
    nodes : NODE (2 * max_leaf_nodes - 1,); children are indices into it
    """
    stride = histograms.shape[2] // (8 * len(words))
    parent = leaves[len(leaves) - 1]
    start_root(leaves[0], elements, n_rows, payloads, rules)
    write_node(nodes[0], leaves[0], rules, scales)
    node_histogram(words, by_row, elements, scratch, leaves[0], payloads, rules, stride, histograms[0])
    find_split(leaves[0], histograms[0], features, rules, scales, stride)
    n_leaves = 1
    n_nodes = 1
    while n_leaves < rules.max_leaf_nodes:
        k = best_leaf(leaves, n_leaves)
        if k < 0:
            break
        node = nodes[leaves[k].node]
        write_split(node, leaves[k], features, n_nodes)
        copy_leaf(leaves[k], parent)
        feature = parent.feature
        missing = features.n_bins[feature]
        middle = partition(codes, elements, scratch, parent.start, parent.stop, node, missing)
        left = leaves[k]
        right = leaves[n_leaves]
        groups = parent.groups & features.groups[feature]
        left_labels = parent.left_labels
        right_labels = parent.labels - left_labels
        right_total = parent.total - parent.left_total
        start_child(left, parent, n_nodes, parent.start, middle, parent.left_total, left_labels, groups)
        start_child(right, parent, n_nodes + 1, middle, parent.stop, right_total, right_labels, groups)
        if features.monotonic[feature] != 0:
            order_children(left, right, features.monotonic[feature], rules, scales)
        write_node(nodes[n_nodes], left, rules, scales)
        write_node(nodes[n_nodes + 1], right, rules, scales)
        n_nodes += 2
        slot = n_leaves
        n_leaves += 1
        if n_leaves == rules.max_leaf_nodes or left.depth >= rules.max_depth:
            continue
        small_is_left = middle - parent.start <= parent.stop - middle
        small = left if small_is_left else right
        large = right if small_is_left else left
        small.slot = slot
        large.slot = parent.slot
        node_histogram(words, by_row, elements, scratch, small, payloads, rules, stride, histograms[slot])
        for channel in range(histograms.shape[1]):
            subtract(histograms[parent.slot, channel], histograms[slot, channel])
        find_split(small, histograms[slot], features, rules, scales, stride)
        find_split(large, histograms[parent.slot], features, rules, scales, stride)
    return n_nodes


@kernel(types.void(types.int64[::1], types.float64[::1], LEAVES, NODES, types.int64))
def add_leaf_values(elements, raw, leaves, nodes, n_leaves):
    """Add each leaf's value to the raw score of its rows, by the partition that growing left behind."""
    for k in range(n_leaves):
        leaf = leaves[k]
        value = nodes[leaf.node].value
        for i in range(leaf.start, leaf.stop):
            raw[elements[i] >> 32] += value


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
