"""Move the rows of a split node to their sides, in order and without a branch to mispredict."""

import numpy as np

from pkboost_core.compiled import helper


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
def sides(node, missing):
    """Tabulate `goes_left` over all bin codes."""
    table = np.empty(256, np.uint64)
    for code in range(256):
        table[code] = goes_left(node, code, missing)
    return table


@helper
def partition(columns, elements, scratch, start, stop, node, missing):
    """Move the rows that go left to the front, keeping the order on both sides; return where right begins.

    Every row is written to both sides and one of the two positions advances.
    """
    table = sides(node, missing)
    column = columns[node.feature]
    left = np.uint64(start)
    right = np.uint64(0)
    for i in range(np.uint64(start), np.uint64(stop)):
        element = elements[i]
        is_left = table[column[np.uint64(element >> 32)]]
        elements[left] = element
        scratch[right] = element
        left += is_left
        right += np.uint64(1) - is_left
    for i in range(right):
        elements[left + i] = scratch[i]
    return np.int64(left)


@helper
def separate(columns, elements, scratch, start, stop, node, missing):
    """Write the rows that go left to the front of `scratch[start:stop]`, the others to its end, backwards.

    Returns how many go left. With `place_sides` this is `partition` for several threads, a chunk each.
    """
    table = sides(node, missing)
    column = columns[node.feature]
    left = np.uint64(start)
    right = np.uint64(stop - 1)
    for i in range(np.uint64(start), np.uint64(stop)):
        element = elements[i]
        is_left = table[column[np.uint64(element >> 32)]]
        scratch[left] = element
        scratch[right] = element
        left += is_left
        right -= np.uint64(1) - is_left
    return np.int64(left) - start


@helper
def place_sides(elements, scratch, start, stop, n_left, left, right):
    """Copy what `separate` left in `scratch[start:stop]` to where the two sides of the node lie.

    With signed numbers each index would be checked for being negative: four times as slow.
    """
    left = np.uint64(left)
    right = np.uint64(right)
    first = np.uint64(start)
    last = np.uint64(stop - 1)
    for i in range(np.uint64(n_left)):
        elements[left + i] = scratch[first + i]
    for i in range(np.uint64(stop - start - n_left)):
        elements[right + i] = scratch[last - i]
