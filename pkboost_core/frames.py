"""The columns of NumPy arrays, Polars and pandas frames as numbers or text, without importing any library.

A column comes out as float32 or float64 (NaN = missing) or, if it holds text or categories, as `Text`. A
column without a single value counts as numbers.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

_MISSING_TYPES = {"NoneType", "NAType", "NaTType"}


@dataclass(frozen=True)
class Text:
    """A column of text.

    Attributes
    ----------
    levels : the different values, in any order
    codes : int64 (n_rows,), position of each row's value among the levels, -1 where it is missing
    """

    levels: list[str]
    codes: np.ndarray


Column = np.ndarray | Text


def feature_names(X: Any) -> list[str] | None:
    """Column names of a frame; None for arrays and for frames whose names are not all text."""
    columns = getattr(X, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    if not names or not all(isinstance(name, str) for name in names):
        return None
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"column name {twice!r} appears more than once in X; rename one of the columns")
    return names


def read_columns(X: Any) -> np.ndarray | list[Column]:
    """Return a matrix of floats as it is, anything else column by column.

    Raises
    ------
    ValueError, TypeError
        Naming the column, what it holds and what to do.
    """
    if hasattr(X, "collect_schema") and hasattr(X, "collect"):
        raise TypeError("X is a lazy frame; pass X.collect()")
    if hasattr(X, "get_columns"):
        return [_from_polars(series, f"column {series.name!r}") for series in X.get_columns()]
    if hasattr(X, "iloc"):
        return [_from_pandas(X.iloc[:, j], f"column {name!r}") for j, name in enumerate(X.columns)]
    if hasattr(X, "toarray"):
        raise TypeError("X is a sparse matrix; pass X.toarray(), the booster works on dense columns")
    array = _array(X)
    if array.ndim != 2:
        raise ValueError(
            f"X should have two dimensions (rows, columns), got shape {array.shape}; Reshape your data"
        )
    if array.dtype.kind in "OU":
        return [_from_array(column, f"column {j}") for j, column in enumerate(array.T)]
    return _as_float(array, "X")


def _array(X: Any) -> np.ndarray:
    if isinstance(X, np.ma.MaskedArray):
        return np.ma.filled(X.astype(np.float64), np.nan)
    array = np.asarray(X)
    if array.dtype.kind == "U" and not isinstance(X, np.ndarray):
        return np.array(X, dtype=object)  # NumPy would have turned the numbers beside text into text
    return array


def _from_polars(series: Any, label: str) -> Column:
    polars, dtype = sys.modules["polars"], series.dtype
    if dtype == polars.Float32:
        return series.to_numpy()
    if dtype.is_numeric() or dtype in (polars.Boolean, polars.Null):
        return series.cast(polars.Float64).to_numpy()
    if dtype in (polars.String, polars.Categorical, polars.Enum):
        text = series.cast(polars.String)
        levels = text.drop_nulls().unique().to_list()
        codes = text.cast(polars.Enum(levels)).to_physical().cast(polars.Int64).fill_null(-1)
        return _as_column(levels, codes.to_numpy())
    if dtype == polars.Object:
        return _from_objects(series.to_list(), label)
    raise _refusal(label, dtype)


def _from_pandas(series: Any, label: str) -> Column:
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return _from_array(series.to_numpy(), label)
    if dtype.name == "category" or dtype.kind in "OU":
        codes, levels = series.factorize()
        return _as_column([str(level) for level in levels], codes)
    if dtype.kind in "iufb":
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    raise _refusal(label, dtype)


def _from_array(array: np.ndarray, label: str) -> Column:
    if array.dtype.kind == "U":
        return _coded(array.tolist())
    if array.dtype.kind == "O":
        return _from_objects(array.tolist(), label)
    return _as_float(array, label)


def _as_float(array: np.ndarray, label: str) -> np.ndarray:
    if array.dtype.kind == "c":
        raise ValueError(f"{label}: Complex data not supported; pass real and imaginary part as two columns")
    if array.dtype.kind not in "fiub":
        raise _refusal(label, array.dtype)
    if array.dtype in (np.float32, np.float64) and array.dtype.isnative:
        return array
    return array.astype(np.float64)


def _from_objects(values: list[Any], label: str) -> Column:
    known = [v for v in values if not is_missing(v)]
    kinds = sorted({"text" if isinstance(v, str) else type(v).__name__ for v in known})
    if kinds == ["text"]:
        return _coded(None if is_missing(v) else str(v) for v in values)
    if "text" in kinds:
        others = ", ".join(kind for kind in kinds if kind != "text")
        raise ValueError(f"{label} mixes text with {others}; make it all text or all numbers")
    try:
        return np.array([np.nan if is_missing(v) else float(v) for v in values])
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{label} holds {', '.join(kinds)} values ({error}); make it numbers or text"
        ) from error


def is_missing(value: Any) -> bool:
    """Say whether a single value stands for none: None, NaN, NaT or pandas' NA."""
    return type(value).__name__ in _MISSING_TYPES or (isinstance(value, float) and value != value)


def _coded(values: Iterable[str | None]) -> Column:
    position: dict[str, int] = {}
    codes = [-1 if value is None else position.setdefault(value, len(position)) for value in values]
    return _as_column(list(position), np.array(codes))


def _as_column(levels: list[str], codes: np.ndarray) -> Column:
    return Text(levels, codes.astype(np.int64)) if (codes >= 0).any() else np.full(len(codes), np.nan)


def _refusal(label: str, dtype: Any) -> ValueError:
    remedy = "turn dates and spans into numbers (days since a reference day), lists into columns"
    return ValueError(f"{label} holds {dtype} values, which are neither numbers nor text; {remedy}")
