"""Find the leaf of many rows at once without following branches: a bit per leaf, cleared node by node.

Number a tree's leaves from left to right. A row that goes right at a node cannot reach the leaves to its
left: clear their bits. After all nodes, in any order, the lowest bit left is the row's leaf (the idea of
QuickScorer, Lucchese et al. 2015). With bin codes every test is a comparison of bytes and the same for all
rows, so that it runs on many of them per instruction.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pkboost_core.compiled import helper, is_jit_enabled
from pkboost_core.partition import code_of, goes_left

MOST_LEAVES = 64
"""Leaves of a tree that one mask holds; larger trees are walked."""

BLOCK = 256
"""Rows taken at a time: their codes and masks stay in the first-level cache."""

FEWEST_ROWS = 32
"""With fewer rows walking is quicker than tabulating the trees."""


@intrinsic
def _lowest_bit(typing_context, mask):
    """Place of the lowest bit set."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


def _plain_lowest_bit(mask):
    """Do the same without compilation."""
    return (int(mask) & -int(mask)).bit_length() - 1


lowest_bit: Any = _lowest_bit if is_jit_enabled() else _plain_lowest_bit


@helper
def walk(codes, row, n_bins, nodes, root):
    """Index of the leaf that a row falls into, by following its branches from the root."""
    position = root
    node = nodes[position]
    while not node.is_leaf:
        feature = node.feature
        left = goes_left(node, code_of(codes, feature, row), n_bins[feature])
        position = node.left if left else node.right
        node = nodes[position]
    return position


@helper
def tabulate(nodes, first, last, n_bins, is_used, inner, lowest, span, clear, leaf):
    """Write the tests and leaves of the tree `nodes[first:last]`; return its number of leaves, 0 if too many.

    From `first` on: `inner` lists the nodes that split, with the code `lowest` and the number `span` of codes
    from there on (modulo 256) that go right, and the mask `clear` of the leaves that remain then; `leaf`
    lists the leaves from left to right. Children must come after their parents.
    """
    n_leaves = (last - first + 1) // 2
    if n_leaves > MOST_LEAVES:
        return 0
    below = np.ones(last - first, np.int64)
    for n in range(last - 1, first - 1, -1):
        if not nodes[n].is_leaf:
            below[n - first] = below[nodes[n].left - first] + below[nodes[n].right - first]
    leftmost = np.zeros(last - first, np.int64)
    n_inner = 0
    for n in range(first, last):
        node = nodes[n]
        start = leftmost[n - first]
        if node.is_leaf:
            leaf[first + start] = n
            continue
        n_left = below[node.left - first]
        leftmost[node.left - first] = start
        leftmost[node.right - first] = start + n_left
        missing = n_bins[node.feature]
        begin = min(np.int64(node.bin_threshold) + 1, missing)
        is_used[node.feature] = True
        inner[first + n_inner] = n
        lowest[first + n_inner] = begin
        span[first + n_inner] = missing - begin + (0 if node.missing_left else 1)
        bits = (np.uint64(1) << np.uint64(n_left)) - np.uint64(1)
        clear[first + n_inner] = ~(bits << np.uint64(start))
        n_inner += 1
    return n_leaves


@helper
def unpack(codes, start, stop, is_used, columns):
    """Copy the codes of some rows, feature by feature, to `columns` (n_features, BLOCK)."""
    for f in range(len(is_used)):
        if is_used[f]:
            out = columns[f]
            group = codes[f >> 3]
            lane = f & 7
            for r in range(stop - start):
                out[r] = group[start + r, lane]


@helper
def clear_numeric(column, lowest, span, clear, masks):
    """Clear the leaves to the left of a node in the masks of the rows that go right."""
    everything = ~np.uint64(0)
    for r in range(len(masks)):
        is_right = np.uint8((np.int64(column[r]) - np.int64(lowest)) & 255) < span
        masks[r] &= clear if is_right else everything


@helper
def clear_categories(column, words, clear, masks):
    """Do as `clear_numeric` where a set of codes goes left."""
    everything = ~np.uint64(0)
    for r in range(len(masks)):
        code = np.uint64(column[r])
        is_left = (words[code >> np.uint64(6)] >> (code & np.uint64(63))) & np.uint64(1)
        masks[r] &= everything if is_left else clear


@helper
def reach(nodes, first, n_leaves, inner, lowest, span, clear, columns, masks):
    """Set the lowest bit of each row's mask to its leaf in the tree that starts at `first`."""
    for r in range(len(masks)):
        masks[r] = ~np.uint64(0)
    for i in range(first, first + n_leaves - 1):
        node = nodes[inner[i]]
        column = columns[node.feature]
        if node.is_categorical:
            clear_categories(column, node.left_categories, clear[i], masks)
        else:
            clear_numeric(column, lowest[i], span[i], clear[i], masks)
