"""Activity group: how much happened, how recently, who wrote last and how fast leads answer."""

import polars as pl

from features.replies import replies
from features.rows import attach, by_level
from features.sources import Sources
from features.spine import KEYS
from features.touches import ACTIVITY_TYPES, touches

WINDOWS = (7, 30, 90)
DIRECTIONS = ("inbound", "outbound")
COUNTS = [pl.col(f"count_{w}d").sum() for w in WINDOWS]
RECENCY = pl.col("age_days").min().alias("recency_days")
ACTIVE_DAYS = [
    pl.col("age_days").filter(pl.col("age_days") <= w).n_unique().alias(f"day_count_{w}d") for w in WINDOWS
]


def activity(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Return counts by type over 7, 30 and 90 days, recency in days, balance, active days and replies.

    Counts are 0 where nothing happened; recency and gaps are null. Rows known to be made by bots enter
    `activity_bot_count_*` only.
    """
    seen = _with_windows(touches(sources, spine))
    human = seen.filter(~pl.col("is_bot"))
    directed = human.filter(pl.col("direction") != "neither")
    typed = by_level(human, "activity_type", ACTIVITY_TYPES, [*COUNTS, RECENCY], spine.height)
    sided = by_level(directed, "direction", DIRECTIONS, [*COUNTS, RECENCY], spine.height)
    whole = [
        human.group_by("row").agg(*COUNTS, *ACTIVE_DAYS, RECENCY),
        seen.filter("is_bot").group_by("row").agg([count.name.prefix("bot_") for count in COUNTS]),
        replies(sources, spine),
    ]
    parts = [typed, sided, *(attach(spine, part).drop(KEYS) for part in whole)]
    columns = pl.concat(parts, how="horizontal").select(pl.all().name.prefix("activity_"))
    counts = [name for name in columns.columns if "_count_" in name]
    return pl.concat(
        [spine.select(KEYS), columns.with_columns(pl.col(counts).fill_null(0))], how="horizontal"
    ).with_columns([_balance(window) for window in WINDOWS[1:]])


def _with_windows(seen: pl.DataFrame) -> pl.DataFrame:
    """Add `count_<w>d`: the touches of the line if it lies in the window, else 0."""
    n, age = pl.col("n"), pl.col("age_days")
    return seen.with_columns([(n * (age <= w)).cast(pl.UInt32).alias(f"count_{w}d") for w in WINDOWS])


def _balance(window: int) -> pl.Expr:
    """Inbound minus outbound over their sum, in [-1, 1]; null when there was neither."""
    inbound, outbound = (
        pl.col(f"activity_{direction}_count_{window}d").cast(pl.Int64) for direction in DIRECTIONS
    )
    total = inbound + outbound
    return pl.when(total > 0).then((inbound - outbound) / total).alias(f"activity_inbound_balance_{window}d")
