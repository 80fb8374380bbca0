"""Columns made of two: the difference and the product of pairs of numeric columns.

A tree meets `a < b`, or an effect of `a` that grows with `b`, with a staircase of many splits; on the
difference or the product of the two it takes one. Every pair adds these two columns behind those of X.
"""

import numpy as np

NO_PAIRS = np.empty((0, 2), dtype=np.int64)
"""Pairs of a model that tests the columns of X alone."""

N_CROSSED = 8
"""Columns that are crossed with each other: those of greatest gain."""


def top_pairs(gain: np.ndarray, is_crossable: np.ndarray) -> np.ndarray:
    """Return every pair of the `N_CROSSED` crossable columns of greatest gain, int64 (n_pairs, 2).

    Columns without gain are left out; of equal gains the earlier column counts as the greater.
    """
    ranked = np.argsort(-gain, kind="stable")
    top = np.sort([j for j in ranked if is_crossable[j] and gain[j] > 0][:N_CROSSED]).astype(np.int64)
    first, second = np.triu_indices(len(top), 1)
    return np.column_stack([top[first], top[second]])


def crossed(X: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return difference and product of each pair, float64 (n_rows, 2 * n_pairs); NaN where either is."""
    out = np.empty((len(X), 2 * len(pairs)), order="F")
    with np.errstate(invalid="ignore", over="ignore"):
        for position, (i, j) in enumerate(pairs):
            a, b = X[:, i].astype(np.float64), X[:, j].astype(np.float64)
            np.subtract(a, b, out=out[:, 2 * position])
            np.multiply(a, b, out=out[:, 2 * position + 1])
    return out


def widened(X: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the columns of X followed by their crosses; X itself without pairs."""
    return np.concatenate([X, crossed(X, pairs)], axis=1) if len(pairs) else X


def credited(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Give what crosses earned to the columns they are made of, half to each.

    `values` has one entry per column along its last axis, crosses last; what is returned lacks those.
    """
    n_columns = values.shape[-1] - 2 * len(pairs)
    own = values[..., :n_columns].copy()
    for position, (i, j) in enumerate(pairs):
        first = n_columns + 2 * position
        half = 0.5 * (values[..., first] + values[..., first + 1])
        own[..., i] += half
        own[..., j] += half
    return own


def cross_label(names: tuple[str, str], position: int) -> str:
    """Name the cross at a position among the crosses after the two columns it is made of."""
    return f"{names[0]} - {names[1]}" if position % 2 == 0 else f"{names[0]} * {names[1]}"
