"""Training and scoring sets: snapshots, spine, features and labels put together."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from features.attrs import Kind
from features.build import build
from features.labels import label
from features.sources import Sources, as_of
from features.spine import snapshot_dates, spine
from flows.adapters.settings import Settings


@dataclass(frozen=True)
class TrainingSet:
    """Mature rows: one per lead and snapshot.

    Attributes
    ----------
    frame : the spine's keys and every feature column, n rows, ordered by snapshot and lead.
    y : float64 (n,), 1 where the lead converted within the horizon.
    as_of : everything in it was known before this day.
    """

    frame: pl.DataFrame
    y: np.ndarray
    as_of: date

    @property
    def n_positives(self) -> int:
        """Number of rows with a conversion."""
        return int(self.y.sum())

    @property
    def snapshot_dates(self) -> np.ndarray:
        """Snapshot of each row, datetime64[D] (n,)."""
        return self.frame["snapshot_date"].to_numpy().astype("datetime64[D]")

    def where(self, keep: np.ndarray) -> "TrainingSet":
        """Rows for which `keep`, bool (n,), is true."""
        return TrainingSet(self.frame.filter(pl.Series(keep)), self.y[keep], self.as_of)


def training_set(sources: Sources, as_of_date: date, settings: Settings) -> TrainingSet:
    """Build features and labels of every mature (lead, snapshot) known before `as_of_date`."""
    known = as_of(sources, as_of_date)
    grid = snapshot_dates(
        as_of_date,
        horizon_days=settings.horizon_days,
        reporting_lag_days=settings.reporting_lag_days,
        every_days=settings.snapshot_every_days,
        window_days=settings.train_window_days,
    )
    rows = spine(known, grid, max_age_days=settings.max_lead_age_days, for_training=True)
    labels = label(rows, known.outcome, as_of_date, settings.horizon_days, settings.reporting_lag_days)
    mature = labels["is_mature"]
    frame = build(known, rows).filter(mature)
    y = labels.filter(mature)["label"].cast(pl.Float64).to_numpy()
    return TrainingSet(frame, y, as_of_date)


def scoring_set(
    sources: Sources, as_of_date: date, settings: Settings, attr_kinds: Mapping[str, Kind]
) -> pl.DataFrame:
    """Build the features of every lead that is open on `as_of_date`; `attr_kinds` is the model's."""
    known = as_of(sources, as_of_date)
    rows = spine(known, [as_of_date], max_age_days=settings.max_lead_age_days, for_training=False)
    return build(known, rows, attr_kinds)
