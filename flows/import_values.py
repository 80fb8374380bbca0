"""Turn a file's text into numbers, times and booleans, and tell which cells could not be read."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from flows.import_mapping import ColumnRule
from flows.import_targets import Kind

Instant = pl.Datetime("us", "UTC")
EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
ISO_TIMESTAMPS = tuple(
    f"%Y-%m-%d{separator}{clock}"
    for separator in ("T", " ")
    for clock in ("%H:%M:%S%.f%#z", "%H:%M:%S%.f", "%H:%M")
)
ISO_DATES = ("%Y-%m-%d",)
WORDS = {"true": True, "yes": True, "y": True, "t": True, "1": True} | {
    "false": False, "no": False, "n": False, "f": False, "0": False,
}  # fmt: skip
UNREADABLE = {
    "text": "is not one of the listed values",
    "number": "is no finite number",
    "bool": "is neither yes nor no",
    "timestamp": "is no time between 1990 and 2100 in the declared format",
    "date": "is no date between 1990 and 2100 in the declared format",
}


def clean(values: pl.Series, null_tokens: Sequence[str]) -> pl.Series:
    """Strip text and turn empty cells and null tokens into nulls; other types pass unchanged."""
    if values.dtype.is_(pl.Categorical) or isinstance(values.dtype, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype != pl.String:
        return values
    text = values.str.strip_chars()
    return text.to_frame("x").select(pl.when(~pl.col("x").is_in(["", *null_tokens])).then("x")).to_series()


def parse(values: pl.Series, kind: Kind, rule: ColumnRule) -> pl.Series:
    """Read cleaned values; what cannot be read becomes null.

    Parameters
    ----------
    values : from `clean`; text, or what a Parquet file holds.
    kind : 'timestamp' and 'date' give Datetime (us, UTC), a date being its midnight in UTC.
    rule : formats, time zone, decimal mark and recoding.

    Returns
    -------
    Series : String, Float64, Boolean or Datetime; null where the value is missing or unreadable.
    """
    if rule.values:
        values = values.cast(pl.String).replace(dict(rule.values)).replace({"": None})
    if kind == "text":
        return values.cast(pl.String)
    if kind == "number":
        return _numbers(values, rule.decimal)
    if kind == "bool":
        return _booleans(values)
    return _instants(values, kind, rule)


def unreadable(values: pl.Series, parsed: pl.Series, rule: ColumnRule) -> pl.Series:
    """Mark cells that held something `parse` could not read; what is recoded to '' is meant to be missing."""
    silenced = [word for word, new in rule.values.items() if new == ""]
    spoken = values.is_not_null() & ~values.cast(pl.String).is_in(silenced).fill_null(False)
    return spoken & parsed.is_null()


def _numbers(values: pl.Series, decimal: str) -> pl.Series:
    if values.dtype == pl.String:
        grouping = "," if decimal == "." else "."
        groups = rf"^[-+]?\d{{1,3}}(\{grouping}\d{{3}})+(\{decimal}\d+)?$"
        plain = pl.when(pl.col("x").str.contains(groups)).then(
            pl.col("x").str.replace_all(grouping, "", literal=True)
        )
        text = values.to_frame("x").select(plain.otherwise("x")).to_series()
        values = (
            text
            if decimal == "."
            else text.str.replace_all(".", "?", literal=True).str.replace(decimal, ".", literal=True)
        )
    numbers = values.cast(pl.Float64, strict=False)
    return numbers.to_frame("x").select(pl.when(pl.col("x").is_finite()).then("x")).to_series()


def _booleans(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Boolean:
        return values
    return (
        values.cast(pl.String).str.to_lowercase().replace_strict(WORDS, default=None, return_dtype=pl.Boolean)
    )


def _instants(values: pl.Series, kind: Kind, rule: ColumnRule) -> pl.Series:
    if values.dtype == pl.String:
        formats = rule.format or (ISO_DATES if kind == "date" else ISO_TIMESTAMPS)
        zone = "UTC" if kind == "date" else rule.timezone
        readings = [_read_text(values, pattern, zone) for pattern in formats]
        times = pl.select(pl.coalesce(readings)).to_series()
    elif isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        times = values.dt.convert_time_zone("UTC").cast(Instant)
    elif values.dtype.is_temporal() and values.dtype != pl.Time:
        times = _in_zone(values.cast(pl.Datetime("us")), "UTC" if kind == "date" else rule.timezone)
    else:
        times = pl.Series([None] * len(values), dtype=Instant)
    if kind == "date":
        times = times.dt.truncate("1d")
    return (
        times.to_frame("x")
        .select(pl.when(pl.col("x").is_between(EARLIEST, LATEST, closed="left")).then("x"))
        .to_series()
    )


def _read_text(values: pl.Series, pattern: str, zone: str) -> pl.Series:
    times = values.str.to_datetime(pattern, strict=False, time_unit="us")
    has_offset = isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None
    return times.dt.convert_time_zone("UTC") if has_offset else _in_zone(times, zone)


def _in_zone(naive: pl.Series, zone: str) -> pl.Series:
    """The hour that is skipped in spring does not exist; of the two in autumn the first is meant."""
    local = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").cast(Instant)
