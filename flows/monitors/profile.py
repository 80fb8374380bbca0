"""One day of one table in counts: all that the data integrity monitor keeps of the past."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

MAX_LEVELS = 50
"""A text column with more levels in a day is names or free text: its levels are not watched."""
BINS_PER_DECADE = 8
_OFFSET = 1000


@dataclass(frozen=True)
class Profile:
    """Counts of the rows that arrived on one day (or on several, merged); JSON-able.

    Attributes
    ----------
    day : ISO date (the last one, where days are merged).
    types : column -> Polars type as text.
    nulls : column -> rows without a value.
    levels : text column -> level -> rows.
    sizes : numeric column -> bin -> rows; bins are logarithmic, eight to a decade, and ordered by value.

    A day that was only counted (`count_only`) has none of the last three.
    """

    day: str
    rows: int
    types: Mapping[str, str]
    nulls: Mapping[str, int]
    levels: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, Mapping[int, int]]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Profile":
        """Return the profile that `to_dict` described, before or after JSON made text of the bins."""
        sizes = {name: {int(b): n for b, n in bins.items()} for name, bins in values["sizes"].items()}
        return cls(**{**values, "sizes": sizes})


def profile(frame: pl.DataFrame, day: date) -> Profile:
    """Count the rows of `frame`, which arrived on `day`.

    Lists and other nested columns count for schema and nulls only; NaN is a missing value.
    """
    types = {name: str(dtype) for name, dtype in frame.schema.items()}
    numeric = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    values = frame.with_columns(pl.col(numeric).cast(pl.Float64).fill_nan(None))
    nulls = {name: values[name].null_count() for name in values.columns}
    text = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    levels = {name: counted for name in text if len(counted := _count(values[name])) <= MAX_LEVELS}
    sizes = {name: _bin_counts(values[name].drop_nulls().to_numpy()) for name in numeric}
    return Profile(day.isoformat(), frame.height, types, nulls, levels, sizes)


def count_only(one: Profile) -> Profile:
    """Return the profile without its values: for rows that may have been changed since they arrived."""
    return Profile(one.day, one.rows, one.types, {}, {}, {})


def merge(profiles: Iterable[Profile]) -> Profile:
    """Return the sum of profiles, with the types and the day of the last one that has rows.

    Raises
    ------
    ValueError
        There are no profiles.
    """
    listed = list(profiles)
    if not listed:
        raise ValueError("no profiles to merge")
    nulls: Counter[str] = Counter()
    levels: dict[str, Counter[str]] = {}
    sizes: dict[str, Counter[int]] = {}
    for one in listed:
        nulls.update(one.nulls)
        for name, counts in one.levels.items():
            levels.setdefault(name, Counter()).update(counts)
        for name, bins in one.sizes.items():
            sizes.setdefault(name, Counter()).update(bins)
    last = max(listed, key=lambda one: (one.rows > 0, one.day))
    return Profile(last.day, sum(one.rows for one in listed), last.types, nulls, levels, sizes)


def bin_value(index: int) -> float:
    """Return the middle (geometric) of a bin."""
    if index == 0:
        return 0.0
    size = 10 ** ((abs(index) - _OFFSET + 0.5) / BINS_PER_DECADE)
    return math.copysign(size, index)


def quantile_bin(bins: Mapping[int, int], share: float) -> int:
    """Return the bin that holds a quantile."""
    order = sorted(bins)
    cumulative = np.cumsum([bins[index] for index in order])
    return order[int(np.searchsorted(cumulative, share * cumulative[-1]))]


def _count(column: pl.Series) -> dict[str, int]:
    counted = column.drop_nulls().value_counts(sort=False)
    return dict(zip(*counted.get_columns(), strict=True)) if len(counted) else {}


def _bin_counts(values: np.ndarray) -> dict[int, int]:
    size = np.abs(values)
    with np.errstate(divide="ignore"):
        steps = np.floor(np.log10(size) * BINS_PER_DECADE)
    index = np.where(size > 0, np.clip(steps, 1 - _OFFSET, 2 * _OFFSET) + _OFFSET, 0) * np.sign(values)
    found, counts = np.unique(index.astype(np.int64), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))
