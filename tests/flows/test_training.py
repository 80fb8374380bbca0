"""Training: the backtest knows nothing of its future; real exports raise the alarm only when they leak."""

import os
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.adapters.database import Database
from flows.adapters.importer import import_files
from flows.adapters.settings import Settings
from flows.adapters.source_reader import read_sources
from flows.dataset import TrainingSet
from flows.lead_model import LabelDefinition
from flows.training import backtest_split, train

DATA = Path(os.environ.get("LEADSCORE_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))
EXPORT = DATA / "xeducation" / "Leads.csv"
LEAKS = {"Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable Activity"} | {
    f"Asymmetrique {what}" for what in ("Activity Index", "Profile Index", "Activity Score", "Profile Score")
}


def test_the_backtest_trains_on_what_was_mature_when_its_cohort_began():
    days = [date(2026, 1, 1) + timedelta(days=7 * week) for week in range(40)]
    frame = pl.DataFrame({"lead_id": [str(i) for i in range(40)], "snapshot_date": days})
    rows = TrainingSet(frame, np.zeros(40), date(2027, 1, 1))
    cohort, past, protocol = backtest_split(rows, Settings(database_url=None))
    first = cohort.frame["snapshot_date"].min()
    assert cohort.frame["snapshot_date"].to_list() == days[-4:]
    assert past.frame["snapshot_date"].max() <= first - timedelta(days=67)
    assert past.frame["snapshot_date"].max() > first - timedelta(days=67 + 7)
    assert str(first) in protocol


@pytest.mark.data
@pytest.mark.skipif(not EXPORT.exists(), reason=f"no real data at {DATA}")
@pytest.mark.parametrize("allowed", [(), ("all",)])
def test_real_leads_raise_the_alarm_only_when_their_leaks_are_let_in(database: Database, allowed):
    report = import_files(database, [EXPORT], "x_education", allow_banned=allowed)
    clock = date.fromisoformat(str(report.clock))
    sources, _ = read_sources(database, clock)
    settings = Settings(database_url=None)
    trained = train(sources, clock, settings, LabelDefinition(60, 7, ""), "", None)
    named = {s.column.removeprefix("attrs_") for s in trained.leakage.suspects}
    assert trained.leakage.is_alarm == bool(allowed)
    assert named == (LEAKS if allowed else set())
    if not allowed:
        assert trained.evaluation.roc_auc >= 0.87
