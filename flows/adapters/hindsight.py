"""What became of scored leads: conversions recorded since, read only after a run is published."""

from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from flows.adapters.database import Database

_CONVERTED_SINCE = """
    SELECT DISTINCT lead_id FROM source.conversion
    WHERE is_conversion AND outcome_at >= %(start)s AND outcome_at < %(end)s
"""


def converted_since(database: Database, as_of: date, horizon_days: int) -> pl.Series:
    """Leads that converted in `[as_of, as_of + horizon_days)` by what the database holds now.

    This looks past `as_of`: it judges scores that are already published and never feeds a model.
    """
    start = datetime.combine(as_of, time(), UTC)
    window = {"start": start, "end": start + timedelta(days=horizon_days)}
    with database.connect("crm_reader") as connection:
        rows = connection.execute(_CONVERTED_SINCE, window).fetchall()
    return pl.Series("lead_id", [lead_id for (lead_id,) in rows], dtype=pl.String)
