"""Gradients rounded to integers whose sums are exact and cannot overflow, packed for the grower."""

import math

import numpy as np
from numba import types

from pkboost_core.compiled import helper, kernel

GRADIENT_LIMIT = 32_700.0
"""Largest quantised gradient: a signed 16-bit field."""

HESSIAN_LIMIT = 65_400.0
"""Largest quantised hessian: an unsigned 16-bit field."""

SUM_LIMIT = 2.0**31
"""Bound on the sum of a field over all rows: half of a packed 64-bit histogram bin."""


@helper
def mix(z):
    """Scramble 32 bits (the low half of an int64) so that near inputs give unrelated outputs."""
    z = z ^ (z >> 16)
    z = (z * 0x21F0AAAD) & 0xFFFFFFFF
    z = z ^ (z >> 15)
    z = (z * 0x735A2D97) & 0xFFFFFFFF
    return z ^ (z >> 15)


@kernel(types.void(types.uint8[:, :, ::1], types.uint32[::1], types.int64, types.int64))
def hash_rows(codes, out, start, stop):
    """Hash the bin codes of rows `start:stop`: randomness that follows a row wherever it stands."""
    n_groups, _, width = codes.shape
    for i in range(np.uint64(start), np.uint64(stop)):
        z = np.int64(0x9E3779B9)
        for group in range(n_groups):
            for j in range(width):
                z = mix(z ^ np.int64(codes[group, i, j]))
        out[i] = z


@helper
def power_of_two_scale(largest, total, limit, n_rows):
    """Largest power of two that keeps every value below `limit` and their sum below `SUM_LIMIT`."""
    if largest <= 0.0:
        return 1.0
    ratio = min(limit / largest, (SUM_LIMIT - n_rows) / total)
    return 2.0 ** math.floor(math.log2(ratio))


@kernel(
    types.int64(
        types.float32[::1],
        types.float32[::1],
        types.uint32[::1],
        types.int64,
        types.float64,
        types.float64[::1],
        types.int64[::1],
    )
)
def quantise(gradient, hessian, row_hash, seed, subsample, scales, elements):
    """Pack rows for the grower: row number << 32 | gradient << 16 | hessian, both stochastically rounded.

    Scales are powers of two, so that dequantising is exact and the order in which floats were summed does not
    show. The rounding depends on seed and row content only. With `subsample` < 1 rows drop out at random, by
    position. Returns the number of packed rows; `scales` receives the factors from integers back to floats.
    """
    n_rows = len(gradient)
    largest_g = 0.0
    largest_h = 0.0
    total_g = 0.0
    total_h = 0.0
    for i in range(n_rows):
        g = abs(np.float64(gradient[i]))
        h = np.float64(hessian[i])
        largest_g = max(largest_g, g)
        largest_h = max(largest_h, h)
        total_g += g
        total_h += h
    scale_g = power_of_two_scale(largest_g, total_g, GRADIENT_LIMIT, n_rows)
    scale_h = power_of_two_scale(largest_h, total_h, HESSIAN_LIMIT, n_rows)
    scales[0] = 1.0 / scale_g
    scales[1] = 1.0 / scale_h
    keep_below = np.int64(subsample * 4294967296.0)
    n_kept = 0
    for i in range(n_rows):
        if subsample < 1.0 and mix(mix(i & 0xFFFFFFFF) ^ seed) >= keep_below:
            continue
        z = mix(np.int64(row_hash[i]) ^ seed)
        g_int = np.int64(math.floor(np.float64(gradient[i]) * scale_g + (z & 0xFFFF) / 65536.0))
        h_int = np.int64(math.floor(np.float64(hessian[i]) * scale_h + (z >> 16) / 65536.0))
        elements[n_kept] = (np.int64(i) << 32) | ((g_int & 0xFFFF) << 16) | h_int
        n_kept += 1
    return n_kept
