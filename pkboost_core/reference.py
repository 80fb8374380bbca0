"""What the training rows looked like, column by column, and how much they changed by themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

MIN_ROWS = 50
"""Columns or batches with fewer observed values are left alone."""

MAX_ROWS = 100_000
"""Training rows that are remembered, evenly spaced; more would only make the model larger."""


@dataclass(frozen=True)
class ColumnReference:
    """Training values of one column.

    Attributes
    ----------
    sample : float64, sorted; the observed training values
    novelty : largest share of new values that a tenth of the training rows showed against the rows before it
    movement : largest KS distance of a tenth of the training rows from the rows before it
    repeats : whether values come back at all (less than half of them are distinct)
    """

    sample: np.ndarray
    novelty: float
    movement: float
    repeats: bool


@dataclass(frozen=True)
class Reference:
    """What `align` needs to know of the training rows; None for columns that are never touched."""

    columns: tuple[ColumnReference | None, ...]
    correlation: np.ndarray

    def to_state(self) -> dict[str, Any]:
        """Return JSON values and arrays; repeated values are stored once with their counts."""
        return {"columns": [_column_state(c) for c in self.columns], "correlation": self.correlation}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Reference":
        """Rebuild from `to_state`; ValueError or KeyError where it does not fit together."""
        correlation, k = np.asarray(state["correlation"], dtype=np.float64), len(state["columns"])
        if correlation.shape != (k, k):
            raise ValueError(f"{k} columns need a square of correlations, got {correlation.shape}")
        columns = tuple(None if c is None else _column_from_state(c) for c in state["columns"])
        return cls(columns, correlation)


def _column_state(column: ColumnReference | None) -> dict[str, Any] | None:
    if column is None:
        return None
    values, counts = np.unique(column.sample, return_counts=True)
    numbers = {"novelty": column.novelty, "movement": column.movement, "repeats": column.repeats}
    return {"values": values, "counts": counts, **numbers}


def _column_from_state(state: Mapping[str, Any]) -> ColumnReference:
    values, counts = np.asarray(state["values"], dtype=np.float64), np.asarray(state["counts"])
    if counts.shape != values.shape or (counts > MAX_ROWS).any() or counts.sum() > MAX_ROWS:
        raise ValueError(
            f"training values of a column need a count each, of {MAX_ROWS} rows together at most"
        )
    sample = np.repeat(values, counts)
    if len(sample) < MIN_ROWS or not np.isfinite(sample).all() or (np.diff(sample) < 0).any():
        raise ValueError("training values of a column must be finite, ascending and not few")
    return ColumnReference(sample, float(state["novelty"]), float(state["movement"]), bool(state["repeats"]))


def fit_reference(X: ArrayLike, categorical: Sequence[int] = ()) -> Reference:
    """Remember the training rows' columns, and how much they changed by themselves.

    Parameters
    ----------
    X : array of float, shape (n, k), NaN = missing; oldest rows first where rows have an order in time,
        so that what the population does by itself is known
    categorical : indices of columns of codes, which are never touched
    """
    rows = np.asarray(X)
    rows = rows[:: -(-len(rows) // MAX_ROWS) or 1].astype(np.float64)
    columns = tuple(None if j in categorical else _column_reference(rows[:, j]) for j in range(rows.shape[1]))
    return Reference(columns, rank_correlation(rows, columns))


def _column_reference(x: np.ndarray) -> ColumnReference | None:
    x = x[np.isfinite(x)]
    if len(x) < 2 * MIN_ROWS or x.min() == x.max():
        return None
    novelty, movement = 0.0, 0.0
    step = max(len(x) // 10, MIN_ROWS)
    for start in range(len(x) // 2, len(x) - step + 1, step):
        before, block = np.sort(x[:start]), x[start : start + step]
        novelty = max(novelty, float(is_novel(before, block).mean()))
        movement = max(movement, ks_distance(before, block))
    return ColumnReference(np.sort(x), novelty, movement, len(np.unique(x)) < 0.5 * len(x))


def as_float32(x: np.ndarray) -> np.ndarray:
    """Return values as far as every table holds them: .1 is another number in float64 than in float32."""
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


def is_novel(sample: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Mark values that a sorted sample of the same precision does not hold."""
    position = np.minimum(np.searchsorted(sample, x), len(sample) - 1)
    return sample[position] != x


def middle_ranks(x: np.ndarray) -> np.ndarray:
    """Middle ranks scaled to (0, 1); ties share theirs."""
    _, group, count = np.unique(x, return_inverse=True, return_counts=True)
    return ((np.cumsum(count) - count / 2) / len(x))[group]


def ks_distance(sample: np.ndarray, x: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of a sorted sample and any values."""
    x = np.sort(x)
    at = np.concatenate([sample, x])
    below = np.searchsorted(sample, at, "right") / len(sample) - np.searchsorted(x, at, "right") / len(x)
    return float(np.abs(below).max())


def rank_correlation(rows: np.ndarray, columns: Sequence[ColumnReference | None]) -> np.ndarray:
    """Rank correlations; zero for columns that are never touched, missing values at the middle rank."""
    scores = np.zeros(rows.shape)
    for j, known in enumerate(columns):
        seen = ~np.isnan(rows[:, j])
        if known is not None and seen.any():
            rank = middle_ranks(rows[seen, j]) - 0.5
            scores[seen, j] = rank / max(float(np.sqrt((rank**2).sum() / len(rows))), 1e-12)
    correlation = scores.T @ scores / max(len(rows), 1)
    np.fill_diagonal(correlation, 0)
    return correlation
