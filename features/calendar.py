"""Calendar group: season of the snapshot and the hour at which the lead came in."""

import polars as pl

from features.sources import Sources
from features.spine import KEYS


def calendar(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Return month and days to the end of the quarter of the snapshot, and when the lead was created.

    Weekdays are 1 (Monday) to 7, hours 0 to 23, both in UTC; sources of day precision have hour 0 throughout.
    """
    snapshot, created = pl.col("snapshot_date"), pl.col("created_at")
    next_quarter = snapshot.dt.truncate("1q").dt.offset_by("1q")
    created_at = sources.lead.select("lead_id", "created_at")
    return spine.join(created_at, on="lead_id", how="left", maintain_order="left").select(
        *KEYS,
        calendar_month=snapshot.dt.month(),
        calendar_days_to_quarter_end=(next_quarter - snapshot).dt.total_days(),
        calendar_created_weekday=created.dt.weekday(),
        calendar_created_hour=created.dt.hour(),
        calendar_created_is_weekend=created.dt.weekday() >= 6,
    )
