"""Stage group: where the lead stood in the pipeline, rebuilt from its history."""

import polars as pl

from features.rows import attach, number
from features.sources import Datetime, Sources


def stage(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Return the current stage, the days in it, and how often stages were entered or returned to.

    Stages have no order a CRM would tell us, so a return is the entry into a stage that the lead had left
    before: entries minus distinct stages. A repeated row of the same stage is no entry.
    """
    entered = _entries(sources, spine)
    moves = entered.group_by("row").agg(
        stage_current=pl.col("stage").sort_by("order").last(),
        current_since=pl.col("entered_at").max(),
        stage_entry_count=pl.len(),
        stage_distinct_count=pl.col("stage").n_unique(),
        first_at=pl.col("entered_at").min(),
    )
    days = {"stage_days_in_current": "current_since", "stage_days_since_first": "first_at"}
    at = pl.col("snapshot_date").cast(Datetime)
    counts = ["stage_entry_count", "stage_distinct_count"]
    return (
        attach(spine, moves, counts)
        .with_columns(
            [
                (at - pl.col(since)).dt.total_seconds().truediv(86_400).alias(name)
                for name, since in days.items()
            ]
        )
        .with_columns(stage_return_count=pl.col(counts[0]) - pl.col(counts[1]))
        .drop(*days.values())
    )


def _entries(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Stage entries known at each row's snapshot, without repetitions, numbered in time by `order`."""
    rows, at = number(spine).select("row", "lead_id", "snapshot_date"), pl.col("snapshot_date").cast(Datetime)
    history = sources.stage.drop_nulls().join(rows, on="lead_id")
    seen = history.filter((pl.col("entered_at") < at) & (pl.col("known_at") < at))
    ordered = seen.sort("row", "entered_at", "known_at", "stage").with_row_index("order")
    is_repeated = (pl.col("row") == pl.col("row").shift()) & (pl.col("stage") == pl.col("stage").shift())
    return ordered.filter(~is_repeated.fill_null(False))
