"""First known conversions and losses: the part of the outcome frame that features may lean on."""

import polars as pl

from features.sources import Sources


def first_known(sources: Sources, *, is_conversion: bool) -> pl.DataFrame:
    """Return lead_id, outcome_at and `known_day` (Date) of each lead's first known conversion, or loss."""
    rows = sources.outcome.filter(pl.col("is_conversion") == is_conversion)
    first = rows.sort("known_at", "outcome_at").unique("lead_id", keep="first", maintain_order=True)
    return first.select("lead_id", "outcome_at", known_day=pl.col("known_at").dt.date())
