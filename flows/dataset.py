"""Training and scoring sets: snapshots, spine, features and labels put together."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from features.attrs import Kind
from features.build import build
from features.delay import MIN_SEEN_SHARE, DelayCurve
from features.late_labels import LateLabels, late_labels
from features.sources import Sources, as_of
from features.spine import snapshot_dates, spine
from flows.adapters.settings import Settings
from flows.recipes import MATURE, Recipe

N_ORIGINS = 8
ORIGIN_EVERY_DAYS = 7
"""A recipe is measured on that many past days, so many days apart, whose outcomes are mature."""


@dataclass(frozen=True)
class TrainingSet:
    """Rows to learn from: one per lead and snapshot.

    Attributes
    ----------
    frame : the spine's keys and every feature column, n rows, ordered by snapshot and lead.
    y : float64 (n,), 1 where the lead is known to have converted within the horizon.
    as_of : everything in it was known before this day.
    open_odds : float64 (n,), 0 where the label is settled; above 0 the lead may still convert, and this is
        what its being open so long makes of the odds that it does (`LateLabels.open_odds`).
    win_days : float64 (n,), days from the snapshot until the conversion was known; infinite without one.
    """

    frame: pl.DataFrame
    y: np.ndarray
    as_of: date
    open_odds: np.ndarray
    win_days: np.ndarray

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
        frame = self.frame.filter(pl.Series(keep, dtype=pl.Boolean))
        return TrainingSet(frame, self.y[keep], self.as_of, self.open_odds[keep], self.win_days[keep])


@dataclass(frozen=True)
class History:
    """Rows up to `as_of` with their features: what a recipe trains on, at that day or at any earlier one.

    Features of a row see nothing from its snapshot on: they are the same whichever day the labels are of.

    Attributes
    ----------
    frame : keys and features of the rows that are `built`.
    labels : late labels of every row, built or not.
    built : bool, one per row of `labels`.
    as_of : everything was known before this day.
    curve : the delay curve as of that day, of the rows in its training window; None with too few conversions.
    """

    frame: pl.DataFrame
    labels: LateLabels
    built: np.ndarray
    as_of: date
    curve: DelayCurve | None

    def take(self, wanted: np.ndarray) -> tuple[pl.DataFrame, LateLabels, np.ndarray]:
        """Return frame and labels of the rows that are wanted and built, and which ones these are, bool (n,).

        Parameters
        ----------
        wanted : bool, one per row of `labels`.
        """
        chosen = wanted & self.built
        return self.frame.filter(chosen[self.built]), self.labels.take(chosen), chosen

    def known_at(self, day: date, recipe: Recipe, settings: Settings) -> TrainingSet:
        """Return what `recipe` would have trained on at the start of `day`, with the labels known then.

        Raises
        ------
        ValueError
            `day` lies after `as_of`, or the recipe needs rows that were not built.
        """
        if day > self.as_of:
            raise ValueError(f"the history ends on {self.as_of}: it does not know what was known on {day}")
        in_window = is_in_window(self.labels, day, settings)
        labels = self.labels.take(in_window)
        curve = self.curve if day == self.as_of else labels.delay_curve(day)
        chosen = _chosen(labels, day, recipe, settings, curve)
        keep = in_window.copy()
        keep[in_window] = chosen
        if (keep & ~self.built).any():
            raise ValueError(f"recipe {recipe.name!r} needs rows without features: build the whole history")
        open_odds = np.zeros(len(chosen)) if curve is None else labels.open_odds(day, curve)
        frame, rows, _ = self.take(keep)
        is_won = rows.is_won(day)
        return TrainingSet(
            frame=frame,
            y=is_won.astype(np.float64),
            as_of=day,
            open_odds=open_odds[chosen],
            win_days=np.where(is_won, rows.win_days, np.inf),
        )


def history(
    sources: Sources,
    as_of_date: date,
    settings: Settings,
    *,
    only_mature: bool = False,
    n_origins: int = N_ORIGINS,
) -> History:
    """Put together every (lead, snapshot) known before `as_of_date`, mature or not.

    Parameters
    ----------
    only_mature : build features of mature rows alone, all that the recipes with mature labels need.
    n_origins : reach back as far as training did on the first of so many origins of a backtest.
    """
    known = as_of(sources, as_of_date)
    step = max(ORIGIN_EVERY_DAYS, settings.snapshot_every_days)
    since_first_origin = settings.maturity.days + (n_origins - 1) * step
    rows, labels = all_labels(known, as_of_date, settings, since_first_origin)
    built = labels.is_mature(as_of_date) if only_mature else np.ones(rows.height, dtype=bool)
    frame = build(known, rows.filter(pl.Series(built, dtype=pl.Boolean)))
    curve = labels.take(is_in_window(labels, as_of_date, settings)).delay_curve(as_of_date)
    return History(frame, labels, built, as_of_date, curve)


def all_labels(
    sources: Sources, as_of_date: date, settings: Settings, more_days: int = 0
) -> tuple[pl.DataFrame, LateLabels]:
    """Return the spine of every row that training could use at `as_of_date`, and its late labels.

    Parameters
    ----------
    more_days : by which the rows reach further back.
    """
    known = as_of(sources, as_of_date)
    rows = spine(known, _grid(as_of_date, settings, more_days), max_age_days=settings.max_lead_age_days)
    rows = _without_refusals(rows, known)
    return rows, late_labels(rows, known, settings.horizon_days, settings.reporting_lag_days)


def is_in_window(labels: LateLabels, day: date, settings: Settings) -> np.ndarray:
    """Which rows training on `day` could use, bool (n,): the training window and everything newer."""
    elapsed = labels.elapsed(day)
    return (elapsed > 0) & (elapsed < settings.maturity.days + settings.train_window_days)


def _without_refusals(rows: pl.DataFrame, sources: Sources) -> pl.DataFrame:
    """Leave out who opted out of all processing or asked to be erased: nothing is learnt from them."""
    refused = sources.consent.filter(pl.col("opted_out_processing").fill_null(False))
    return rows.join(refused, on="lead_id", how="anti", maintain_order="left")


def training_set(
    sources: Sources, as_of_date: date, settings: Settings, recipe: Recipe = MATURE
) -> TrainingSet:
    """Build features and labels of the rows that `recipe` trains on at `as_of_date`."""
    past = history(sources, as_of_date, settings, only_mature=recipe.labels == "mature")
    return past.known_at(as_of_date, recipe, settings)


def scoring_set(
    sources: Sources, as_of_date: date, settings: Settings, attr_kinds: Mapping[str, Kind]
) -> pl.DataFrame:
    """Build the features of every lead that is open on `as_of_date`; `attr_kinds` is the model's."""
    known = as_of(sources, as_of_date)
    rows = spine(known, [as_of_date], max_age_days=settings.max_lead_age_days)
    return build(known, rows, attr_kinds)


def _grid(day: date, settings: Settings, more_days: int) -> list[date]:
    """Return the snapshots of the training window and those since, up to `day`, in the same steps."""
    every = settings.snapshot_every_days
    mature = snapshot_dates(
        day,
        horizon_days=settings.horizon_days,
        reporting_lag_days=settings.reporting_lag_days,
        every_days=every,
        window_days=settings.train_window_days + more_days,
    )
    newer = range(every, settings.maturity.days, every)
    return [*mature, *(mature[-1] + timedelta(days=days) for days in newer)]


def _chosen(
    labels: LateLabels, day: date, recipe: Recipe, settings: Settings, curve: DelayCurve | None
) -> np.ndarray:
    """Which rows the recipe trains on at `day`, bool (n,)."""
    elapsed, is_mature = labels.elapsed(day), labels.is_mature(day)
    window = min(recipe.window_days or settings.train_window_days, settings.train_window_days)
    in_window = (elapsed > 0) & (elapsed < settings.maturity.days + window) & ~labels.is_void(day)
    if recipe.labels == "buckets":
        return in_window
    if recipe.labels == "mature" or curve is None:
        return in_window & is_mature
    # The wins of the youngest rows go too: without the open rows beside them the base rate would be too high.
    return in_window & (is_mature | (curve(elapsed, labels.segments) >= MIN_SEEN_SHARE))
