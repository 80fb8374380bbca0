"""Training: the backtest knows nothing of its future; real exports raise the alarm only when they leak."""

import os
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.sources import Datetime, midnight
from features.spine import KEYS, spine
from flows import fitting
from flows.adapters.database import Database
from flows.adapters.importer import import_files
from flows.adapters.settings import Settings
from flows.adapters.source_reader import read_sources
from flows.backtest import origins
from flows.dataset import History, history, scoring_set, training_set
from flows.fitting import fit_recipe
from flows.lead_model import LabelDefinition
from flows.recipes import BUCKETS, MATURE, RECIPES, REPAIR_DAYS, REPAIRED, SOFT, Recipe
from flows.score_mapping import ScoreMapping
from flows.scoring import score_open_leads
from flows.training import newest_cohort, train
from pkboost_core.adaptation import adapt
from tests.features.worlds import at, day, sources
from tests.flows.late_crm import SETTINGS, crm

DATA = Path(os.environ.get("LEADSCORE_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))
EXPORT = DATA / "xeducation" / "Leads.csv"
LEAKS = {"Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable Activity"} | {
    f"Asymmetrique {what}" for what in ("Activity Index", "Profile Index", "Activity Score", "Profile Score")
}


@pytest.fixture(scope="module")
def past() -> History:
    """Three hundred leads over 200 days, a third of them won, some wins known weeks late."""
    return history(crm(300), day(300), SETTINGS)


def test_the_backtest_trains_on_what_was_known_when_its_cohort_began(past: History):
    for recipe in (MATURE, SOFT):
        cohort, before, protocol = newest_cohort(past, recipe, SETTINGS)
        first = cohort.frame["snapshot_date"].min()
        known = training_set(crm(300), first, SETTINGS, recipe)
        assert cohort.frame["snapshot_date"].max() == past.as_of - SETTINGS.maturity
        assert first == past.as_of - SETTINGS.maturity - timedelta(days=21)
        assert before.as_of == first
        assert str(first) in protocol
        # the same rows and labels as training on that very day would have made
        assert before.frame.select(KEYS).equals(known.frame.select(KEYS))
        np.testing.assert_array_equal(before.y, known.y)
        np.testing.assert_array_equal(before.open_odds, known.open_odds)


@pytest.mark.parametrize("recipe", [MATURE, SOFT], ids=lambda recipe: recipe.name)
def test_every_origin_of_a_backtest_has_a_whole_training_window(recipe: Recipe):
    brief = SETTINGS.model_copy(update={"train_window_days": 56})
    past = history(crm(600), day(300), brief)
    days = origins(past, brief)
    assert len(days) == 8
    for origin in (days[0], days[-1]):
        found, known = past.known_at(origin, recipe, brief), training_set(crm(600), origin, brief, recipe)
        assert found.frame.equals(known.frame)
        np.testing.assert_array_equal(found.y, known.y)
        np.testing.assert_array_equal(found.open_odds, known.open_odds)
    assert (known.open_odds > 0).any() == (recipe is SOFT)
    tonight = past.known_at(past.as_of, recipe, brief)
    assert tonight.frame["snapshot_date"].min() > past.as_of - brief.maturity - timedelta(days=56)


def test_rows_of_leads_that_had_ended_unknown_to_the_night_are_dropped_once_that_is_known(past: History):
    rows = past.known_at(past.as_of, MATURE, SETTINGS)
    days = rows.frame["snapshot_date"].unique().to_list()
    ended = crm(300).outcome.group_by("lead_id").agg(pl.col("outcome_at").min())
    expected = (
        spine(crm(300), days, max_age_days=SETTINGS.max_lead_age_days)
        .join(ended, on="lead_id", how="left", maintain_order="left")
        .filter(~(pl.col("outcome_at") < pl.col("snapshot_date").cast(Datetime)).fill_null(False))
        .drop("outcome_at")
    )
    assert rows.frame.select(KEYS).equals(expected)
    assert past.labels.is_void(past.as_of).sum() > past.labels.is_void(day(200)).sum() > 0


def test_mature_labels_are_those_of_the_label_window(past: History):
    rows = past.known_at(past.as_of, MATURE, SETTINGS)
    wins = crm(300).outcome.filter(pl.col("is_conversion") & (pl.col("known_at") < midnight(past.as_of)))
    won_at = rows.frame.join(
        wins.group_by("lead_id").agg(pl.col("outcome_at").min()),
        on="lead_id",
        how="left",
        maintain_order="left",
    )["outcome_at"]
    start = rows.frame["snapshot_date"].cast(Datetime)
    expected = ((won_at >= start) & (won_at < start + timedelta(days=60))).fill_null(False)
    assert rows.frame["snapshot_date"].max() + timedelta(days=70) <= past.as_of
    np.testing.assert_array_equal(rows.y, expected.to_numpy())
    assert 0 < rows.n_positives < len(rows.y)
    assert not rows.open_odds.any()


def test_soft_labels_add_settled_and_open_rows_of_the_weeks_since(past: History):
    mature, soft = (past.known_at(past.as_of, recipe, SETTINGS) for recipe in (MATURE, SOFT))
    newer = soft.snapshot_dates > mature.snapshot_dates.max()
    is_open = soft.open_odds > 0
    assert (~newer).sum() == len(mature.y)
    assert is_open[newer].any()
    assert not is_open[~newer].any()
    assert not soft.y[is_open].any()
    assert soft.y[newer].sum() > 0
    age = (np.datetime64(past.as_of, "D") - soft.snapshot_dates).astype(int)
    assert soft.open_odds[is_open & (age > 40)].mean() < soft.open_odds[is_open & (age < 20)].mean()


def test_too_few_wins_for_a_delay_curve_leave_mature_labels_alone():
    few = history(crm(120), day(150), SETTINGS)
    assert few.labels.is_won(few.as_of).sum() == 50
    assert few.curve is None
    soft, mature = (few.known_at(few.as_of, recipe, SETTINGS) for recipe in (SOFT, MATURE))
    assert soft.frame.equals(mature.frame)
    assert not soft.open_odds.any()


def test_a_window_counts_from_the_newest_mature_snapshot_and_keeps_what_is_newer(past: History):
    for labels in ("mature", "soft"):
        rows = past.known_at(past.as_of, Recipe("short", labels, window_days=28), SETTINGS)
        newest_mature = past.as_of - SETTINGS.maturity
        assert rows.frame["snapshot_date"].min() == newest_mature - timedelta(days=21)
        assert (rows.frame["snapshot_date"].max() > newest_mature) == (labels == "soft")


def test_a_history_refuses_days_and_rows_that_it_does_not_hold(past: History):
    with pytest.raises(ValueError, match="does not know what was known on"):
        past.known_at(past.as_of + timedelta(days=1), MATURE, SETTINGS)
    mature = history(crm(300), past.as_of, SETTINGS, only_mature=True)
    with pytest.raises(ValueError, match="recipe 'soft' needs rows without features"):
        mature.known_at(past.as_of, SOFT, SETTINGS)


@pytest.mark.parametrize(
    "recipe", [MATURE, SOFT, BUCKETS, *REPAIRED, RECIPES["soft-half-life-60d"]], ids=lambda r: r.name
)
def test_every_recipe_finds_what_makes_leads_convert(past: History, recipe: Recipe):
    first = past.as_of - timedelta(days=35)
    fitted = fit_recipe(past.known_at(first, recipe, SETTINGS), recipe, SETTINGS)
    newest = past.frame.filter(pl.col("snapshot_date") == past.frame["snapshot_date"].max())
    p = fitted.probabilities(newest)
    is_web = (newest["lead_source"] == "web").to_numpy()
    assert p[is_web].min() > 2 * p[~is_web].max()
    assert ((p > 0) & (p < 1)).all()


def test_a_repair_starts_from_a_model_of_older_rows_and_learns_from_the_rest(past: History, monkeypatch):
    seen = []

    def spy(booster, X, y, groups):
        seen.append((booster, set(groups), len(y)))
        return adapt(booster, X, y, groups=groups)

    monkeypatch.setattr(fitting, "adapt", spy)
    rows = past.known_at(past.as_of, MATURE, SETTINGS)
    fit_recipe(rows, RECIPES["repair"], SETTINGS)
    older = rows.snapshot_dates <= rows.snapshot_dates.max() - np.timedelta64(REPAIR_DAYS, "D")
    ((base, leads, n_newer),) = seen
    by_lead = rows.frame.filter(pl.col("lead_id").is_in(leads))
    assert n_newer == by_lead.height > 0
    assert not leads & set(rows.where(older).frame["lead_id"]), "their conversions are learnt already"
    assert leads | set(rows.where(older).frame["lead_id"]) == set(rows.frame["lead_id"])
    expected = fit_recipe(rows.where(older), MATURE, SETTINGS)
    np.testing.assert_array_equal(base.ensemble_.nodes, expected.booster.ensemble_.nodes)


def test_a_lead_of_which_nothing_is_known_has_the_base_rate_of_the_model_not_of_an_inherited_mapping():
    known, night, alone = crm(200), day(300), SETTINGS.model_copy(update={"n_threads": 1})
    inherited = ScoreMapping("odds-of-long-ago", 0.9)
    model = train(known, night, alone, LabelDefinition(60, 10, ""), "", inherited, MATURE).model
    blank = {"lead_id": "blank", "created_at": at(297), "known_at": at(297)}
    lead = pl.concat([known.lead, sources(lead=[blank]).lead])
    known = replace(known, lead=lead)
    leads = scoring_set(known, night, SETTINGS, model.encoding.attr_kinds)
    scores = score_open_leads(model, leads, known, night, "2", midnight(night))
    row = scores.row(by_predicate=pl.col("lead_id") == "blank", named=True)
    assert (row["tier"], row["mapping_version"]) == ("pooled_prior", "odds-of-long-ago")
    assert row["probability"] == training_set(known, night, SETTINGS).y.mean() < 0.5
    older = replace(model, recipe={k: v for k, v in model.recipe.items() if k != "base_rate"})
    scores = score_open_leads(older, leads, known, night, "1", midnight(night))
    assert scores.filter(pl.col("lead_id") == "blank")["probability"].item() == 0.9


def test_buckets_are_not_published(past: History):
    with pytest.raises(ValueError, match="'buckets' can be compared but not published"):
        train(crm(300), past.as_of, SETTINGS, LabelDefinition(60, 10, ""), "", None, BUCKETS)


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
