"""What `fit` saw of its columns: names and category levels, by which later rows become the same matrix."""

import numbers
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pkboost_core.binning import MAX_CATEGORIES
from pkboost_core.estimator import conversion_warning
from pkboost_core.frames import Column, Text, feature_names, read_columns

SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-20, 1e20
"""Between which the largest weight must lie, so that its products with gradients are finite in float32."""


@dataclass(frozen=True)
class Columns:
    """Names and levels of the columns a model was fitted on.

    Attributes
    ----------
    n_columns : int
    names : column names, or None where X had none
    levels : for each column of text, by position, its levels, the most frequent first, at most 64: the code
        of a level is its place. Rarer, new and missing values have none: they become NaN.
    """

    n_columns: int
    names: tuple[str, ...] | None
    levels: Mapping[int, tuple[str, ...]]

    def matrix(self, X: Any, model: str) -> np.ndarray:
        """Return rows as the matrix that `model` understands, float32 or float64 (n_rows, n_columns).

        Frames are matched by column name, whatever the order. A plain array of numbers is taken as it is,
        with codes for categories.

        Raises
        ------
        ValueError, TypeError
            Columns that are missing, too many or of another kind, by name.
        """
        read = read_columns(X)
        order = self._order(len(read) if isinstance(read, list) else read.shape[1], feature_names(X), model)
        if isinstance(read, np.ndarray):
            return read
        return _joined([self._encoded(j, read[at]) for j, at in enumerate(order)], n_rows_of(X))

    def label(self, j: int) -> str:
        """Name of a column in messages and reports: its own, else x and its position."""
        return self.names[j] if self.names is not None else f"x{j}"

    def _order(self, n_given: int, names: list[str] | None, model: str) -> list[int]:
        """Position in X of each column of the model."""
        width = f"X has {n_given} features, but {model} is expecting {self.n_columns} features as input"
        if names is None or self.names is None:
            if n_given != self.n_columns:
                raise ValueError(width)
            return list(range(n_given))
        lacking = [name for name in self.names if name not in names]
        extra = [name for name in names if name not in self.names]
        if lacking:
            raise ValueError(f"{width}: column {lacking[0]!r} is missing{_and_more(lacking)}")
        if extra:
            raise ValueError(f"{width}: column {extra[0]!r} was not there in fit{_and_more(extra)}; drop it")
        place = {name: at for at, name in enumerate(names)}
        return [place[name] for name in self.names]

    def _encoded(self, j: int, column: Column) -> np.ndarray:
        levels = self.levels.get(j)
        if isinstance(column, Text):
            if levels is None:
                raise ValueError(f"column {self.label(j)!r} holds text, but held numbers in fit; convert it")
            code = {level: float(i) for i, level in enumerate(levels)}
            table = [code.get(level, np.nan) for level in column.levels]
            return np.array([*table, np.nan], dtype=np.float32)[column.codes]  # -1, missing, is the last one
        if levels is not None and not np.isnan(column).all():
            raise ValueError(f"column {self.label(j)!r} holds numbers, but held text in fit; convert it")
        return column

    def to_state(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "n_features": self.n_columns,
            "feature_names": None if self.names is None else list(self.names),
            "levels": {str(j): list(levels) for j, levels in self.levels.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from `to_state`."""
        names = state["feature_names"]
        levels = {int(j): tuple(map(str, known)) for j, known in state.get("levels", {}).items()}
        n_columns = int(state["n_features"])
        if (names is not None and len(names) != n_columns) or not all(0 <= j < n_columns for j in levels):
            raise ValueError(f"names or levels do not belong to {n_columns} columns")
        return cls(n_columns, None if names is None else tuple(map(str, names)), levels)


def fit_columns(
    X: Any, categorical_features: Sequence[int | str] | None
) -> tuple[Columns, np.ndarray, np.ndarray]:
    """Learn names and levels.

    Parameters
    ----------
    X : array or frame (n_rows, n_columns)
    categorical_features : names or positions of columns of integer codes; columns of text and categories need
        not be named, they are categorical anyway

    Returns
    -------
    columns : Columns
    matrix : float32 or float64 (n_rows, n_columns)
    is_categorical : bool (n_columns,)
    """
    read, names = read_columns(X), feature_names(X)
    n_columns = len(read) if isinstance(read, list) else read.shape[1]
    texts = enumerate(read) if isinstance(read, list) else ()
    levels = {j: _levels(column) for j, column in texts if isinstance(column, Text)}
    columns = Columns(n_columns, None if names is None else tuple(names), levels)
    if isinstance(read, list):
        read = _joined([columns._encoded(j, column) for j, column in enumerate(read)], n_rows_of(X))
    check_not_empty(read)
    chosen = column_positions(
        () if categorical_features is None else categorical_features, names, n_columns, "categorical_features"
    )
    is_categorical = np.zeros(n_columns, dtype=np.bool_)
    is_categorical[[*chosen, *levels]] = True
    for j in np.flatnonzero(is_categorical):
        check_codes(read[:, j], columns.names[j] if columns.names else int(j))
    return columns, read, is_categorical


def _levels(text: Text) -> tuple[str, ...]:
    count: Counter[str] = Counter()
    for level, n in zip(text.levels, np.bincount(text.codes + 1)[1:], strict=False):
        count[level] += int(n)
    used = [level for level, n in count.items() if n > 0]
    return tuple(sorted(used, key=lambda level: (-count[level], level))[:MAX_CATEGORIES])


def _joined(columns: list[np.ndarray], n_rows: int) -> np.ndarray:
    is_narrow = bool(columns) and all(column.dtype == np.float32 for column in columns)
    matrix = np.empty((n_rows, len(columns)), dtype=np.float32 if is_narrow else np.float64, order="F")
    for j, column in enumerate(columns):
        matrix[:, j] = column
    return matrix


def n_rows_of(X: Any) -> int:
    """Return the number of rows of a frame, array or list of rows."""
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def to_vector(values: Any, n_rows: int, what: str) -> np.ndarray:
    """Return a one-dimensional array of `n_rows` entries, whatever its dtype."""
    if values is None:
        raise ValueError(f"fit requires y to be passed, but the target {what} is None")
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        message = f"A column-vector {what} was passed when a 1d array was expected; pass {what}.ravel()"
        warnings.warn(message, conversion_warning(), stacklevel=2)
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{what} should have one dimension, got shape {array.shape}")
    if len(array) != n_rows:
        raise ValueError(f"{what} has {len(array)} entries but X has {n_rows} rows")
    return array


def to_weights(sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Return float64 weights, None for none or all equal to one; the largest must be an ordinary number."""
    if sample_weight is None:
        return None
    weights = to_vector(sample_weight, n_rows, "sample_weight").astype(np.float64)
    if not np.isfinite(weights).all():
        row = np.flatnonzero(~np.isfinite(weights))[0]
        raise ValueError(f"sample_weight contains NaN or infinity at row {row}")
    if (weights < 0).any():
        raise ValueError(f"sample_weight={weights.min():g} should not be smaller than 0")
    if not weights.any():
        raise ValueError("sample_weight is zero for every row")
    largest = int(np.argmax(weights))
    if not SMALLEST_WEIGHT <= weights[largest] <= LARGEST_WEIGHT:
        raise ValueError(
            f"the largest sample_weight, {weights[largest]:g} at row {largest}, should lie between"
            f" {SMALLEST_WEIGHT:g} and {LARGEST_WEIGHT:g}; divide the weights by their mean"
        )
    return None if (weights == 1.0).all() else weights


def column_positions(columns: Any, names: list[str] | None, n_features: int, what: str) -> list[int]:
    """Turn names or indices into column numbers."""
    positions = []
    for column in columns:
        if isinstance(column, str):
            if names is None or column not in names:
                raise ValueError(f"{what} names {column!r}, which is not a column of X")
            positions.append(names.index(column))
        elif (
            not isinstance(column, numbers.Integral)
            or isinstance(column, bool)
            or not 0 <= int(column) < n_features
        ):
            raise ValueError(f"{what} has {column!r}, X has columns 0..{n_features - 1}")
        else:
            positions.append(int(column))
    return positions


def check_not_empty(values: np.ndarray) -> None:
    """Raise ValueError for a matrix without rows or columns."""
    if values.shape[0] == 0:
        raise ValueError(f"X has 0 rows (Found array with 0 sample(s), shape={values.shape})")
    if values.shape[1] == 0:
        raise ValueError(
            f"X has no columns: 0 feature(s) (shape={values.shape}) while a minimum of 1 is required."
        )


def check_codes(column: np.ndarray, name: Any) -> None:
    """Raise ValueError when a categorical column holds anything but non-negative integers and NaN."""
    known = column[~np.isnan(column)]
    bad = known[(known < 0) | (known != np.floor(known)) | np.isinf(known)]
    if len(bad):
        raise ValueError(
            f"categorical column {name!r} holds {bad[0]:g}; expected integer codes >= 0, NaN where missing"
        )
