"""Times for exports that hold an order but no times, laid out so that the invented time carries no signal."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import polars as pl
from pydantic import BaseModel, ConfigDict, Field


class DerivedTime(BaseModel):
    """Cohorts of equal size by order, each created within `cohort_days` that end at a snapshot.

    A lead at rank r of the n in its cohort, whose end is e, gets

        created_at = e - cohort_days + cohort_days (r + 1/2) / n
        outcome_at = created_at + outcome_after_days

    so at the snapshot e every cohort has the same ages, evenly spread over (0, cohort_days), and by the next
    snapshot all its outcomes, good or bad, have happened at the same age: each lead is in one snapshot only.
    The last cohort ends at the clock: it is open then, and its outcomes wait in the data to judge the scores.

    Attributes
    ----------
    order_by : column of numbers, higher = newer; equal numbers keep the file's order.
    cohort_days, outcome_after_days : see above.
    cohort_ends_days_before_clock : one per cohort, oldest first; the last is 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    order_by: str
    cohort_days: int = Field(gt=0)
    outcome_after_days: int = Field(gt=0)
    cohort_ends_days_before_clock: tuple[int, ...] = Field(min_length=2)

    def check(self, horizon_days: int, reporting_lag_days: int, snapshot_every_days: int) -> None:
        """Check that the layout keeps its promises under this label.

        Raises
        ------
        ValueError : naming the number that is wrong and the rule it breaks.
        """
        *past, clock = self.cohort_ends_days_before_clock
        maturity = horizon_days + reporting_lag_days
        if clock != 0:
            raise ValueError("the last cohort must end at the clock: 0 days before it")
        if not self.cohort_days <= self.outcome_after_days <= snapshot_every_days:
            raise ValueError(
                f"outcome_after_days = {self.outcome_after_days} must not be below cohort_days ="
                f" {self.cohort_days}, else outcomes precede their snapshot, nor above snapshot_every_days ="
                f" {snapshot_every_days}, else leads are seen twice"
            )
        for end in past:
            if end < maturity or (end - maturity) % snapshot_every_days:
                raise ValueError(
                    f"a cohort that ends {end} days before the clock is at no training snapshot: these lie"
                    f" {maturity} days before the clock and every {snapshot_every_days} days earlier"
                )
        if any(older - newer < snapshot_every_days for older, newer in pairwise(past)):
            raise ValueError(f"cohorts must end at least {snapshot_every_days} days apart, oldest first")
        if any(older - past[-1] < maturity for older in past[:-1]):
            raise ValueError(
                f"all cohorts before the last two must end at least {maturity} days before the last but one,"
                " to be mature by then"
            )

    def times(self, order: pl.Series, clock: date) -> pl.DataFrame:
        """Lay out times for rows with these order numbers.

        Parameters
        ----------
        order : numbers without nulls.
        clock : the data's today.

        Returns
        -------
        DataFrame with created_at and outcome_at (Datetime us UTC), rows as in `order`.
        """
        n, n_cohorts = len(order), len(self.cohort_ends_days_before_clock)
        rank = order.rank("ordinal").cast(pl.Int64) - 1
        cohort = rank * n_cohorts // max(n, 1)
        frame = pl.DataFrame({"rank": rank, "cohort": cohort})
        end = pl.col("cohort").replace_strict(
            dict(enumerate(self._ends(clock))), return_dtype=pl.Datetime("us", "UTC")
        )
        place = (pl.col("rank").rank("ordinal").over("cohort") - 0.5) / pl.len().over("cohort")
        into = pl.duration(microseconds=(place * self.cohort_days * 86_400_000_000).floor().cast(pl.Int64))
        created_at = (end - timedelta(days=self.cohort_days) + into).cast(pl.Datetime("us", "UTC"))
        return frame.select(created_at=created_at).with_columns(
            outcome_at=pl.col("created_at") + timedelta(days=self.outcome_after_days)
        )

    def _ends(self, clock: date) -> list[datetime]:
        midnight = datetime.combine(clock, time(), UTC)
        return [midnight - timedelta(days=days) for days in self.cohort_ends_days_before_clock]
