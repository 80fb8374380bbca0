"""Simulated CRMs with known truth, with features and late labels built once for all weeks.

A world is loaded into Postgres and read back through the product's own SQL, once; nights then run on its
`History`, which knows for every day what was known on it.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
from simulated_crm import simulated_crm, true_chances

from flows.adapters.database import Database
from flows.adapters.settings import Settings
from flows.dataset import History, history
from flows.monitors.weeks import known_wins
from simulator import Drift, SimulationConfig

KINDS = ("none", "covariate", "prior", "concept", "delay", "gradual", "outage")
QUIET = ("none", "covariate")
"""Worlds in which no model gets worse: who buys changes in the second, what makes them buy does not."""
HARMED = ("concept", "prior")
"""Worlds of the claim on what a change costs."""
DRIFTED = ("concept", "prior", "gradual", "delay")
"""Worlds of the claim on labels that arrive late."""

END = date(2026, 11, 6)
"""The newest mature snapshot of this clock is a Monday, so that weekly snapshots are the monitors' weeks."""
MONTHS = 22
FIRST_NIGHT_DAYS = 330
WEEKS_BEFORE_DRIFT = 13
SEVERITY = 0.8
TRAINING_STEP_DAYS = 14
"""Every second weekly snapshot trains: half the time, next to nothing lost."""


@dataclass(frozen=True)
class World:
    """One simulated CRM.

    Attributes
    ----------
    history : every weekly (lead, snapshot) with features and late labels.
    truth : float64, one per row of the history: the chance to convert that no model can beat.
    wins : lead_id, created_at and known_at of every lead.
    drift_date : when the world changes; for "none", when it would have.
    nights : Mondays whose leads are scored, oldest first; the outcome of all is known at the end.
    deal : mean amount of a conversion.
    training_step_days : days from one snapshot that trains to the next.
    has_stock : whether a night's leads are a stock that changes slowly from week to week, and not arrivals.
    """

    kind: str
    seed: int
    history: History
    truth: np.ndarray
    wins: pl.DataFrame
    drift_date: date
    nights: tuple[date, ...]
    deal: float
    training_step_days: int = TRAINING_STEP_DAYS
    has_stock: bool = True

    def rows(self, night: date) -> np.ndarray:
        """Return which rows of the history are open on a night, bool (n,)."""
        return self.history.labels.snapshots == np.datetime64(night, "D")


def build_world(database: Database, kind: str, seed: int, n_leads: int) -> World:
    """Simulate, load, read and build one world; the database is reused and holds the newest one."""
    config = _config(kind, seed, n_leads)
    sources, hidden = simulated_crm(database, config)
    past = history(sources, config.end, settings(train_window_days=1000))
    nights = _nights(past, config)
    truth = true_chances(hidden, past.frame.select("lead_id", "snapshot_date"), past.labels.horizon_days)
    wins = sources.outcome.filter(pl.col("is_conversion"))["amount"].drop_nulls()
    deal = float(wins.mean() or 0.0)  # type: ignore[arg-type]
    return World(kind, seed, past, truth, known_wins(sources), _drift_date(config), nights, deal)


def settings(**changes: int) -> Settings:
    """Return the product's settings with one thread, whatever the environment says."""
    return Settings(database_url=None, n_threads=1, **changes)


def _config(kind: str, seed: int, n_leads: int) -> SimulationConfig:
    config = SimulationConfig(n_leads=n_leads, months=MONTHS, end=END, seed=seed)
    if kind == "none":
        return config
    drift = Drift(kind, _drift_date(config), SEVERITY)  # type: ignore[arg-type]
    return SimulationConfig(n_leads=n_leads, months=MONTHS, end=END, seed=seed, drift=drift)


def _drift_date(config: SimulationConfig) -> date:
    return config.start + timedelta(days=FIRST_NIGHT_DAYS + 7 * WEEKS_BEFORE_DRIFT)


def _nights(past: History, config: SimulationConfig) -> tuple[date, ...]:
    """Weekly snapshots from the first night on whose leads' outcome is known at the end."""
    days = np.unique(past.labels.snapshots[past.labels.is_mature(past.as_of)]).astype(date)
    return tuple(day for day in days if (day - config.start).days >= FIRST_NIGHT_DAYS)
