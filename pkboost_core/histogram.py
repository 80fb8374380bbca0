"""Histograms of packed integers: one 64-bit sum per bin holds the gradient and the hessian of its rows.

The high half of a sum is the gradient (signed), the low half the hessian: one addition does both, sums are
exact, siblings follow by subtraction, and neither threads nor the order or place of rows can change a bit.
So histograms of a node on several machines add up to that of all its rows; `jobs.node_histogram` says what
else it takes.
"""

import numpy as np

from pkboost_core.compiled import helper, prefetch
from pkboost_core.parts import in_parts

LOW_HALF = 0xFFFFFFFF

BLOCK = 256
"""Rows gathered at a time by `add_scattered`: their codes stay in the first-level cache."""

CACHE_LINE = 64
"""Bytes that memory delivers at once."""

BATCH = 64
"""Rows whose codes are requested ahead."""


@helper
def gradient_of(packed):
    """Gradient sum of a packed bin, as a signed integer."""
    return packed >> 32


@helper
def hessian_of(packed):
    """Hessian sum of a packed bin, as a non-negative integer."""
    return packed & LOW_HALF


@helper
def widen(element):
    """Spread the two 16-bit fields of an element over a 64-bit integer, ready to be summed."""
    return (((element << 32) >> 48) << 32) + (element & 0xFFFF)


@helper
def add_group(words, elements, start, stop, histogram, base, stride):
    """Add the rows `elements[start:stop]` to the histograms of one group of eight features."""
    byte = np.uint64(255)
    step = np.uint64(stride)
    b0 = np.uint64(base)
    b1 = b0 + step
    b2 = b1 + step
    b3 = b2 + step
    b4 = b3 + step
    b5 = b4 + step
    b6 = b5 + step
    b7 = b6 + step
    for i in range(np.uint64(start), np.uint64(stop)):
        element = elements[i]
        word = words[np.uint64(element >> 32)]
        value = widen(element)
        k0 = b0 + (word & byte)
        k1 = b1 + ((word >> np.uint64(8)) & byte)
        k2 = b2 + ((word >> np.uint64(16)) & byte)
        k3 = b3 + ((word >> np.uint64(24)) & byte)
        k4 = b4 + ((word >> np.uint64(32)) & byte)
        k5 = b5 + ((word >> np.uint64(40)) & byte)
        k6 = b6 + ((word >> np.uint64(48)) & byte)
        k7 = b7 + (word >> np.uint64(56))
        histogram[k0] += value
        histogram[k1] += value
        histogram[k2] += value
        histogram[k3] += value
        histogram[k4] += value
        histogram[k5] += value
        histogram[k6] += value
        histogram[k7] += value


@helper
def request(words, elements, start, stop):
    """Ask for the codes of rows about to be summed: where rows lie far apart, memory is the brake."""
    for i in range(start, stop):
        prefetch(words, elements[i] >> 32)  # type: ignore[call-arg]  # numba passes the typing context


@helper
def add_rows(words, elements, start, stop, is_sparse, histogram, stride):
    """Add the rows `elements[start:stop]` to a histogram, flat (n_groups * 8 * stride,)."""
    step = BATCH if is_sparse else max(stop - start, 1)
    for group in range(len(words)):
        column = words[group]
        base = group * 8 * stride
        for first in range(start, stop, step):
            last = min(first + step, stop)
            if is_sparse:
                request(column, elements, last, min(last + step, stop))
            add_group(column, elements, first, last, histogram, base, stride)


def feature_by_feature(codes: np.ndarray, n_threads: int = 1) -> np.ndarray:
    """Copy codes, uint8 (n_groups, n, 8), so that those of a feature lie together, uint8 (n_groups * 8, n).

    To part rows takes the codes of one feature: a cache line then holds those of 64 rows instead of 8.
    """
    n_groups, n, width = codes.shape
    columns = np.empty((n_groups, width, n), dtype=np.uint8)

    def copy(start: int, stop: int) -> None:
        columns[:, :, start:stop] = codes[:, start:stop].transpose(0, 2, 1)

    in_parts(copy, n, n_threads)
    return columns.reshape(-1, n)


def side_by_side(words: np.ndarray, n_threads: int = 1) -> np.ndarray:
    """Copy codes, uint64 (n_groups, n), so that those of a row lie together, uint64 (n, width).

    Rows of up to a cache line are filled up so that none lies across two.
    """
    n_groups, n = words.shape
    fits = 8 * n_groups <= CACHE_LINE
    width = 1 << (n_groups - 1).bit_length() if fits else n_groups
    room = np.empty(8 * n * width + CACHE_LINE, dtype=np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    by_row = room[start : start + 8 * n * width].view(np.uint64).reshape(n, width)

    def copy(first: int, last: int) -> None:
        by_row[first:last, :n_groups] = words[:, first:last].T

    in_parts(copy, n, n_threads)
    return by_row


@helper
def gather(by_row, elements, start, stop, words, renumbered):
    """Copy the codes of `elements[start:stop]` to `words` (n_groups, BLOCK), and number them from zero."""
    flat = by_row.reshape(-1)
    width = np.uint64(by_row.shape[1])
    first = np.uint64(start)
    n = np.uint64(stop - start)
    for i in range(n):
        renumbered[i] = (np.int64(i) << 32) | (elements[first + i] & LOW_HALF)
    for group in range(len(words)):
        out = words[group]
        lane = np.uint64(group)
        for i in range(n):
            out[i] = flat[np.uint64(elements[first + i] >> 32) * width + lane]


@helper
def add_scattered(by_row, n_groups, elements, start, stop, histogram, stride):
    """Do as `add_rows` for rows that lie far apart, from the codes of each row side by side.

    A row of eight groups of features then costs one cache line instead of one per group.
    """
    words = np.empty((n_groups, BLOCK), np.uint64)
    renumbered = np.empty(BLOCK, np.int64)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        gather(by_row, elements, first, last, words, renumbered)
        for group in range(n_groups):
            add_group(
                words[group], renumbered, np.int64(0), last - first, histogram, group * 8 * stride, stride
            )


@helper
def add_histogram(histogram, other):
    """Add another histogram to one, in place."""
    for i in range(len(histogram)):
        histogram[i] += other[i]


@helper
def subtract(parent, child):
    """Turn the parent's histogram into the other child's, in place."""
    for i in range(len(parent)):
        parent[i] -= child[i]


@helper
def relabel(elements, start, stop, payload, out):
    """Copy elements with their 32-bit payload replaced by that of their row: another quantity to sum."""
    for i in range(np.uint64(start), np.uint64(stop)):
        row = np.uint64(elements[i] >> 32)
        out[i] = np.int64(row << np.uint64(32)) | np.int64(payload[row])
