"""Rows as training sees them on a day: without those of leads that had ended, with labels once mature."""

from datetime import date

import numpy as np
import polars as pl

from features.late_labels import late_labels
from features.sources import Sources, as_of


def labelled(rows: pl.DataFrame, sources: Sources, on: date, horizon: int, lag: int = 7) -> pl.DataFrame:
    """The rows that are not void, with is_mature and label: 0 or 1, null while immature."""
    late = late_labels(rows, as_of(sources, on), horizon, lag)
    known = np.where(late.is_mature(on), late.is_won(on).astype(np.float64), np.nan)
    label = pl.Series(known, nan_to_null=True).cast(pl.UInt8)
    return rows.with_columns(is_mature=pl.Series(late.is_mature(on)), label=label).filter(~late.is_void(on))
