"""Values to bin codes: quantile bins over rows, sorted levels for categories, one code for missing values."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import types

from pkboost_core.compiled import kernel
from pkboost_core.dtypes import MAX_BINS
from pkboost_core.parts import in_parts

GROUP = 8
"""Features whose codes of one row lie in one 64-bit word: one load feeds eight histogram updates."""

MAX_CATEGORIES = 64
"""Levels of a categorical feature with a code of their own: the most frequent; others count as missing."""

SAMPLE_ROWS = 200_000
"""Rows that quantiles are estimated from: a cut's rank is then off by about .1 %."""


@dataclass(frozen=True)
class Binning:
    """The cut points of every feature, learned from training rows.

    Attributes
    ----------
    thresholds : tuple of ndarray of float64
        As in `Ensemble.bin_thresholds`.
    is_categorical : ndarray of bool, shape (n_features,)
    """

    thresholds: tuple[np.ndarray, ...]
    is_categorical: np.ndarray

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.thresholds)

    @property
    def n_groups(self) -> int:
        """Number of words that the codes of a row take."""
        return max(1, -(-self.n_features // GROUP))

    @property
    def n_bins(self) -> np.ndarray:
        """Bins of observed values per feature (int64); the code of a missing value is this number."""
        sizes = np.array([len(cuts) for cuts in self.thresholds], dtype=np.int64)
        return np.where(self.is_categorical, np.maximum(sizes, 1), sizes + 1)

    def transform(self, X: np.ndarray, n_threads: int = 1) -> np.ndarray:
        """Return the codes, uint8 (n_groups, n_rows, 8): feature f at `[f // 8, :, f % 8]`."""
        codes = np.zeros((self.n_groups, len(X), GROUP), dtype=np.uint8)
        tables = self._lookup_tables()
        in_parts(lambda start, stop: encode(X, *tables, codes, start, stop), len(X), n_threads)
        return codes

    def _lookup_tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        table = np.full((self.n_features, MAX_BINS + 1), np.inf)
        for row, cuts in zip(table, self.thresholds, strict=True):
            row[: len(cuts)] = cuts
        return table, self.n_bins, self.is_categorical


def sample_rows(n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows, in order, that cut points are learned from: all, or `SAMPLE_ROWS` drawn at random."""
    if n_rows <= SAMPLE_ROWS:
        return np.arange(n_rows)
    return np.sort(rng.choice(n_rows, SAMPLE_ROWS, replace=False))


def fit_binning(
    X: np.ndarray,
    max_bins: int,
    is_categorical: np.ndarray,
    sample_weight: np.ndarray | None,
    rng: np.random.Generator,
    n_threads: int = 1,
) -> Binning:
    """Learn cut points from rows.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (n_rows, n_features)
        NaN is missing; infinities fall into the outermost bins.
    max_bins : int
        Most bins of observed values, 2..255.
    is_categorical : ndarray of bool, shape (n_features,)
    sample_weight : ndarray of float64 or None
    rng : Generator
        Draws the sample of rows when there are more than `SAMPLE_ROWS`.
    n_threads : int
        Columns are sorted side by side on so many threads; the cuts are the same for any number.
    """
    if len(X) > SAMPLE_ROWS:
        rows = sample_rows(len(X), rng)
        X = X[rows]
        sample_weight = None if sample_weight is None else sample_weight[rows]

    def learn(first: int) -> list[np.ndarray]:
        group = slice(first, first + GROUP)
        columns = np.ascontiguousarray(X[:, group].T)
        return [
            _category_levels(column, sample_weight) if categorical else _cuts(column, max_bins, sample_weight)
            for column, categorical in zip(columns, is_categorical[group], strict=True)
        ]

    with ThreadPoolExecutor(n_threads) as pool:
        groups = list(pool.map(learn, range(0, X.shape[1], GROUP)))
    thresholds = tuple(cuts for group in groups for cuts in group)
    return Binning(thresholds, np.asarray(is_categorical, dtype=bool))


def _cuts(column: np.ndarray, max_bins: int, sample_weight: np.ndarray | None) -> np.ndarray:
    if sample_weight is None:
        values = np.sort(column)  # NaN goes last
        first, last = np.searchsorted(values, -np.inf, side="right"), np.searchsorted(values, np.inf)
        values = values[first:last].astype(np.float64)
        weights = np.ones(len(values))
    else:
        is_finite = np.isfinite(column)
        order = np.argsort(column[is_finite], kind="stable")
        values = column[is_finite][order].astype(np.float64)
        weights = sample_weight[is_finite][order].astype(np.float64)
    cuts = np.empty(MAX_BINS)
    n_cuts = choose_cuts(values, weights, max_bins, cuts)
    return cuts[:n_cuts].copy()


def _category_levels(column: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    is_known = ~np.isnan(column)
    levels, position = np.unique(column[is_known].astype(np.float64), return_inverse=True)
    if len(levels) <= MAX_CATEGORIES:
        return levels
    weights = None if sample_weight is None else sample_weight[is_known]
    frequency = np.bincount(position, weights=weights, minlength=len(levels))
    return np.sort(levels[np.argsort(-frequency, kind="stable")[:MAX_CATEGORIES]])


@kernel(types.int64(types.float64[::1], types.float64[::1], types.int64, types.float64[::1]))
def choose_cuts(values, weights, max_bins, out):
    """Cut sorted values into at most `max_bins` bins of nearly equal weight; return the number of cuts.

    Greedy: each bin aims at the remaining weight over the remaining bins, so that a heavy value takes one bin
    and leaves the others to the rest. A cut lies midway between neighbours, which makes it robust to the
    rounding of a value in another precision. With enough bins every distinct value gets its own.
    """
    n = len(values)
    n_distinct = 0
    remaining = 0.0
    for i in range(n):
        remaining += weights[i]
        if i == 0 or values[i] != values[i - 1]:
            n_distinct += 1
    n_cuts = 0
    filled = 0.0
    i = 0
    while i < n and n_cuts < max_bins - 1:
        value = values[i]
        while i < n and values[i] == value:
            filled += weights[i]
            i += 1
        if i == n:
            break
        upcoming = 0.0
        j = i
        while j < n and values[j] == values[i]:
            upcoming += weights[j]
            j += 1
        aim = remaining / (max_bins - n_cuts)
        if n_distinct <= max_bins or filled + 0.5 * upcoming >= aim:
            middle = value + (values[i] - value) * 0.5
            out[n_cuts] = middle if value <= middle < values[i] else value
            n_cuts += 1
            remaining -= filled
            filled = 0.0
    return n_cuts


def _encode_signature(dtype):
    matrix = types.Array(dtype, 2, "A", readonly=True)
    tables = (types.float64[:, ::1], types.int64[::1], types.boolean[::1])
    return types.void(matrix, *tables, types.uint8[:, :, ::1], types.int64, types.int64)


@kernel(_encode_signature(types.float32), _encode_signature(types.float64))
def encode(X, table, n_bins, is_categorical, codes, start, stop):
    """Write the bin codes of rows `start:stop`; the search takes eight steps without a branch."""
    for f in range(X.shape[1]):
        cuts = table[f]
        out = codes[f // 8, :, f % 8]
        missing = n_bins[f]
        for i in range(np.uint64(start), np.uint64(stop)):
            x = np.float64(X[i, f])
            position = 0
            position += 128 if cuts[position + 127] < x else 0
            position += 64 if cuts[position + 63] < x else 0
            position += 32 if cuts[position + 31] < x else 0
            position += 16 if cuts[position + 15] < x else 0
            position += 8 if cuts[position + 7] < x else 0
            position += 4 if cuts[position + 3] < x else 0
            position += 2 if cuts[position + 1] < x else 0
            position += 1 if cuts[position] < x else 0
            if x != x or (is_categorical[f] and (position >= missing or cuts[position] != x)):
                position = missing
            out[i] = position
