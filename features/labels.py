"""Labels that are believed only when their whole window, and the reporting lag after it, has passed."""

from datetime import date, timedelta

import polars as pl

from features.sources import Datetime, midnight


def label(
    spine: pl.DataFrame, outcome: pl.DataFrame, as_of: date, horizon_days: int, reporting_lag_days: int
) -> pl.DataFrame:
    """Add what became of each spine row, as known at `as_of`.

    Parameters
    ----------
    spine : at least lead_id and snapshot_date.
    outcome : the staged outcome frame; rows with `known_at` on or after `as_of` are not seen.
    horizon_days : length of the label window `[snapshot_date, snapshot_date + horizon_days)`.
    reporting_lag_days : how much later a window's conversions are taken to have arrived.

    Returns
    -------
    The spine, same rows and order, with matures_on (Date), is_mature (Boolean: matures_on <= as_of) and label
    (UInt8: 1 for a conversion inside the window; null while immature, for positives and negatives alike).
    """
    wins = (
        outcome.filter(pl.col("is_conversion") & (pl.col("known_at") < midnight(as_of)))
        .group_by("lead_id")
        .agg(won_at=pl.col("outcome_at").min())
    )
    start = pl.col("snapshot_date").cast(Datetime)
    end = start + timedelta(days=horizon_days)
    is_won = ((pl.col("won_at") >= start) & (pl.col("won_at") < end)).fill_null(False)
    return (
        spine.join(wins, on="lead_id", how="left", maintain_order="left")
        .with_columns(matures_on=pl.col("snapshot_date") + timedelta(days=horizon_days + reporting_lag_days))
        .with_columns(is_mature=pl.col("matures_on") <= as_of)
        .with_columns(label=pl.when(pl.col("is_mature")).then(is_won.cast(pl.UInt8)))
        .drop("won_at")
    )
