"""The gate in a world that turns round: refits that follow it pass within weeks, broken nights never."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from flows import fitting
from flows.adapters.database import Database
from flows.adapters.settings import Settings
from flows.adapters.source_reader import read_sources
from flows.artefact_checks import segments_of
from flows.commands.data import load_simulated_crm
from flows.data_facts import data_facts, differences, night_rows
from flows.dataset import History, history
from flows.evaluation import evaluate
from flows.fitting import fit_one
from flows.gate import Evidence, GateDecision, decide
from flows.lead_model import LabelDefinition, LeadModel, TrainingRange
from flows.leakage import LeakageReport
from flows.newest_labels import newest_labels
from flows.progress import Progress
from flows.recipes import RECIPES
from pkboost_core.metrics import log_loss
from simulator import Drift, SimulationConfig

END = date(2026, 11, 6)
CHANGE = END - timedelta(days=158)
WEEKS_TO_FOLLOW = 8
SOFT = RECIPES["soft"]
QUICK = {"learning_rate": 0.2, "n_estimators": 25, "max_leaf_nodes": 7, "colsample": 0.2, "subsample": 0.5}


@pytest.fixture(scope="module", autouse=True)
def _quick_boosters():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "BOOSTER", QUICK)
        yield


@pytest.fixture(scope="module")
def past(database: Database) -> History:
    """Every weekly snapshot of a CRM whose attributes and touches come to mean something else."""
    drift = Drift("concept", CHANGE, 0.8)
    load_simulated_crm(
        database, SimulationConfig(n_leads=3_000, months=18, end=END, seed=5, drift=drift), Progress()
    )
    return history(read_sources(database, END)[0], END, Settings(train_window_days=600))


def known(past: History, night: date) -> History:
    return replace(past, as_of=night, curve=None)


def model(past: History, night: date) -> LeadModel:
    settings = Settings()
    rows = past.known_at(night, SOFT, settings)
    fit = fit_one(rows, SOFT, settings)
    days = rows.snapshot_dates
    learnt = TrainingRange(night, days.min().item(), days.max().item(), len(rows.y), rows.n_positives)
    label = LabelDefinition(settings.horizon_days, settings.reporting_lag_days, "")
    return LeadModel(fit.booster, fit.encoding, label, learnt)


def open_on(past: History, night: date) -> pl.DataFrame:
    return past.frame.filter(pl.Series(past.labels.snapshots == np.datetime64(night, "D")))


def judged(past: History, champion: LeadModel, facts, night: date) -> tuple[LeadModel, GateDecision]:
    """Refit the champion's recipe and put it before the gate, with what the old one was worth of late."""
    rows = night_rows(known(past, night), Settings(), open_on(past, night))
    challenger, leads = model(past, night), rows.open_leads
    newest = rows.snapshots == rows.snapshots.max()
    settled = rows.mature.filter(pl.Series(newest))
    p = champion.predict_proba(settled.select(champion.encoding.names))
    evidence = Evidence(
        night,
        evaluate(rows.y[newest], p, settled["lead_id"].to_numpy(), "the newest mature week", 0),
        LeakageReport(False, None),
        challenger.predict_proba(leads.select(challenger.encoding.names)),
        champion.predict_proba(leads.select(champion.encoding.names)),
        segments_of(leads),
        differences(facts, rows),
        newest=newest_labels(known(past, night), champion, challenger),
    )
    return challenger, decide(evidence, has_champion=True)


@pytest.fixture(scope="module")
def before(past):
    """The last night of the old world: champion and facts."""
    days = np.unique(past.labels.snapshots).astype(date)
    night = max(day for day in days if day < CHANGE)
    rows = night_rows(known(past, night), Settings(), open_on(past, night))
    return night, model(past, night), data_facts(rows)


def test_refits_that_follow_the_world_are_promoted_within_eight_weeks(past, before):
    night, champion, facts = before
    old, refusals = champion, []
    for week in range(2, WEEKS_TO_FOLLOW + 1, 2):
        then = night + timedelta(weeks=week)
        challenger, decision = judged(past, champion, facts, then)
        refusals += decision.reasons
        if decision.is_promoted:
            champion, facts = (
                challenger,
                data_facts(night_rows(known(past, then), Settings(), open_on(past, then))),
            )
    assert champion is not old, refusals
    later = (past.labels.snapshots >= np.datetime64(then, "D")) & past.labels.is_mature(END)
    y, frame = past.labels.is_won(END)[later], past.frame.filter(pl.Series(later))
    was, became = (
        log_loss(y.astype(float), one.predict_proba(frame.select(one.encoding.names)))
        for one in (old, champion)
    )
    assert became < 0.9 * was


@pytest.mark.parametrize("is_flipped", [False, True], ids=["open leads won", "early wins flipped"])
def test_wins_of_the_newest_weeks_that_are_made_up_are_told(past, before, is_flipped):
    """A model that learns from open leads fits them: only the past at the same age speaks against them."""
    night, _, facts = before
    then = night + timedelta(weeks=4)
    labels = past.labels
    elapsed, is_open = (
        labels.elapsed(then),
        ~labels.is_settled(then) & (labels.snapshots < np.datetime64(then)),
    )
    days = np.where(is_open, elapsed / 2, labels.win_days)
    if is_flipped:
        days = np.where(labels.is_won(then) & ~labels.is_mature(then), np.inf, days)
    broken = replace(past, labels=replace(labels, win_days=days))
    rows = night_rows(known(broken, then), Settings(), open_on(past, then))
    (said,) = differences(facts, rows)
    assert "early wins" in said


def test_the_champion_may_be_old_and_broken_data_still_show(past, before):
    """Five months after the change the past is as it was, unless tonight's data say otherwise."""
    night, _, facts = before
    then = night + timedelta(weeks=20)
    rows = night_rows(known(past, then), Settings(), open_on(past, then))
    assert differences(facts, rows) == []
    assert differences(facts, replace(rows, y=1 - rows.y))
    assert differences(facts, replace(rows, mature=rows.mature[::2], y=rows.y[::2]))
    empty = rows.mature.with_columns(lead_source=pl.lit(None, rows.mature.schema["lead_source"]))
    assert differences(facts, replace(rows, mature=empty))
