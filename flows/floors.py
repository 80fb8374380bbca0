"""Simple ways to choose whom to call, which a model has to beat: source, last activity, a regression."""

from datetime import date

import numpy as np
import polars as pl

from features.sources import Sources
from features.spine import KEYS
from flows.adapters.settings import Settings
from flows.dataset import History, TrainingSet
from flows.evidence import Cohort
from flows.recipes import MATURE, Recipe
from pkboost_core.calibration import fit_logistic

SOURCE, RECENCY = "lead_source", "activity_recency_days"
PULL = 20.0
"""Earlier leads that the overall rate weighs as much as, beside a source's own."""
N_COLUMNS = 30
MAX_ROWS = 20_000
SHRINKAGE = 1.0
DEFAULT_CAPACITY = 0.10


def measured_cohort(
    rows: TrainingSet, before: TrainingSet, p: np.ndarray, sources: Sources, seed: int
) -> Cohort:
    """Put together the backtest's cohort, `p` and the floors, which learn from `before` alone."""
    frame, days = rows.frame, rows.snapshot_dates
    per_day = len(days) / max(len(np.unique(days)), 1)
    segments = frame[SOURCE] if SOURCE in frame.columns else pl.Series([None] * frame.height, dtype=pl.String)
    return Cohort(
        frame["lead_id"].to_numpy(),
        days,
        rows.y,
        p,
        segments,
        floors(frame, before, seed),
        capacity_share(sources.owner, per_day),
    )


def floor_rows(past: History, day: date, recipe: Recipe, settings: Settings) -> TrainingSet:
    """Return what floors learn from on `day`: mature rows, because to them an open lead would be a lost one.

    Where those do not tell apart yet, what `recipe` learns from.
    """
    mature = past.known_at(day, MATURE, settings)
    return mature if 0 < mature.n_positives < len(mature.y) else past.known_at(day, recipe, settings)


def floors(frame: pl.DataFrame, before: TrainingSet, seed: int) -> dict[str, np.ndarray]:
    """Rank the rows of `frame` in the simple ways that its columns allow, larger is better."""
    found: dict[str, np.ndarray] = {}
    if SOURCE in frame.columns:
        found["source only"] = _source_rates(frame, before)
    if RECENCY in frame.columns:
        days = frame[RECENCY].cast(pl.Float64).fill_nan(None).to_numpy()
        found["recency only"] = -np.where(np.isnan(days), np.inf, days)
    found["logistic regression"] = _logistic(frame, before, seed)
    return found


def capacity_share(owners: pl.DataFrame, n_open: float) -> float:
    """Share of the open leads that active owners have time for in a day; a tenth where it is not known."""
    active = owners.filter(pl.col("is_active").fill_null(True))
    daily = float(active["daily_capacity"].fill_null(0).sum())
    if daily <= 0 or n_open <= 0:
        return DEFAULT_CAPACITY
    return float(np.clip(daily / n_open, 0.01, 0.5))


def _source_rates(frame: pl.DataFrame, before: TrainingSet) -> np.ndarray:
    overall = float(before.y.mean())
    known = before.frame.select(SOURCE).with_columns(y=before.y).drop_nulls()
    rates = known.group_by(SOURCE).agg(
        rate=(pl.col("y").sum() + PULL * overall) / (pl.len() + PULL),
    )
    joined = frame.select(SOURCE).join(rates, on=SOURCE, how="left", maintain_order="left")
    return joined["rate"].fill_null(overall).to_numpy()


def _logistic(frame: pl.DataFrame, before: TrainingSet, seed: int) -> np.ndarray:
    """Log-odds by the numeric columns that go with conversion most, gaps filled with the median."""
    y = before.y
    rows = np.arange(len(y))
    if len(y) > MAX_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(len(y), MAX_ROWS, replace=False))
    numeric = [
        name
        for name, dtype in before.frame.schema.items()
        if name not in KEYS and name in frame.columns and (dtype.is_numeric() or dtype == pl.Boolean)
    ]
    learnt, asked = _numbers(before.frame[rows], numeric), _numbers(frame, numeric)
    centre = np.nanmedian(np.where(np.isnan(learnt).all(axis=0), 0.0, learnt), axis=0)
    x, z = np.where(np.isnan(learnt), centre, learnt), np.where(np.isnan(asked), centre, asked)
    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    x, z = (x - mean) / spread, np.clip((z - mean) / spread, -5, 5)
    strength = np.abs(x.T @ (y[rows] - y[rows].mean()))
    best = np.sort(np.argsort(-strength, kind="stable")[:N_COLUMNS])
    design = np.column_stack([np.ones(len(x)), np.clip(x[:, best], -5, 5)])
    theta = fit_logistic(design, y[rows], np.ones(len(x)), shrinkage=SHRINKAGE)
    return theta[0] + z[:, best] @ theta[1:]


def _numbers(frame: pl.DataFrame, names: list[str]) -> np.ndarray:
    numbers = frame.select(pl.col(names).cast(pl.Float64).fill_nan(None)).to_numpy()
    signed = np.sign(numbers) * np.log1p(np.abs(numbers))
    return np.asarray(signed, dtype=np.float64)
