"""The rows of every data set: which lead is open on which snapshot date."""

from collections.abc import Iterable
from datetime import date, timedelta

import polars as pl

from features.fields import value_at
from features.sources import Datetime, Sources

KEYS = ("lead_id", "snapshot_date", "account_id", "owner_id")
EMPTY = pl.DataFrame(
    schema={"lead_id": pl.String, "snapshot_date": pl.Date, "account_id": pl.String, "owner_id": pl.String}
)


def snapshot_dates(
    as_of: date, *, horizon_days: int, reporting_lag_days: int, every_days: int, window_days: int
) -> list[date]:
    """Return the training snapshots, oldest first: every `every_days` back from the newest mature date."""
    newest = as_of - timedelta(days=horizon_days + reporting_lag_days)
    return [newest - timedelta(days=days) for days in range(0, window_days, every_days)][::-1]


def spine(sources: Sources, snapshot_dates: Iterable[date], *, max_age_days: int) -> pl.DataFrame:
    """List the leads that were open, as far as the system knew, at each snapshot.

    A lead is in when it was created and known before the snapshot, at most `max_age_days` earlier, and had
    neither been removed nor closed by an outcome known before it. Account and owner are those of the
    snapshot. Nothing in it looks ahead: rows of leads that turn out to have ended before their snapshot are
    `LateLabels.is_void` from the day this is known.

    Returns
    -------
    DataFrame with lead_id, snapshot_date, account_id, owner_id, sorted by (snapshot_date, lead_id).
    """
    _refuse_duplicates(sources.lead)
    candidates = _with_closing(sources)
    frames = [_open_at(candidates, day, max_age_days) for day in sorted(set(snapshot_dates))]
    rows = pl.concat([EMPTY.select("lead_id", "snapshot_date"), *frames]).sort("snapshot_date", "lead_id")
    return rows.with_columns(
        value_at(sources, "lead", "account_id", rows), value_at(sources, "lead", "owner_id", rows)
    )


def _with_closing(sources: Sources) -> pl.DataFrame:
    closing = sources.outcome.group_by("lead_id").agg(closed_known_at=pl.col("known_at").min())
    lead = sources.lead.select("lead_id", "created_at", "known_at", "removed_at")
    return lead.join(closing, on="lead_id", how="left")


def _open_at(candidates: pl.DataFrame, day: date, max_age_days: int) -> pl.DataFrame:
    at = pl.lit(day).cast(Datetime)
    is_in = (
        (pl.col("known_at") < at)
        & (pl.col("created_at") < at)
        & (pl.col("created_at") >= at - timedelta(days=max_age_days))
    )
    still_here = [~(pl.col(column) < at).fill_null(False) for column in ("removed_at", "closed_known_at")]
    return candidates.filter(is_in, *still_here).select("lead_id", snapshot_date=pl.lit(day))


def _refuse_duplicates(lead: pl.DataFrame) -> None:
    twice = lead.filter(pl.col("lead_id").is_duplicated())
    if not twice.is_empty():
        raise ValueError(
            f"lead_id {twice['lead_id'].min()!r} appears more than once; {twice.height} rows of lead share "
            "their lead_id with another, stg_lead.sql must return one row per lead"
        )
