"""What each way of learning with late labels would have to train on, before anyone spends a fit on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from features.delay import MIN_SEEN_SHARE, DelayCurve
from features.late_labels import LateLabels

BUCKET_ENDS = (7, 30, 90)
"""Delay buckets in days: 0-6, 7-29, 30-89 and the rest up to the horizon."""
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
    soft_rows, soft_wins : the rows younger than mature that soft labels add, and the wins among them; 0
        without a delay curve.
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
    soft_wins: int
    buckets: tuple[Bucket, ...]

    def words(self) -> list[str]:
        """Return one line per recipe: what it would train on, and whether that is enough."""
        newest = f", newest snapshot {self.newest_mature}" if self.newest_mature else ""
        soft_rows, soft_wins = self.mature_rows + self.soft_rows, self.mature_wins + self.soft_wins
        scarce = min(self.buckets, key=lambda bucket: bucket.mature_wins)
        return [
            f"mature only: {self.mature_rows:,} rows, {self.mature_wins:,} wins{newest}"
            + _verdict(self.mature_wins),
            f"soft labels: {soft_rows:,} rows, {soft_wins:,} wins, {self.soft_rows:,} of the rows younger"
            + _verdict(soft_wins),
            f"delay buckets: {len(self.buckets)} models, the scarcest (days {scarce.first_day}-"
            f"{scarce.last_day}) with {scarce.mature_wins:,} wins" + _verdict(scarce.mature_wins),
        ]


def readiness(labels: LateLabels, as_of: date, curve: DelayCurve | None) -> Readiness:
    """Count what is settled, won early and open at `as_of`.

    Parameters
    ----------
    labels : of every row, mature or not; those known to be void are not counted.
    curve : the delay curve that soft labels would use.
    """
    labels = labels.take(~labels.is_void(as_of))
    is_mature, is_won = labels.is_mature(as_of), labels.is_won(as_of)
    elapsed = labels.elapsed(as_of)
    is_soft = np.zeros(len(elapsed), dtype=bool)
    if curve is not None:
        is_soft = ~is_mature & (curve(elapsed, labels.segments) >= MIN_SEEN_SHARE)
    return Readiness(
        as_of=as_of.isoformat(),
        horizon_days=labels.horizon_days,
        reporting_lag_days=labels.reporting_lag_days,
        mature_rows=int(is_mature.sum()),
        mature_wins=int((is_mature & is_won).sum()),
        newest_mature=str(labels.snapshots[is_mature].max()) if is_mature.any() else None,
        early_wins=int((~is_mature & is_won).sum()),
        open_rows=int((~is_mature & ~is_won).sum()),
        soft_rows=int(is_soft.sum()),
        soft_wins=int((is_soft & is_won).sum()),
        buckets=tuple(_buckets(labels, as_of)),
    )


def bucket_bounds(horizon_days: int) -> list[tuple[int, int]]:
    """Return the first day of each delay bucket and the day after its last."""
    ends = [end for end in BUCKET_ENDS if end < horizon_days] + [horizon_days]
    return list(zip([0, *ends], ends, strict=False))


def _buckets(labels: LateLabels, as_of: date) -> Sequence[Bucket]:
    """Count rows not won before a bucket that have it behind them; the last bucket waits for the lag."""
    elapsed, win_days = labels.elapsed(as_of), np.where(labels.is_won(as_of), labels.win_days, np.inf)
    found = []
    for first, end in bucket_bounds(labels.horizon_days):
        is_last = end == labels.horizon_days
        is_over = labels.is_mature(as_of) if is_last else elapsed >= end
        rows = is_over & (win_days >= first)
        wins = rows & (np.isfinite(win_days) if is_last else win_days < end)
        found.append(Bucket(first, end - 1, int(rows.sum()), int(wins.sum())))
    return found


def _verdict(wins: int) -> str:
    return "" if wins >= MIN_WINS else f": too few, at least {MIN_WINS} wins are wanted"
