"""Real sets whose labels come late, as worlds: the product's recipe, monitors and gate live through them.

A row is a lead that is scored once, on the Monday of its week. Olist's wins come when they came. The bank's
rows have dates and no delays: its wins draw theirs from Olist's. A win counts within sixty days.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from datasets import Dataset, bank_full, data_dir, olist
from drift_fits import ORACLE, PKBOOST, SOFT, Fits, Learner
from drift_loop import run_loop
from drift_policies import NIGHTLY, ORACLE_POLICY, REFERENCE, Run, Schedule, run_schedule
from drift_worlds import World, settings

from features.late_labels import LateLabels
from features.sources import Datetime
from flows.dataset import History
from pkboost_core.metrics import average_precision, log_loss

HORIZON_DAYS, LAG_DAYS = 60, 7
MIN_WINS = 50
"""Mature wins before the first night."""
SEED = 0
FIRST_YEAR = 2008
BANK_STEP = 4
"""Every fourth of the bank's 45,211 rows, so that all policies take minutes."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def late_worlds() -> Iterator[World]:
    """Yield the real sets that are there."""
    for load in (_bank, _olist):
        try:
            yield load()
        except FileNotFoundError as error:
            print(f"skipped: {error.filename} is not there (set LEADSCORE_DATA_DIR)", flush=True)


def policies() -> list[Schedule]:
    """Return what runs beside the gated loop."""
    return [
        Schedule("LightGBM static", Learner("lightgbm"), None),
        Schedule(REFERENCE, Learner("lightgbm"), NIGHTLY),
        Schedule("PKBoost static", SOFT, None),
        Schedule("PKBoost nightly, matured only", PKBOOST, NIGHTLY),
        Schedule("PKBoost nightly, ungated", SOFT, NIGHTLY),
        Schedule(ORACLE_POLICY, ORACLE, NIGHTLY),
    ]  # fmt: skip


def run_late(world: World, others: list[Any]) -> list[dict[str, Any]]:
    """Run every policy on a world; `others` are functions of it that return runs."""
    fits = Fits(world)
    runs = [run_schedule(fits, one) for one in policies()] + [run_loop(fits)]
    rows = [_measured(run) for run in [*runs, *(other(world) for other in others)]]
    best = next(row["average_precision"] for row in rows if row["policy"] == ORACLE_POLICY)
    return [row | {"share_of_oracle": row["average_precision"] / best} for row in rows]


def _measured(run: Run) -> dict[str, Any]:
    """Measure all scores together, by what became of the rows."""
    p = np.clip(np.concatenate([run.scores[night] for night in run.world.nights]), 1e-6, 1 - 1e-6)
    y = np.concatenate([run.world.truth[run.world.rows(night)] for night in run.world.nights])
    return {
        "name": run.world.kind,
        "policy": run.policy,
        "average_precision": average_precision(y, p),
        "log_loss": log_loss(y, p),
        "accuracy": float(np.mean((p > 0.5) == (y > 0.5))),
        "promotions": len(run.promotions),
        "searches": len(run.searches),
        "cpu_seconds": run.cpu_seconds,
    }


def _bank() -> World:
    """Rows from May 2008 to November 2010, in the order of their dates; the file leaves out the year."""
    data = bank_full()
    file = data_dir() / "bank_marketing" / "bank-full.csv"
    days = pl.read_csv(file, separator=";", columns=["day", "month"])
    month = days["month"].replace_strict(MONTHS, range(1, 13), return_dtype=pl.Int64).to_numpy()
    year = FIRST_YEAR + np.concatenate([[0], np.cumsum(np.diff(month) < 0)])
    arrived = [date(*ymd) for ymd in zip(year.tolist(), month.tolist(), days["day"].to_list(), strict=True)]
    late = _olist_delays()
    late = late[late < HORIZON_DAYS]
    delay = np.where(data.y > 0, np.random.default_rng(SEED).choice(late, len(data.y)), np.inf)
    kept = replace(data, X=data.X[::BANK_STEP], y=data.y[::BANK_STEP])
    return _world(kept, np.array(arrived, dtype="datetime64[D]")[::BANK_STEP], delay[::BANK_STEP])


def _olist() -> World:
    """A lead that was won later than sixty days after its first contact counts as not won."""
    arrived = _olist_leads()["first_contact_date"].to_numpy().astype("datetime64[D]")
    return _world(olist(), arrived, _olist_delays())


def _olist_delays() -> np.ndarray:
    """Days from first contact to the win, float64 (n,); infinite without one."""
    return _olist_leads()["delay"].fill_null(np.inf).to_numpy()


def _olist_leads() -> pl.DataFrame:
    folder = data_dir() / "olist"
    files = ("olist_marketing_qualified_leads_dataset.csv", "olist_closed_deals_dataset.csv")
    for name in files:
        if not (folder / name).exists():
            raise FileNotFoundError(2, "no such data set", str(folder / name))
    leads = pl.read_csv(folder / files[0], try_parse_dates=True)
    deals = pl.read_csv(folder / files[1], try_parse_dates=True).select("mql_id", "won_date")
    won = pl.col("won_date").cast(pl.Date)
    days = (won - pl.col("first_contact_date")).dt.total_days().cast(pl.Float64)
    joined = leads.join(deals, on="mql_id", how="left").sort("first_contact_date", "mql_id")
    return joined.with_columns(delay=days)


def _world(data: Dataset, arrived: np.ndarray, delay: np.ndarray) -> World:
    """Put rows, in order of arrival, into the form that the product learns from."""
    weekday = (arrived.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    mondays = arrived - weekday * np.timedelta64(1, "D")
    days = np.where((delay >= 0) & (delay < HORIZON_DAYS), delay, np.inf)
    days = days + weekday
    never = np.full(len(days), np.inf)
    labels = LateLabels(mondays, np.full(len(days), "all"), days, never, never, HORIZON_DAYS, LAG_DAYS)
    last = mondays.max().astype(date)
    end = last + settings().maturity + timedelta(days=7)
    past = History(_frame(data, mondays), labels, np.ones(len(days), dtype=bool), end, None)
    truth = np.isfinite(days).astype(np.float64)
    nights = tuple(day for day in np.unique(mondays).astype(date) if _is_learnable(labels, day))
    return World(data.name, 0, past, truth, _wins(mondays, days), last, nights, 0.0, 7, has_stock=False)


def _frame(data: Dataset, mondays: np.ndarray) -> pl.DataFrame:
    """Name columns as the product's own: `lead_`, categories as text."""
    columns = {f"lead_{name}": pl.Series(data.X[:, k]) for k, name in enumerate(data.names)}
    for k in data.categorical:
        name = f"lead_{data.names[k]}"
        columns[name] = columns[name].fill_nan(None).cast(pl.Int64).cast(pl.String)
    keys = {
        "lead_id": pl.Series(np.arange(len(mondays))).cast(pl.String),
        "snapshot_date": pl.Series(mondays),
    }
    return pl.DataFrame(keys | columns)


def _wins(mondays: np.ndarray, days: np.ndarray) -> pl.DataFrame:
    """Return what the monitors see: leads that came right before their Monday, and when a win was known."""
    hours = pl.Series(np.where(np.isfinite(days), days * 24 + 12, 0)).cast(pl.Int64)
    return pl.DataFrame({"lead_id": np.arange(len(days)), "monday": mondays, "hours": hours}).select(
        pl.col("lead_id").cast(pl.String),
        created_at=pl.col("monday").cast(Datetime) - timedelta(hours=1),
        known_at=pl.when(pl.Series(np.isfinite(days))).then(
            pl.col("monday").cast(Datetime) + pl.duration(hours="hours")
        ),
    )


def _is_learnable(labels: LateLabels, day: date) -> bool:
    """Whether enough wins are mature on a day, and delays known, to begin."""
    is_won = labels.is_mature(day) & labels.is_won(day)
    return bool(is_won.sum() >= MIN_WINS) and labels.delay_curve(day) is not None
