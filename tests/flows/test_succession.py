"""After the gate: arriving labels take a worse champion back; a challenger waits in the shadow."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from flows import fitting, promotion
from flows.adapters import decisions
from flows.adapters.decisions import Decision, Pair
from flows.adapters.registry import open_registry
from flows.adapters.run_files import RunRecord
from flows.adapters.source_reader import read_sources
from flows.champion import Champion
from flows.dataset import History, history, scoring_set
from flows.fitting import fit_one
from flows.lead_model import LeadModel, TrainingRange
from flows.night import Night
from flows.progress import Progress
from flows.recipes import MATURE, SOFT
from flows.succession import end_of_shadow, judge_pair, review
from simulator import SimulationConfig
from tests.flows.monitored_world import file_scores

CLOCK = SimulationConfig().end
QUICK = {"learning_rate": 0.2, "n_estimators": 25, "max_leaf_nodes": 7, "colsample": 0.2, "subsample": 0.5}
SINCE = CLOCK - timedelta(days=170)


@pytest.fixture(scope="module", autouse=True)
def _quick_boosters():
    """Small models: what is tested here is who is compared with whom."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "BOOSTER", QUICK)
        yield


@pytest.fixture(scope="module")
def sources(simulated):
    return read_sources(simulated, CLOCK)[0]


@pytest.fixture(scope="module")
def past(settings, sources) -> History:
    return history(sources, CLOCK, settings)


@pytest.fixture(scope="module")
def good(settings, simulated, past) -> LeadModel:
    """A model of the day of the promotion; it knows nothing of the weeks that are judged."""
    rows = past.known_at(SINCE, MATURE, settings)
    fit = fit_one(rows, MATURE, settings)
    days = rows.snapshot_dates
    learnt = TrainingRange(SINCE, days.min().item(), days.max().item(), len(rows.y), rows.n_positives)
    label = Night(settings, simulated, Progress(), open_registry(settings, simulated), CLOCK).label
    return LeadModel(
        fit.booster, fit.encoding, label, learnt, {"recipe": MATURE.as_dict()}, delay_curve=past.curve
    )


@pytest.fixture(scope="module")
def bad(settings, past, good) -> LeadModel:
    """The same, fitted on labels that were shuffled and too many."""
    rows = past.known_at(SINCE, MATURE, settings)
    y = np.random.default_rng(0).permutation(rows.y) + (np.random.default_rng(1).random(len(rows.y)) < 0.15)
    shuffled = replace(rows, y=np.minimum(y, 1.0))
    return replace(good, booster=fit_one(shuffled, MATURE, settings).booster)


@pytest.fixture
def night(settings, simulated, request):
    own = settings.model_copy(
        update={"model_name": request.node.name[:50], "model_key": request.node.name[:50]}
    )
    return Night(own, simulated, Progress(), open_registry(own, simulated), CLOCK)


@pytest.fixture(scope="module")
def weeks(settings, sources, good) -> dict[date, pl.DataFrame]:
    """Keys and features of the leads open on the days that are judged."""
    days = (SINCE + timedelta(days=7 * week) for week in range(21))
    return {day: scoring_set(sources, day, settings, good.encoding.attr_kinds) for day in days}


def publish(night: Night, weeks: dict[date, pl.DataFrame], model: LeadModel) -> None:
    """File what a model says on each of the days as the scores of that day."""
    for day, frame in weeks.items():
        p = model.probabilities(frame)
        file_scores(night.database, night.settings.model_key, day, frame["lead_id"].to_list(), p)


def champions(night: Night, *models: LeadModel) -> list[int]:
    """Promote models one after the other on the day from which they are watched."""
    versions: list[int] = []
    for model in models:
        version = night.registry.log_run(model, RunRecord("x", {}, {}, "0" * 64)).version
        before = versions[-1] if versions else None
        decision = Decision(SINCE, "by_hand", "promote", "in_force", "test", before, version)
        promotion.promote(night.database, night.registry, night.settings.model_key, decision)
        versions.append(version)
    return versions


def test_arriving_labels_take_a_worse_champion_back(night, sources, good, bad, weeks):
    first, second = champions(night, good, bad)
    publish(night, weeks, bad)
    for _ in range(2):
        found = review(night, sources, Champion(bad, night.registry.show(second)))
        assert found.version.version == first
        assert night.registry.get("champion").version == second, "its scores are still to come"
        said = promotion.repair(night.database, night.registry, night.settings.model_key)
        assert "never published" in said, "a night that dies here leaves it to the next one"
    found = review(night, sources, Champion(bad, night.registry.show(second)))
    promotion.settle(night.database, night.registry, night.settings.model_key, found.promotion)
    assert night.registry.get("champion").version == first
    assert decisions.pair_of(night.database, night.settings.model_key, "roll_back") is None
    last = decisions.newest(night.database, night.settings.model_key)[0]
    assert (last.kind, last.state, last.champion_before, last.champion_after) == (
        "roll_back",
        "done",
        second,
        first,
    )
    assert last.inputs["statistic"] >= 20
    assert decisions.last_roll_back(night.database, night.settings.model_key) == CLOCK
    assert "loses" in night.warnings[0]


def test_a_better_champion_stays_and_no_week_is_counted_twice(night, sources, good, bad, weeks):
    _, second = champions(night, bad, good)
    publish(night, weeks, good)
    found = review(night, sources, Champion(good, night.registry.show(second)))
    assert found.version.version == second
    pair = decisions.pair_of(night.database, night.settings.model_key, "roll_back")
    assert pair.e_value < 1
    assert pair.state["wealth"]["n"] >= 15
    again, reading = judge_pair(night, sources, pair, bad, good.delay_curve)
    assert (again, reading) == (pair, None)


def test_a_refit_that_has_learnt_the_outcomes_saves_no_promotion_that_was_bad(
    night, settings, sources, past, good, bad, weeks
):
    first, _ = champions(night, good, bad)
    rows = past.known_at(CLOCK, SOFT, settings)
    learnt = replace(good, booster=fit_one(rows, SOFT, settings).booster)
    refit = night.registry.log_run(learnt, RunRecord("x", {}, {}, "0" * 64)).version
    due = Decision(SINCE + timedelta(days=90), "nightly", "promote", "in_force", "due", first + 1, refit)
    promotion.promote(night.database, night.registry, night.settings.model_key, due)
    publish(night, weeks, bad)
    found = review(night, sources, Champion(learnt, night.registry.show(refit)))
    assert found.version.version == first


def test_only_nights_with_published_scores_are_judged(night, sources, good, bad):
    _, second = champions(night, good, bad)
    assert review(night, sources, Champion(bad, night.registry.show(second))).version.version == second
    assert decisions.pair_of(night.database, night.settings.model_key, "roll_back").e_value == 1


def other_columns(model: LeadModel) -> LeadModel:
    """The model of a release that had another feature."""
    names = tuple("activity_gone_30d" if n == "lead_age_days" else n for n in model.encoding.names)
    return replace(model, encoding=replace(model.encoding, names=names))


@pytest.mark.parametrize("gone", ["its columns", "its version"])
def test_a_champion_before_that_cannot_come_back_is_watched_no_more(night, sources, good, gone):
    first, second = champions(night, other_columns(good) if gone == "its columns" else good, good)
    if gone == "its version":
        night.registry._client.delete_model_version(night.registry.model_name, str(first))
    found = review(night, sources, Champion(good, night.registry.show(second)))
    assert found.version.version == second
    assert decisions.pair_of(night.database, night.settings.model_key, "roll_back") is None
    assert f"version {first}" in night.warnings[0]


def test_refits_of_one_recipe_go_on_with_the_evidence(night, good):
    first, second, third = champions(night, good, good, good)
    key = night.settings.model_key
    decisions.keep_pair(night.database, key, "roll_back", Pair(third, first, SINCE, {"x": 1}, 7.0))
    refit = Decision(CLOCK, "nightly", "promote", "in_force", "due", third, second)
    late = replace(refit, as_of=SINCE + timedelta(days=30))
    promotion.promote(night.database, night.registry, key, late)
    assert decisions.pair_of(night.database, key, "roll_back") == Pair(second, first, SINCE, {"x": 1}, 7.0)
    promotion.promote(
        night.database, night.registry, key, replace(refit, champion_before=second, challenger=third)
    )
    assert decisions.pair_of(night.database, key, "roll_back") == Pair(third, second, CLOCK)


def in_shadow(night: Night, champion: int, model: LeadModel, days: int) -> int:
    version = night.registry.log_run(model, RunRecord("x", {}, {}, "0" * 64)).version
    decision = Decision(
        CLOCK - timedelta(days=days),
        "search",
        "shadow",
        "shadow",
        "test",
        champion,
        version,
        is_new_recipe=True,
    )
    promotion.refuse(night.database, night.registry, night.settings.model_key, decision, decisions.SHADOW)
    return version


def test_a_challenger_takes_over_after_seven_days_in_the_shadow(night, sources, good):
    key = night.settings.model_key
    (first,) = champions(night, good)
    champion = Champion(good, night.registry.show(first))
    version = in_shadow(night, first, good, days=6)
    assert end_of_shadow(night, night.open_leads(sources), champion) is None
    kept = decisions.pair_of(night.database, key, "shadow").state
    assert kept[CLOCK.isoformat()]["top_overlap"] == 1.0
    night.as_of = CLOCK + timedelta(days=1)
    night.integrity = ("lead: no rows",)
    assert end_of_shadow(night, night.open_leads(sources), champion) is None, "not on a night of broken data"
    night.integrity = ()
    found = end_of_shadow(night, night.open_leads(sources), champion)
    assert found.version.version == version
    assert promotion.repair(night.database, night.registry, key), "a night that dies here"
    assert decisions.in_state(night.database, key, "shadow").challenger == version, "its turn comes again"
    found = end_of_shadow(night, night.open_leads(sources), champion)
    promotion.settle(night.database, night.registry, key, found.promotion)
    assert night.registry.get("champion").version == version
    assert decisions.last_recipe_change(night.database, key) == CLOCK - timedelta(days=6)
    watched = decisions.pair_of(night.database, key, "roll_back")
    assert watched == Pair(version, first, CLOCK + timedelta(days=1)), "from its first scores on"


def test_nobody_leaves_the_shadow_within_fourteen_days_of_a_roll_back(night, sources, good):
    key = night.settings.model_key
    (first,) = champions(night, good)
    version = in_shadow(night, first, good, days=8)
    champion, day = Champion(good, night.registry.show(first)), CLOCK - timedelta(days=13)
    decisions.record(night.database, key, Decision(day, "roll_back", "promote", "done", "worse", None, first))
    assert end_of_shadow(night, night.open_leads(sources), champion) is None
    night.as_of = CLOCK + timedelta(days=1)
    assert end_of_shadow(night, night.open_leads(sources), champion).version.version == version


def test_a_challenger_that_sales_could_not_be_shown_leaves_the_shadow(night, sources, good, bad):
    (first,) = champions(night, good)
    version = in_shadow(night, first, bad, days=7)
    champion = Champion(good, night.registry.show(first))
    assert end_of_shadow(night, night.open_leads(sources), champion) is None
    last = decisions.newest(night.database, night.settings.model_key)[0]
    assert (last.challenger, last.state, last.champion_after) == (version, "refused", first)
    assert "failed in the shadow" in night.warnings[0]


@pytest.mark.parametrize("gone", ["its columns", "its version"])
def test_a_challenger_that_cannot_score_leaves_the_shadow(night, sources, good, gone):
    (first,) = champions(night, good)
    version = in_shadow(night, first, other_columns(good) if gone == "its columns" else good, days=7)
    if gone == "its version":
        night.registry._client.delete_model_version(night.registry.model_name, str(version))
    champion = Champion(good, night.registry.show(first))
    assert end_of_shadow(night, night.open_leads(sources), champion) is None
    last = decisions.newest(night.database, night.settings.model_key)[0]
    assert (last.challenger, last.state) == (version, "refused")
    assert f"version {version}" in night.warnings[0]
