"""Running totals per key: changes booked on days, read at snapshots.

A lead that joins an account, or a touch that enters a 30-day window, is booked +1 on the first snapshot that
sees it and -1 on the first that no longer does. Totals at any snapshot then cost one sorted pass, however
many leads share a key.
"""

from collections.abc import Sequence

import polars as pl


def book(spans: pl.DataFrame, key: str, value: str) -> pl.DataFrame:
    """Turn spans into changes.

    Parameters
    ----------
    spans : `key`, `start` and `end` (Date: seen at snapshots in `[start, end)`; a null end never comes) and
        `amount` (integer).
    value : name of the total.

    Returns
    -------
    DataFrame with `key`, `day`, `value`; spans that are empty or without a key leave nothing.
    """
    real = spans.filter((pl.col("start") < pl.col("end")).fill_null(True)).drop_nulls([key, "start"])
    opened = real.select(key, day="start", amount=pl.col("amount").cast(pl.Int64))
    closed = real.drop_nulls("end").select(key, day="end", amount=-pl.col("amount").cast(pl.Int64))
    return pl.concat([opened, closed]).rename({"amount": value})


def read(changes: Sequence[pl.DataFrame], key: str, keys: pl.DataFrame) -> pl.DataFrame:
    """Read each total at each row of `keys` (`key`, `snapshot_date`), in order; 0 where none is booked."""
    booked = pl.concat([*changes], how="diagonal")
    values = [name for name in booked.columns if name not in (key, "day")]
    daily = booked.group_by(key, "day").agg(pl.col(values).sum()).sort(key, "day")
    totals = daily.with_columns(pl.col(values).cum_sum().over(key)).sort("day")
    found = (
        keys.select(key, "snapshot_date")
        .with_row_index("row")
        .sort("snapshot_date")
        .join_asof(totals, left_on="snapshot_date", right_on="day", by=key, check_sortedness=False)
    )
    return found.sort("row").select(pl.col(values).fill_null(0))
