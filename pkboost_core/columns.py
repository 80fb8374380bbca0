"""From what users hand in (NumPy, Polars, pandas, lists) to a float matrix, without importing any of them."""

from typing import Any

import numpy as np


def feature_names(X: Any) -> list[str] | None:
    """Column names of a frame; None for arrays and for frames whose names are not all text."""
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    return names if names and all(isinstance(name, str) for name in names) else None


def to_matrix(X: Any) -> np.ndarray:
    """Return a float32 or float64 array (n_rows, n_columns); nulls become NaN.

    float32 and float64 arrays are used as they are, other numbers and booleans become float64.
    """
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        return _from_frame(X)
    if hasattr(X, "toarray"):
        raise TypeError("X is a sparse matrix; pass X.toarray(), the booster works on dense columns")
    array = np.asarray(X)
    if array.ndim != 2:
        raise ValueError(
            f"X should have two dimensions (rows, columns), got shape {array.shape}; Reshape your data"
        )
    if array.dtype in (np.float32, np.float64) and array.dtype.isnative:
        return array
    return _as_float(array, "X")


def _from_frame(frame: Any) -> np.ndarray:
    columns = [_as_float(_column(frame, name), f"column {name!r}") for name in frame.columns]
    if not columns:
        return np.empty((len(frame), 0), dtype=np.float64)
    narrow = all(column.dtype == np.float32 for column in columns)
    return np.asfortranarray(np.column_stack(columns), dtype=np.float32 if narrow else np.float64)


def _column(frame: Any, name: Any) -> np.ndarray:
    return frame[name].to_numpy()


def _as_float(array: np.ndarray, what: str) -> np.ndarray:
    if np.iscomplexobj(array):
        raise ValueError(f"{what}: Complex data not supported")
    if array.dtype in (np.float32, np.float64) and array.dtype.isnative:
        return array
    if array.dtype.kind not in "fiubO":
        raise ValueError(f"{what} holds {array.dtype} values; encode text and dates as numbers first")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} holds values that are not numbers ({error}); encode them first") from error


def to_vector(values: Any, n_rows: int, what: str) -> np.ndarray:
    """Return a one-dimensional array of `n_rows` entries, whatever its dtype."""
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{what} should have one dimension, got shape {array.shape}")
    if len(array) != n_rows:
        raise ValueError(f"{what} has {len(array)} entries but X has {n_rows} rows")
    return array


def to_weights(sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Return float64 weights, None for none or all equal to one."""
    if sample_weight is None:
        return None
    weights = to_vector(sample_weight, n_rows, "sample_weight").astype(np.float64)
    if not np.isfinite(weights).all():
        raise ValueError("sample_weight contains NaN or infinity")
    if (weights < 0).any():
        raise ValueError(f"sample_weight={weights.min():g} should not be smaller than 0")
    if not weights.any():
        raise ValueError("sample_weight is zero for every row")
    return None if (weights == 1.0).all() else weights


def column_positions(columns: Any, names: list[str] | None, n_features: int, what: str) -> list[int]:
    """Turn names or indices into column numbers."""
    positions = []
    for column in columns:
        if isinstance(column, str):
            if names is None or column not in names:
                raise ValueError(f"{what} names {column!r}, which is not a column of X")
            positions.append(names.index(column))
        elif isinstance(column, bool | np.bool_) or not -1 < int(column) < n_features:
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


def check_same_columns(
    values: np.ndarray, names: list[str] | None, n_features: int, expected: list[str] | None, model: str
) -> None:
    """Raise ValueError unless a matrix has the columns that `model` was fitted on, in their order."""
    if values.shape[1] != n_features:
        raise ValueError(
            f"X has {values.shape[1]} features, but {model} is expecting {n_features} features as input"
        )
    if names is not None and expected is not None and names != expected:
        at = next(i for i, pair in enumerate(zip(names, expected, strict=True)) if pair[0] != pair[1])
        raise ValueError(
            f"feature order differs from the model: expected {expected[at]} at {at}, got {names[at]}"
        )
