"""What each way of learning with late labels would have to train on, before anyone spends a fit on it."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from features.delay import MIN_SEEN_SHARE, DelayCurve
from features.sources import Datetime, midnight

BUCKET_ENDS = (7, 30, 90)
"""Delay buckets in days: 0-7, 8-30, 31-90 and the rest up to the horizon."""
MIN_WINS = 100
"""Fewer positives than this and a fit is mostly noise."""


@dataclass(frozen=True)
class Bucket:
    """Rows whose outcome from `first_day` to `last_day` after the snapshot is settled, and the wins in it."""

    first_day: int
    last_day: int
    mature_rows: int
    mature_wins: int


@dataclass(frozen=True)
class Readiness:
    """Counts of (lead, snapshot) rows at one date; JSON-able through `dataclasses.asdict`.

    Attributes
    ----------
    mature_rows, mature_wins : rows whose whole window and lag have passed, and the wins among them.
    newest_mature : their newest snapshot date, ISO, or None.
    early_wins : wins already known among rows that are not mature.
    open_rows : rows neither mature nor won.
    soft_rows : open rows with a share of wins seen of at least `MIN_SEEN_SHARE`: what soft labels add
        besides the early wins; 0 without a delay curve.
    buckets : what each delay bucket's model would train on.
    """

    as_of: str
    horizon_days: int
    reporting_lag_days: int
    mature_rows: int
    mature_wins: int
    newest_mature: str | None
    early_wins: int
    open_rows: int
    soft_rows: int
    buckets: tuple[Bucket, ...]

    def words(self) -> list[str]:
        """Return one line per recipe: what it would train on, and whether that is enough."""
        newest = f", newest snapshot {self.newest_mature}" if self.newest_mature else ""
        soft_rows = self.mature_rows + self.early_wins + self.soft_rows
        soft_wins = self.mature_wins + self.early_wins
        scarce = min(self.buckets, key=lambda bucket: bucket.mature_wins)
        return [
            f"mature only: {self.mature_rows:,} rows, {self.mature_wins:,} wins{newest}"
            + _verdict(self.mature_wins),
            f"soft labels: {soft_rows:,} rows, {soft_wins:,} wins, {self.soft_rows:,} open"
            + _verdict(soft_wins),
            f"delay buckets: {len(self.buckets)} models, the scarcest (days {scarce.first_day}-"
            f"{scarce.last_day}) with {scarce.mature_wins:,} wins" + _verdict(scarce.mature_wins),
        ]


def readiness(
    rows: pl.DataFrame,
    as_of: date,
    horizon_days: int,
    reporting_lag_days: int,
    curve: DelayCurve | None = None,
) -> Readiness:
    """Count what is settled, won early and open at `as_of`.

    Parameters
    ----------
    rows : snapshot_date (Date), age_days (the lead's age at the snapshot) and converted_at (UTC time of
        the lead's first conversion known before `as_of`, or null).
    curve : the delay curve that soft labels would use.

    Raises
    ------
    ValueError
        A column is missing.
    """
    missing = [name for name in ("snapshot_date", "age_days", "converted_at") if name not in rows.columns]
    if missing:
        raise ValueError(f"rows lack column {missing[0]!r}; they have {', '.join(rows.columns)}")
    start = pl.col("snapshot_date").cast(Datetime)
    timed = rows.select(
        "snapshot_date",
        age="age_days",
        elapsed=(pl.lit(midnight(as_of)) - start).dt.total_days() - reporting_lag_days,
        delay=((pl.col("converted_at") - start).dt.total_microseconds() / 86_400e6).fill_null(np.inf),
    )
    elapsed, delay = timed["elapsed"].to_numpy(), timed["delay"].to_numpy()
    is_mature, is_won = elapsed >= horizon_days, (delay >= 0) & (delay < horizon_days)
    is_open = ~is_mature & ~is_won
    newest = timed["snapshot_date"].filter(pl.Series(is_mature)).max()
    return Readiness(
        as_of.isoformat(),
        horizon_days,
        reporting_lag_days,
        int(is_mature.sum()),
        int((is_mature & is_won).sum()),
        newest.isoformat() if isinstance(newest, date) else None,
        int((~is_mature & is_won).sum()),
        int(is_open.sum()),
        _soft_rows(timed["age"].to_numpy()[is_open], elapsed[is_open], horizon_days, curve),
        _buckets(elapsed, delay, horizon_days),
    )


def _soft_rows(age: np.ndarray, elapsed: np.ndarray, horizon_days: int, curve: DelayCurve | None) -> int:
    if curve is None or not len(age):
        return 0
    return int((curve.window_share(age, np.maximum(elapsed, 0), horizon_days) >= MIN_SEEN_SHARE).sum())


def _buckets(elapsed: np.ndarray, delay: np.ndarray, horizon_days: int) -> tuple[Bucket, ...]:
    """A row counts for a bucket if it was not won before it and the bucket's last day has passed."""
    ends = [end for end in BUCKET_ENDS if end < horizon_days] + [horizon_days]
    found, first = [], 0
    for end in ends:
        rows = (elapsed >= end) & (delay >= first)
        found.append(Bucket(first, end - 1, int(rows.sum()), int((rows & (delay < end)).sum())))
        first = end
    return tuple(found)


def _verdict(wins: int) -> str:
    return "" if wins >= MIN_WINS else f": too few, at least {MIN_WINS} wins are wanted"
