"""Replies: how long a lead takes to answer, and what of ours is still unanswered."""

import polars as pl

from features.sources import Sources
from features.touches import events, known_past, of_spine


def replies(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Return the median reply gap and the unanswered touches of each spine row that has any.

    A reply (inbound email_reply) answers the newest outbound touch before it; the gap is the time between
    them. Outbound touches after the newest inbound one are unanswered. Only what was known at the snapshot
    takes part, rows known to be made by bots do not.

    Returns
    -------
    DataFrame with row, reply_gap_days (Float64), unanswered_count_all (UInt32).
    """
    dialogue = _dialogue(sources, spine)
    is_inbound = pl.col("direction") == "inbound"
    is_answer = (
        is_inbound & (pl.col("activity_type") == "email_reply") & (pl.col("row") == pl.col("outbound_row"))
    )
    gaps = dialogue.filter(is_answer)
    gap = (pl.col("occurred_at") - pl.col("outbound_at")).dt.total_microseconds() / 86_400e6
    last_inbound = dialogue.filter(is_inbound).group_by("row").agg(last_inbound=pl.col("occurred_at").max())
    waiting = dialogue.filter(~is_inbound).join(last_inbound, on="row", how="left")
    is_later = (pl.col("occurred_at") > pl.col("last_inbound")).fill_null(True)
    unanswered = waiting.filter(is_later).group_by("row").agg(unanswered_count_all=pl.len())
    median = gaps.group_by("row").agg(reply_gap_days=gap.median())
    return median.join(unanswered, on="row", how="full", coalesce=True)


def _dialogue(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """People's inbound and outbound touches of each row in time, with the newest outbound one before each."""
    is_outbound = pl.col("direction") == "outbound"
    # at the same instant the reply comes first: it answers something earlier
    touched = (
        events(of_spine(sources, spine))
        .filter(pl.col("direction") != "neither")
        .sort("lead_id", "occurred_at", is_outbound)
    )
    is_human = ~(pl.col("bot_day") < pl.col("snapshot_date")).fill_null(False)
    seen = known_past(touched, spine).filter(is_human)
    return seen.select(
        "row",
        "occurred_at",
        "activity_type",
        "direction",
        outbound_at=pl.when(is_outbound).then("occurred_at").forward_fill(),
        outbound_row=pl.when(is_outbound).then("row").forward_fill(),
    ).collect()
