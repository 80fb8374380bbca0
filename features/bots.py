"""Which opens and clicks no person made: flagged rows, and bursts of mail gateways that follow every link."""

from datetime import timedelta

import polars as pl

BURST_TYPES = ("email_open", "email_click")
BURST_SIZE = 3
BURST_SPAN = timedelta(seconds=10)


def with_bot_day(activity: pl.LazyFrame) -> pl.LazyFrame:
    """Add `bot_day` (Date): the day from whose end on the row is known to be no person's; null for people.

    A row with `is_bot` is one from the day it is known. A burst is `BURST_SIZE` opens or clicks of one lead
    within `BURST_SPAN`, ends included, and becomes visible with the arrival of its last member, so that a
    late row never changes what an earlier snapshot saw.

    Parameters
    ----------
    activity : lead_id, occurred_at, known_at, activity_type, is_bot and `known_day` (Date).
    """
    numbered = activity.with_row_index("event")
    burst = _burst_days(numbered)
    flagged_day = pl.when(pl.col("is_bot")).then(pl.col("known_day"))
    return (
        numbered.join(burst, on="event", how="left")
        .with_columns(bot_day=pl.min_horizontal(flagged_day, "burst_day"))
        .drop("event", "burst_day")
    )


def _burst_days(numbered: pl.LazyFrame) -> pl.LazyFrame:
    """First known_day at whose end each event lies in a burst of the events known by then."""
    chained = _chains(numbered.filter(pl.col("activity_type").is_in(BURST_TYPES)))
    days = chained.select("chain", day="known_day").unique()
    seen = chained.join(days, on="chain").filter(pl.col("known_day") <= pl.col("day"))
    return (
        seen.sort("chain", "day", "occurred_at")
        .filter(_is_in_burst(["chain", "day"]))
        .group_by("event")
        .agg(burst_day=pl.col("day").min())
    )


def _chains(clicks: pl.LazyFrame) -> pl.LazyFrame:
    """Number runs of clicks with gaps of at most the span; no burst crosses one, and short ones hold none."""
    gap = pl.col("occurred_at").diff()
    is_new = (pl.col("lead_id") != pl.col("lead_id").shift()) | (gap > BURST_SPAN)
    runs = clicks.sort("lead_id", "occurred_at").select(
        "event", "occurred_at", "known_day", chain=is_new.fill_null(True).cum_sum()
    )
    long = runs.group_by("chain").len().filter(pl.col("len") >= BURST_SIZE).select("chain")
    return runs.join(long, on="chain", how="semi")


def _is_in_burst(keys: list[str]) -> pl.Expr:
    """Whether the event is first, middle or last of `BURST_SIZE` neighbours in time within the span."""
    time, steps = pl.col("occurred_at"), BURST_SIZE - 1
    fits = [(time.shift(-after) - time.shift(steps - after)) <= BURST_SPAN for after in range(steps + 1)]
    return pl.any_horizontal([fit.over(keys).fill_null(False) for fit in fits])
