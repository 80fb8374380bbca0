"""What is known of each row's outcome on any day: won, closed, settled, or still open and how late.

One spine of (lead, snapshot) rows carries the days from its snapshot until a win, or another end, became
known. Labels as of any earlier day follow by comparison, so that a backtest with many origins builds its
features once and never sees an outcome before its day.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.delay import DelayCurve, FloatArray
from features.delay_estimation import TooFewWinsError, estimate_delay_curve
from features.sources import Datetime, Sources

BoolArray = NDArray[np.bool_]

_DAY = 86_400e6

AGE_BANDS_DAYS = (7, 30, 90)
"""A lead that has been open for long wins later than a fresh one: each band of ages has its own curve."""


@dataclass(frozen=True)
class LateLabels:
    """When the outcome of each of n rows became known, in days from the row's snapshot.

    Attributes
    ----------
    snapshots : datetime64[D] (n,)
    segments : str (n,), the lead's age at the snapshot as a band: the delay curve's segment.
    win_days : float64 (n,), until a win inside the label window was known; infinite where none is.
    end_days : float64 (n,), until a loss or a removal was known; infinite where none is.
    void_days : float64 (n,), until it was known that the lead had ended before the snapshot; mostly infinite.
    horizon_days, reporting_lag_days : the label window, and how much later it is believed.
    """

    snapshots: np.ndarray
    segments: np.ndarray
    win_days: FloatArray
    end_days: FloatArray
    void_days: FloatArray
    horizon_days: int
    reporting_lag_days: int

    def elapsed(self, day: date) -> FloatArray:
        """Return the days from each snapshot to the start of `day`."""
        return (np.datetime64(day, "D") - self.snapshots).astype(np.float64)

    def is_won(self, day: date) -> BoolArray:
        """Return which rows have a win known before `day`."""
        return self.win_days < self.elapsed(day)

    def is_mature(self, day: date) -> BoolArray:
        """Return which rows have the whole window and the reporting lag behind them on `day`."""
        return self.elapsed(day) >= self.horizon_days + self.reporting_lag_days

    def is_void(self, day: date) -> BoolArray:
        """Return which rows are known by `day` to be of leads that had ended before their snapshot.

        A run on the snapshot's night could not know. As negatives they would teach that the leads closest to
        conversion do not convert: training leaves them out from the day this is known.
        """
        return self.void_days < self.elapsed(day)

    def is_settled(self, day: date) -> BoolArray:
        """Return which rows can be labelled 0 or 1 on `day`: mature, won, or closed otherwise."""
        return self.is_mature(day) | self.is_won(day) | (self.end_days < self.elapsed(day))

    def open_odds(self, day: date, curve: DelayCurve) -> FloatArray:
        """Return the factor by which a row's odds of winning have changed because nothing has happened yet.

        (1 - F) / (1 - L), with F the share of wins and L the share of other ends known at the row's age, by
        segment; 0 for settled rows, whose label needs no chance. A lead that is still open has escaped losses
        as well as wins: leaving L out would call it too hopeless by as much as losses are recorded. Void rows
        count in neither, as in training: where losses are reported late they close all at once, and would
        make the leads still open look better than they are.
        """
        elapsed, is_open = self.elapsed(day), ~self.is_settled(day)
        odds = np.zeros(len(elapsed))
        odds[is_open] = 1.0 - curve(elapsed[is_open], self.segments[is_open])
        is_lost = self.is_mature(day) & ~self.is_won(day) & ~self.is_void(day)
        for name in np.unique(self.segments[is_open]):
            rows = is_open & (self.segments == name)
            ends = np.sort(self.end_days[is_lost & (self.segments == name)])
            closed = np.searchsorted(ends, elapsed[rows]) / (len(ends) + 1)
            odds[rows] /= 1.0 - closed
        return odds

    def take(self, keep: BoolArray) -> "LateLabels":
        """Return the rows for which `keep` is true."""
        return replace(
            self,
            snapshots=self.snapshots[keep],
            segments=self.segments[keep],
            win_days=self.win_days[keep],
            end_days=self.end_days[keep],
            void_days=self.void_days[keep],
        )

    def delay_curve(self, day: date) -> DelayCurve | None:
        """Estimate the share of the window's wins that is known by each age after the snapshot.

        Reporting and ingestion lags are in it, because it is compared with what has arrived. None where the
        wins known before `day` are too few to reach the horizon: a curve that ends earlier would call open
        leads settled. Rows known to be void are left out. Ages are whole days: F(7) is the share of wins that
        `is_won` shows a week after the snapshot; a win known at the midnight of that day is not part of it.
        """
        won = self.is_won(day) & ~self.is_void(day)
        known = self.snapshots[won].astype("datetime64[us]") + (self.win_days[won] * _DAY).astype(
            "timedelta64[us]"
        )
        wins = pl.DataFrame(
            {"created_at": self.snapshots[won], "known_at": known, "segment": self.segments[won]}
        ).with_columns(pl.col("created_at", "known_at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
        try:
            curve = estimate_delay_curve(wins, day, segment="segment", whole_days=True)
        except TooFewWinsError:
            return None
        return curve if curve.support_days >= self.horizon_days else None


def late_labels(
    spine: pl.DataFrame, sources: Sources, horizon_days: int, reporting_lag_days: int
) -> LateLabels:
    """Look up when each row's outcome became known, as far as `sources` tell.

    Parameters
    ----------
    spine : at least lead_id and snapshot_date.
    sources : cut by `features.sources.as_of`; nothing of a later day is in it.
    """
    start = pl.col("snapshot_date").cast(Datetime)
    rows = spine.join(_ends(sources), on="lead_id", how="left", maintain_order="left")
    is_won = (pl.col("won_at") >= start) & (pl.col("won_at") < start + timedelta(days=horizon_days))
    days = rows.select(
        win=pl.when(is_won).then(_days(pl.col("won_known_at") - start)),
        end=_days(pl.min_horizontal("lost_known_at", "removed_at") - start),
        void=_days(
            pl.min_horizontal(
                pl.when(pl.col(f"{end}_at") < start).then(pl.col(f"{end}_known_at"))
                for end in ("won", "lost")
            )
            - start
        ),
        age=_days(start - pl.col("created_at")),
    ).fill_null(np.inf)
    return LateLabels(
        rows["snapshot_date"].to_numpy().astype("datetime64[D]"),
        age_bands(days["age"].to_numpy()),
        days["win"].to_numpy(),
        days["end"].to_numpy(),
        days["void"].to_numpy(),
        horizon_days,
        reporting_lag_days,
    )


def age_bands(age_days: FloatArray) -> np.ndarray:
    """Return the band of each age, str: the segments of a delay curve."""
    names = np.array([_band_name(band) for band in range(len(AGE_BANDS_DAYS) + 1)])
    return names[np.searchsorted(AGE_BANDS_DAYS, age_days, side="right")]


def _ends(sources: Sources) -> pl.DataFrame:
    """One row per lead: created_at, removed_at, and its conversion and other end with when each was known."""
    leads = sources.lead.select("lead_id", "created_at", "removed_at")
    for end, is_wanted in (("won", pl.col("is_conversion")), ("lost", ~pl.col("is_conversion"))):
        first = (
            sources.outcome.filter(is_wanted).sort("outcome_at", "known_at").unique("lead_id", keep="first")
        )
        dates = first.select("lead_id", pl.col("outcome_at", "known_at").name.map(_named(end)))
        leads = leads.join(dates, on="lead_id", how="left")
    return leads


def _named(end: str) -> Callable[[str], str]:
    return lambda column: f"{end}_{column.removeprefix('outcome_')}"


def _days(gap: pl.Expr) -> pl.Expr:
    return gap.dt.total_microseconds() / _DAY


def _band_name(band: int) -> str:
    ends = [0, *AGE_BANDS_DAYS]
    return f"{ends[band]}+ days" if band == len(AGE_BANDS_DAYS) else f"{ends[band]}-{ends[band + 1] - 1} days"
