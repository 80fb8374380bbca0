"""Engagement group: what the lead itself did, weighted by how recently, with bots left out."""

import math

import polars as pl

from features.rows import attach, by_level
from features.sources import Sources
from features.touches import touches

HALF_LIVES = (3, 14, 45)
KEY_TYPES = (
    "email_open",
    "email_click",
    "email_reply",
    "web_visit",
    "pricing_visit",
    "form_submit",
    "meeting",
)
# Sums of floats depend on their order by an ulp, and a group-by promises none: integers make equal data give
# equal bytes. 2^-32 is a touch 32 half-lives old.
UNIT = 2**32
DECAYED = [pl.col(f"decay_{h}d").sum() / UNIT for h in HALF_LIVES]


def engagement(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Return exponentially decayed sums with half-lives of 3, 14 and 45 days, and their trend.

    A touch of age a days weighs 2^(-a / half-life). `engagement_<type>_decay_<h>d` covers one type, meetings
    in either direction; `engagement_inbound_decay_<h>d` everything inbound. `engagement_trend_3d_45d` is the
    share of 3-day in 45-day weight of everything inbound: about .06 for steady interest, about .8 when all of
    it is from yesterday, null when there is none. `engagement_bot_share_90d` is the share of opens and clicks
    that bots made, null without any.
    """
    seen = touches(sources, spine)
    human = _with_weights(seen.filter(~pl.col("is_bot")))
    typed = by_level(
        human.filter(pl.col("activity_type").is_in(KEY_TYPES)),
        "activity_type",
        KEY_TYPES,
        DECAYED,
        spine.height,
    )
    inbound = human.filter(pl.col("direction") == "inbound")
    whole = by_level(inbound, "direction", ["inbound"], DECAYED, spine.height)
    decayed = pl.concat([typed, whole], how="horizontal").select(
        pl.all().fill_null(0.0).name.prefix("engagement_")
    )
    short, long = (pl.col(f"engagement_inbound_decay_{h}d") for h in (HALF_LIVES[0], HALF_LIVES[-1]))
    return pl.concat([attach(spine, _bot_share(seen)), decayed], how="horizontal").with_columns(
        engagement_trend_3d_45d=pl.when(long > 0).then(short / long)
    )


def _with_weights(human: pl.DataFrame) -> pl.DataFrame:
    """Add `decay_<h>d`: the weight of the line in units of 1 / `UNIT`."""
    age = pl.col("age_days")
    weights = [((-math.log(2) / h * age).exp() * UNIT).round().cast(pl.Int64) for h in HALF_LIVES]
    return human.with_columns(
        [(w * pl.col("n")).alias(f"decay_{h}d") for w, h in zip(weights, HALF_LIVES, strict=True)]
    )


def _bot_share(seen: pl.DataFrame) -> pl.DataFrame:
    clicks = seen.filter(
        pl.col("activity_type").is_in(["email_open", "email_click"]) & (pl.col("age_days") <= 90)
    )
    by_bots = pl.col("n").filter("is_bot").sum()
    return clicks.group_by("row").agg(engagement_bot_share_90d=by_bots / pl.col("n").sum())
