"""Past weeks judge the recipe by what came after; the figures reach SQL, MLflow, Prefect and the page."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows import fitting, leakage
from flows.adapters.evidence_table import evidence_on
from flows.adapters.registry import open_registry
from flows.cli import main
from flows.dataset import History, history
from flows.evidence_flow import run_evidence
from flows.evidence_section import render_evidence
from flows.floors import floor_rows
from flows.nightly import run_training
from flows.progress import Progress
from flows.recipes import MATURE, SOFT
from flows.rolling_evidence import pooled, rolling_cohorts, rolling_evidence
from simulator import SimulationConfig
from tests.features.worlds import day
from tests.flows.late_crm import SETTINGS, crm

CLOCK = SimulationConfig().end
QUICK = {"learning_rate": 0.2, "n_estimators": 25, "max_leaf_nodes": 7, "colsample": 0.5, "subsample": 0.5}
N = 400


@pytest.fixture(scope="module", autouse=True)
def _quick_boosters() -> Iterator[None]:
    """Small models, and no alarm that would refuse each of them: what is tested is the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "BOOSTER", QUICK)
        patch.setattr(leakage, "ALARM_ROC_AUC", 0.999)
        yield


@pytest.fixture(scope="module")
def past() -> History:
    return history(crm(N), day(290), SETTINGS)


@pytest.fixture(scope="module")
def cohorts(past: History):
    return rolling_cohorts(past, crm(N), MATURE, SETTINGS, 8)


def test_each_week_is_judged_by_what_is_known_today_of_the_leads_open_on_it(past, cohorts):
    assert list(cohorts) == [day(290) - SETTINGS.maturity - timedelta(days=7 * k) for k in range(8)][::-1]
    won = crm(N).outcome.filter("is_conversion")
    for origin, cohort in cohorts.items():
        within = won.filter(
            pl.col("outcome_at").dt.date() >= origin,
            pl.col("outcome_at").dt.date() < origin + timedelta(days=SETTINGS.horizon_days),
            pl.col("known_at").dt.date() < past.as_of,
        )["lead_id"]
        np.testing.assert_array_equal(cohort.y > 0, np.isin(cohort.leads, within.to_numpy()))
        ended = crm(N).outcome.filter(pl.col("outcome_at").dt.date() < origin)["lead_id"]
        assert not np.isin(cohort.leads, ended.to_numpy()).any()


def test_floors_learn_from_mature_rows_whatever_the_recipe_does(past: History, cohorts):
    origin = list(cohorts)[-1]
    soft = past.known_at(origin, SOFT, SETTINGS)
    mature = past.known_at(origin, MATURE, SETTINGS)
    learnt = floor_rows(past, origin, SOFT, SETTINGS)
    assert soft.open_odds.any()
    assert learnt.frame.equals(mature.frame)
    np.testing.assert_array_equal(learnt.y, mature.y)


def test_an_origin_does_not_depend_on_anything_learnt_after_it(past: History, cohorts):
    """A week later more labels are known: the scores that it would have given on its day stay as they are."""
    last = list(cohorts)[-1]
    later = history(crm(N), day(297), SETTINGS)
    again = rolling_cohorts(later, crm(N), MATURE, SETTINGS, 9)
    for name in ("p", "leads"):
        mine, theirs = getattr(cohorts[last], name), getattr(again[last], name)
        order, other = np.argsort(cohorts[last].leads), np.argsort(again[last].leads)
        np.testing.assert_array_equal(mine[order], theirs[other])


def test_weeks_together_are_all_their_leads_and_calls_are_chosen_week_by_week(cohorts):
    whole = pooled(cohorts)
    assert len(whole.y) == sum(len(cohort.y) for cohort in cohorts.values())
    found = rolling_evidence(cohorts, seed=1)
    assert set(found) == {"all", *map(str, cohorts)}
    called = next(r for r in found["all"] if (r.measure, r.subject) == ("conversion_of_called", "score"))
    of_weeks = [
        next(r for r in found[str(origin)] if (r.measure, r.subject) == ("conversion_of_called", "score"))
        for origin in cohorts
    ]
    assert called.n_won == pytest.approx(sum(row.n_won for row in of_weeks), abs=0.01)
    at_random = next(r for r in found["all"] if (r.measure, r.subject) == ("gain_over", "at random"))
    assert at_random.verdict == "better"  # who comes by the web converts, and nobody else


def test_another_way_to_score_stands_beside_the_floors(past: History, cohorts):
    def as_the_source_says(history, origin, settings, rows):
        return np.where(history.frame.filter(rows)["lead_source"] == "web", 0.9, 0.1)

    beside = rolling_cohorts(past, crm(N), MATURE, SETTINGS, 8, {"by hand": as_the_source_says})
    whole = pooled(beside)
    np.testing.assert_array_equal(whole.floors["by hand"] > 0.5, whole.floors["source only"] > 0.3)


def test_too_little_history_is_told(past: History):
    with pytest.raises(ValueError, match="history allows 0 weekly origins; 8 are needed"):
        rolling_cohorts(replace(past, as_of=day(60)), crm(N), MATURE, SETTINGS, 8)


@pytest.fixture(scope="module")
def measured(settings, simulated):
    """A champion, and its recipe's evidence over eight weeks."""
    run_training(settings, simulated, CLOCK, Progress())
    return run_evidence(settings, simulated, CLOCK, 8, Progress())


def test_the_figures_are_filed_in_sql_mlflow_and_prefect(settings, database, measured):
    rows = evidence_on(database, settings.model_key, measured["model_version"])
    assert len({row["origin"] for row in rows}) == 1 + 1 + 8
    stored = {(r["measure"], r["subject"]): r["value"] for r in rows if r["origin"] == "all"}
    told = {(r["measure"], r["subject"]): r["value"] for r in measured["origins"]["all"]}
    assert stored == told
    registry = open_registry(settings, database)
    version = registry.show(int(measured["model_version"]))
    metric = "conversion_of_called_score"
    assert version.metrics[f"rolling_{metric}"] == pytest.approx(told["conversion_of_called", "score"])
    assert version.metrics[metric] != version.metrics[f"rolling_{metric}"]
    with get_client(sync_client=True) as client:
        key = ArtifactFilterKey(any_=["rolling-evidence"])
        shown = client.read_artifacts(artifact_filter=ArtifactFilter(key=key))[0]
    assert len(json.loads(shown.data)) == sum(row["origin"] != "newest" for row in rows)


def test_the_page_shows_the_newest_cohort_and_past_weeks(settings, database, measured):
    rows = evidence_on(database, settings.model_key, measured["model_version"])
    page = render_evidence(rows)
    assert page.count("What calling by score brings") == 1
    assert "Week after week" in page
    assert "Measured on 8 weeks from" in page
    later = evidence_on(database, settings.model_key, "99")  # not measured itself: the newest weeks are shown
    assert {row["origin"] for row in later} == {row["origin"] for row in rows} - {"newest"}
    assert "Week after week" in render_evidence(later)


def test_the_command_refuses_too_few_weeks(capsys: pytest.CaptureFixture[str]):
    assert main(["evidence", "--origins", "3"]) == 2
    assert "--origins 3 should be at least 8" in capsys.readouterr().err
