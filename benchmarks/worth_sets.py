"""Leads with outcomes for benchmarks/worth.py: simulated CRMs with their truth, real sets in time order."""

import tempfile
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import polars as pl
from models import lightgbm, logistic, pkboost, quietly
from simulated_crm import simulated_crm, true_chances

from features.matrix import fit_encoding, to_matrix
from flows.adapters.database import open_database
from flows.adapters.settings import Settings
from flows.dataset import History, history
from flows.evidence import BY_SCORE, Cohort
from flows.fitting import BOOSTER
from flows.recipes import MATURE, recipe_named
from flows.rolling_evidence import pooled, rolling_cohorts
from simulator import SimulationConfig

N_BLOCKS, MAX_ROWS = 8, 10_000
TRUTH = "the truth itself"
SOURCES = {"xeducation": "Lead Source", "olist": "origin", "bank_time": "contact", "bank_full": "contact",
           "hillstrom_visit": "channel", "hillstrom_conversion": "channel"}  # fmt: skip


def simulated(seed: int, n_origins: int) -> Cohort:
    """One simulated CRM of 10,000 leads: the product's rolling origins, LightGBM and the truth beside it."""
    config = SimulationConfig(seed=seed)
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # a socket's path has to be short
        settings = Settings(home=Path(home), database_url=None)
        with open_database(settings) as database:
            sources, hidden = simulated_crm(database, config)
    past = history(sources, config.end, settings)
    cohorts = rolling_cohorts(
        past, sources, recipe_named(settings.recipe), settings, n_origins, {"LightGBM": _lightgbm}
    )
    return pooled({day: _with_truth(one, day, hidden, settings) for day, one in cohorts.items()})


def _lightgbm(past: History, origin: date, settings: Settings, rows: np.ndarray) -> np.ndarray:
    """LightGBM, regularised and stopped early, on the rows that were mature at the origin."""
    known = past.known_at(origin, MATURE, settings)
    encoding = fit_encoding(known.frame)
    fit = quietly(lightgbm(stop=True, lambda_l2=1.0, min_sum_hessian_in_leaf=1.0))
    categorical = tuple(encoding.categorical_indices)
    X = to_matrix(known.frame, encoding).astype(np.float64)
    model = fit(X, known.y, categorical, settings.random_state, 1)
    return model(to_matrix(past.frame.filter(rows).select(encoding.names), encoding).astype(np.float64))


def _with_truth(cohort: Cohort, day: date, hidden: pl.DataFrame, settings: Settings) -> Cohort:
    keys = pl.DataFrame({"lead_id": cohort.leads}).with_columns(snapshot_date=pl.lit(day))
    return replace(cohort, floors={**cohort.floors, TRUTH: true_chances(hidden, keys, settings.horizon_days)})


@dataclass(frozen=True)
class Rows:
    """A real set in the order in which its rows came.

    `days` are days of creation, where an outcome is a conversion within 60 days and so known 60 days later.
    """

    data: datasets.Dataset
    source: np.ndarray
    days: np.ndarray | None = None

    def blocks(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return rows to learn from and rows to judge, block by block."""
        n = len(self.data.y)
        edges = np.linspace(n // 2, n, N_BLOCKS + 1).astype(int)
        found = []
        for first, end in pairwise(edges):
            known = np.arange(first)
            if self.days is not None:
                known = known[self.days[:first] <= self.days[first] - 60]
            if len(known) > MAX_ROWS:
                known = np.sort(np.random.default_rng(0).choice(known, MAX_ROWS, replace=False))
            found.append((known, np.arange(first, end)))
        return found


def real(name: str) -> Rows:
    """Load a real set, in order of time where it has one, else shuffled."""
    if name == "olist":
        return _olist()
    data = datasets.LOADERS[name]()
    order = np.arange(len(data.y))
    if not data.is_time_ordered and name != "bank_full":  # whose file is in order of time too
        order = np.random.default_rng(0).permutation(order)
    source = data.X[order, data.names.index(SOURCES[name])]
    return Rows(replace(data, X=data.X[order], y=data.y[order]), source)


def _olist() -> Rows:
    """Leads of a marketplace since wins are on record; a conversion is a deal won within 60 days."""
    folder = datasets.data_dir() / "olist"
    leads, deals = (
        pl.read_csv(folder / f"olist_{name}_dataset.csv", try_parse_dates=True)
        for name in ("marketing_qualified_leads", "closed_deals")
    )
    contact = pl.col("first_contact_date").cast(pl.Date)
    frame = (
        leads.join(deals.select("mql_id", "won_date"), on="mql_id", how="left")
        .filter(contact >= date(2017, 12, 1), contact <= pl.lit(date(2018, 11, 1)) - timedelta(days=60))
        .sort("first_contact_date", "mql_id")
        .with_columns(
            weekday=contact.dt.weekday(),
            won=((pl.col("won_date").cast(pl.Date) - contact).dt.total_days() < 60).fill_null(False),
        )
    )
    days = frame.select(contact).to_series().to_numpy().astype("datetime64[D]").astype(np.int64)
    drop = ("mql_id", "first_contact_date", "won_date", "won")
    data = datasets.from_frame("olist", frame, pl.col("won"), drop, ordered=True)
    return Rows(data, data.X[:, data.names.index("origin")], days)


def scored(rows: Rows) -> Cohort:
    """Score each block by models of the rows before it."""
    data, y = rows.data, rows.data.y
    fits = {
        BY_SCORE: pkboost(**BOOSTER),
        "logistic regression": quietly(logistic),
        "LightGBM": quietly(lightgbm(stop=True, lambda_l2=1.0, min_sum_hessian_in_leaf=1.0)),
    }
    blocks = rows.blocks()
    judged = np.concatenate([block for _, block in blocks])
    found = {name: np.empty(len(y)) for name in (*fits, "source only")}
    days = np.empty(len(y), dtype=np.int64)
    for number, (known, block) in enumerate(blocks):
        days[block] = number
        for name, fit in fits.items():
            found[name][block] = fit(data.X[known], y[known], data.categorical, 0, 1)(data.X[block])
        found["source only"][block] = _rates(rows.source, y, known, block)
    ways = {name: values[judged] for name, values in found.items() if name != BY_SCORE}
    ways["first come"] = -judged.astype(np.float64)
    everybody = pl.Series(["all"] * len(judged))
    return Cohort(judged, days[judged], y[judged], found[BY_SCORE][judged], everybody, ways, capacity=0.1)


def _rates(source: np.ndarray, y: np.ndarray, known: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Past conversion of each row's source, pulled to the overall rate by 20 rows."""
    overall, rates = y[known].mean(), np.empty(len(block))
    for value in np.unique(source[block]):
        same = np.isnan(source) if np.isnan(value) else source == value
        past = y[known][same[known]]
        rates[same[block]] = (past.sum() + 20 * overall) / (len(past) + 20)
    return rates
