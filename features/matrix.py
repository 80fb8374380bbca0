"""The only border between Polars and NumPy: feature columns to a float32 matrix."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from features.attrs import Kind
from features.spine import KEYS

LABEL_COLUMNS = ("matures_on", "is_mature", "label")
NOT_FEATURES = frozenset((*KEYS, *LABEL_COLUMNS))
MAX_LEVELS = 63
OTHER = MAX_LEVELS


@dataclass(frozen=True)
class Encoding:
    """How feature columns become a matrix: numbers and JSON, stored with the model.

    Attributes
    ----------
    names : feature columns in order.
    levels : for each category column its levels, the most frequent first, at most 63: a level's code is its
        place. Levels that were rarer or not seen are 63, missing is NaN.
    constant : columns that held one value, or none, when fitted. They keep their place and cannot split.
    """

    names: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    constant: tuple[str, ...] = ()

    @property
    def categorical_indices(self) -> tuple[int, ...]:
        """Places of the category columns."""
        return tuple(index for index, name in enumerate(self.names) if name in self.levels)

    @property
    def attr_kinds(self) -> dict[str, Kind]:
        """Custom columns the model was trained with: pass them to `features.build.build`."""
        own = [name for name in self.names if name.startswith("attrs_")]
        return {name.removeprefix("attrs_"): "category" if name in self.levels else "numeric" for name in own}

    def kinds(self) -> Iterator[tuple[str, bool]]:
        """Yield each name with whether it is a category."""
        return ((name, name in self.levels) for name in self.names)

    def misfits(self, frame: pl.DataFrame) -> list[str]:
        """Return the columns that `frame` lacks or has in another kind; what else it has does not matter."""
        schema = frame.schema
        return [
            name
            for name, is_category in self.kinds()
            if name not in schema or not _is_of_kind(schema[name], is_category)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "names": list(self.names),
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "constant": list(self.constant),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Encoding":
        """Read what `to_dict` wrote."""
        return cls(
            names=tuple(stored["names"]),
            levels={name: tuple(levels) for name, levels in stored["levels"].items()},
            constant=tuple(stored["constant"]),
        )


def fit_encoding(frame: pl.DataFrame) -> Encoding:
    """Fix order, kinds and category levels of the feature columns; keys and label columns are no features.

    Raises
    ------
    TypeError
        A column is neither number, Boolean nor text.
    """
    features = frame.drop(NOT_FEATURES, strict=False)
    for name, dtype in features.schema.items():
        if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null) or _is_text(dtype)):
            raise TypeError(f"column {name} is {dtype}; a feature is a number, a Boolean or text")
    text = [name for name, dtype in features.schema.items() if _is_text(dtype)]
    return Encoding(
        names=tuple(features.columns),
        levels={name: _top_levels(features[name]) for name in text},
        constant=tuple(name for name in features.columns if features[name].n_unique() <= 1),
    )


def to_matrix(frame: pl.DataFrame, encoding: Encoding) -> np.ndarray:
    """Encode the feature columns.

    Returns
    -------
    float32 (n, k) in Fortran order, one column of `encoding.names` after the other. Missing, NaN and infinite
    values are NaN: a ratio over nothing says as little as a missing one. `count_infinite` tells how many
    there are.

    Raises
    ------
    ValueError
        Names or order of the feature columns differ from the encoding; the message says where and what to do.
    TypeError
        A column that was a number is text now, or the other way round.
    """
    features = frame.drop(NOT_FEATURES, strict=False)
    _check_names(features.columns, encoding.names)
    matrix = np.empty((frame.height, len(encoding.names)), dtype=np.float32, order="F")
    for index, name in enumerate(encoding.names):
        matrix[:, index] = _encode(features[name], encoding.levels.get(name))
    return matrix


def count_infinite(frame: pl.DataFrame) -> dict[str, int]:
    """Count the infinite values of each column that has any; beyond the range of float32 is infinite."""
    numeric = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    counts = frame.select(pl.col(numeric).cast(pl.Float32).is_infinite().sum()).to_dicts()
    return {name: n for name, n in counts[0].items() if n} if numeric else {}


def _is_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def _is_of_kind(dtype: pl.DataType, is_category: bool) -> bool:
    return dtype == pl.Null or _is_text(dtype) == is_category


def _top_levels(values: pl.Series) -> tuple[str, ...]:
    counts = values.cast(pl.String).drop_nulls().alias("level").value_counts(name="n")
    return tuple(counts.sort(["n", "level"], descending=[True, False])["level"].head(MAX_LEVELS))


def _encode(values: pl.Series, levels: tuple[str, ...] | None) -> np.ndarray:
    if not _is_of_kind(values.dtype, levels is not None):
        was = "a number" if levels is None else "text"
        raise TypeError(
            f"column {values.name} is {values.dtype}, the model was trained on {was}; rebuild the dataset"
        )
    numbers = values.cast(pl.Float32) if levels is None else _codes(values.cast(pl.String), levels)
    out = numbers.to_numpy(writable=True)
    out[np.isinf(out)] = np.nan
    return out


def _codes(values: pl.Series, levels: tuple[str, ...]) -> pl.Series:
    places = pl.DataFrame(
        {"level": levels, "code": range(len(levels))}, schema={"level": pl.String, "code": pl.Float32}
    )
    found = (
        values.alias("level").to_frame().join(places, on="level", how="left", maintain_order="left")["code"]
    )
    return pl.select(pl.when(values.is_not_null()).then(found.fill_null(float(OTHER)))).to_series()


def _check_names(names: list[str], expected: tuple[str, ...]) -> None:
    for index, name in enumerate(expected):
        got = names[index] if index < len(names) else "no column"
        if got != name:
            raise ValueError(
                f"feature order differs from the model: expected {name} at {index}, got {got}; "
                "rebuild the dataset"
            )
    if len(names) > len(expected):
        raise ValueError(
            f"feature {names[len(expected)]} is unknown to the model, which has {len(expected)} features; "
            "rebuild the dataset, with attr_kinds of the model's encoding, or train anew"
        )
