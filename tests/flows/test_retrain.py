"""A search out of cycle on real parts: every candidate on the same origins, one decision, one champion."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial

import numpy as np
import polars as pl
import pytest
from psycopg.rows import dict_row

from flows import fitting, gate, leakage, nightly, search
from flows.adapters import decisions
from flows.adapters.drift_table import replace_readings
from flows.adapters.page_table import open_pages
from flows.adapters.publisher import PublicationRefusedError
from flows.adapters.registry import CHALLENGER, open_registry
from flows.adapters.source_reader import read_sources
from flows.backtest import backtest, best, of_recipe, origins
from flows.dataset import history
from flows.monitors.reading import Reading
from flows.night import Night
from flows.nightly import run_nightly, run_scoring, run_training
from flows.progress import Progress
from flows.recipes import MATURE, SOFT, Recipe, recipe_named, recipe_of
from flows.retrain import run_retraining
from flows.watch_failure import tell_of_failure
from pkboost_core.adaptation import adapt
from simulator import SimulationConfig
from tests.flows.test_monitor import events_of

CLOCK = SimulationConfig().end
QUICK = {"learning_rate": 0.2, "n_estimators": 25, "max_leaf_nodes": 7, "colsample": 0.2, "subsample": 0.5}


@pytest.fixture(scope="module", autouse=True)
def _quick_boosters():
    """Small models, and no alarm that would refuse each of them: what is tested is the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "BOOSTER", QUICK)
        patch.setattr(leakage, "ALARM_ROC_AUC", 0.999)  # the newest cohort of so small a CRM is easy
        yield


@pytest.fixture(scope="module")
def night(settings, simulated):
    return run_nightly(settings, simulated, CLOCK - timedelta(days=1), Progress())


@pytest.fixture(scope="module")
def past(settings, simulated):
    sources, _ = read_sources(simulated, CLOCK)
    return history(sources, CLOCK, settings)


@pytest.fixture(autouse=True)
def _no_earlier_decisions(database):
    yield
    with database.connect(autocommit=True) as connection:
        connection.execute("TRUNCATE scoring.decision, scoring.model_pair, scoring.report_drift")


def scores_in_force(database) -> set[str]:
    with database.connect() as connection:
        found = connection.execute("SELECT DISTINCT model_version FROM scoring.lead_score").fetchall()
    return {version for (version,) in found}


def test_origins_are_weekly_mature_today_and_could_be_trained_for(settings, past):
    days = origins(past, settings)
    assert len(days) == 8
    assert set(np.diff(days)) == {timedelta(days=7)}
    assert days[-1] == CLOCK - settings.maturity
    for day in days:
        known = past.known_at(day, MATURE, settings)
        assert known.snapshot_dates.max() <= np.datetime64(day - settings.maturity, "D")
        assert 0 < known.n_positives < len(known.y)


def test_no_origin_learns_from_what_came_after_it(settings, past):
    seen = []

    def spy(history, origin, single, rows):
        known = history.known_at(origin, MATURE, single)
        seen.append((origin, known.snapshot_dates.max()))
        return np.full(int(rows.sum()), known.y.mean())

    found = backtest(
        past, {"base rate": spy, "half": lambda h, o, s, rows: np.full(rows.sum(), 0.5)}, settings
    )
    assert len(seen) == 8
    assert all(newest <= np.datetime64(origin - settings.maturity, "D") for origin, newest in seen)
    assert best(found, "half", list(found.p)) == "base rate"
    assert best(found, "base rate", list(found.p)) is None
    comparison = found.compare("half", "base rate", seed=0)
    assert comparison.weeks == 8
    assert comparison.log_loss_gain_lower > 0.2


def test_threads_change_nothing(settings, past):
    tried = {"mature": of_recipe(MATURE), "90d": of_recipe(Recipe("90d", "mature", 90))}
    one = backtest(past, tried, settings.model_copy(update={"n_threads": 1}))
    two = backtest(past, tried, settings.model_copy(update={"n_threads": 2}))
    for name in tried:
        for day in one.origins:
            np.testing.assert_array_equal(one.p[name][day], two.p[name][day])


def test_short_history_is_told(settings, simulated):
    sources, _ = read_sources(simulated, CLOCK)
    brief = settings.model_copy(update={"train_window_days": 28})
    with pytest.raises(ValueError, match=r"history allows \d weekly origins; 8 are needed"):
        backtest(history(sources, CLOCK, brief, n_origins=1), {"mature": of_recipe(MATURE)}, brief)


def test_a_search_records_its_candidates_and_rests_for_a_week(settings, simulated, night, monkeypatch):
    few = [Recipe("mature-90d", "mature", 90), MATURE]
    monkeypatch.setattr(search, "candidates", lambda _: few)
    found = run_retraining(settings, simulated, CLOCK, "T3 early wins", Progress())
    assert found["verdict"] in {"refuse", "shadow"}, "a new recipe runs in the shadow first"
    assert found["champion"] == int(night["model_version"])
    assert len(found["search"]["origins"]) == 8
    assert 0 < found["peak_rss_mb"] < 2_048
    assert {"mature", "mature-90d", settings.recipe} <= set(found["search"]["log_loss"])
    assert scores_in_force(simulated) == {night["model_version"]}
    stored = decisions.newest(simulated, settings.model_key, 1)[0]
    assert (stored.kind, stored.cause) == ("search", "T3 early wins")
    assert stored.inputs["search"]["log_loss"] == found["search"]["log_loss"]
    again = run_retraining(settings, simulated, CLOCK + timedelta(days=6), "T3 early wins", Progress())
    assert again["verdict"] == "rest"


def recorded(database) -> dict:
    """The newest run as it is recorded."""
    query = "SELECT * FROM scoring.score_run ORDER BY run_id DESC LIMIT 1"
    with database.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchone()


def test_a_promotion_whose_scores_are_refused_is_given_up(settings, simulated, night, monkeypatch):
    """The gate let it through; the publisher finds nine leads of ten converting."""
    champion, scored = night["model_version"], nightly.score_open_leads

    def inflated(*given):
        scores, is_champion = scored(*given), given[4] == champion
        return scores if is_champion else scores.with_columns(pl.col("probability") * 0.1 + 0.85)

    make_poor(monkeypatch, settings.recipe, [MATURE])
    monkeypatch.setattr(nightly, "score_open_leads", inflated)
    at_once = settings.model_copy(update={"shadow_days": 0})
    found = run_retraining(at_once, simulated, CLOCK, "refused", Progress())
    assert (found["verdict"], found["state"]) == ("promote", "abandoned")
    assert "scores failed their checks" in found["reasons"][0]
    assert "is not promoted: scores failed their checks" in found["warnings"][-1]
    assert str(found["champion"]) == champion
    assert str(open_registry(settings, simulated).get("champion").version) == champion
    assert scores_in_force(simulated) == {champion}
    assert (recorded(simulated)["state"], recorded(simulated)["as_of_date"]) == ("published", CLOCK)
    monkeypatch.setattr(nightly, "score_open_leads", lambda *given: inflated(*given[:4], "x", *given[5:]))
    with pytest.raises(PublicationRefusedError):
        run_retraining(at_once, simulated, CLOCK, "both refused", Progress())
    assert recorded(simulated)["state"] == "failed"
    assert scores_in_force(simulated) == {champion}


def make_poor(monkeypatch, champion: str, others: list[Recipe]) -> None:
    """Make the champion's recipe look poor beside others; everything after the backtest is as always."""

    def poor(history, origin, single, rows):
        return np.full(int(rows.sum()), 0.3)

    monkeypatch.setattr(search, "candidates", lambda _: others)
    monkeypatch.setattr(search, "of_recipe", lambda one: poor if one.name == champion else of_recipe(one))


def test_a_better_candidate_takes_over_with_its_scores(settings, simulated, night, monkeypatch):
    make_poor(monkeypatch, settings.recipe, [MATURE])
    at_once = settings.model_copy(update={"shadow_days": 0})
    found = run_retraining(at_once, simulated, CLOCK, "by hand", Progress())
    assert (found["verdict"], found["state"], found["reasons"]) == ("promote", "done", [])
    assert found["recipe"]["name"] == "mature" != settings.recipe
    registry = open_registry(settings, simulated)
    assert registry.get("champion").version == found["challenger"]
    run = recorded(simulated)
    assert (run["state"], run["error"], run["model_version"]) == ("published", None, str(found["challenger"]))
    assert run["inputs"]["mlflow_run_id"] == registry.get("champion").run_id
    assert run["counts"]["n_scored"] > 0
    assert list((settings.root / "reports").glob(f"{CLOCK}-run{run['run_id']}.html"))
    assert scores_in_force(simulated) == {str(found["challenger"])}
    assert registry.get(CHALLENGER) is None or registry.get(CHALLENGER).version != found["challenger"]
    make_poor(monkeypatch, "mature", [SOFT])
    again = run_retraining(at_once, simulated, CLOCK, "by hand again", Progress())
    assert "no recipe change within 14 days" in again["reasons"]


def test_a_repair_is_a_recipe_that_refits_keep(settings, simulated, night, monkeypatch):
    repair = recipe_named("repair")
    monkeypatch.setattr(fitting, "adapt", partial(adapt, n_estimators=20, min_gain_errors=-100))
    registry = open_registry(settings, simulated)
    base = recipe_of(registry.load_champion()[0].recipe)
    make_poor(monkeypatch, base.name, [repair])
    found = run_retraining(settings, simulated, CLOCK + timedelta(days=1), "repair it", Progress())
    assert found["search"]["log_loss"]["repair"] < found["search"]["log_loss"][base.name]
    model = registry.load(found["challenger"])
    assert recipe_of(model.recipe) == repair
    assert "rows_per_lead" in model.recipe["evaluation_cohort"]


def test_a_text_in_a_column_of_numbers_stops_no_night(settings, simulated, monkeypatch):
    def with_budgets(database, as_of, one="12"):
        sources, set_aside = read_sources(database, as_of)
        texts = [json.dumps({"budget": i % 50 if i else one}) for i in range(sources.lead.height)]
        return replace(sources, lead=sources.lead.with_columns(attrs=pl.Series(texts))), set_aside

    few = {"model_name": "budgets", "model_key": "budgets", "snapshot_every_days": 21}
    own = settings.model_copy(update=few)
    monkeypatch.setattr(nightly, "read_sources", with_budgets)
    run_training(own, simulated, CLOCK - timedelta(days=1), Progress())
    first, _ = open_registry(own, simulated).load_champion()
    assert first.encoding.attr_kinds["budget"] == "numeric"
    monkeypatch.setattr(nightly, "read_sources", partial(with_budgets, one="n/a"))
    found = run_nightly(own, simulated, CLOCK, Progress())
    assert found["status"] == "published"
    assert any("the champion learnt attrs_budget" in warning for warning in found["warnings"])
    stored = decisions.newest(simulated, own.model_key, 1)[0]
    assert stored.inputs["comparison"] is stored.inputs["newest_labels"] is None


def plant_alarm(settings, database, day):
    """An alarm of T3 as its night would have left it; T3 has begun anew since."""
    words = "early wins are 40 % below what the model expects"
    fell = Reading("T3", "early wins fall", 300.0, 208.0, 2.5, True, -0.4, words)
    with database.connect() as connection:
        replace_readings(connection, settings.model_key, day, ["T3"], [fell])


def actions(settings, database):
    query = "SELECT as_of_date, action FROM scoring.report_drift WHERE monitor = 'T3' AND model_key = %s"
    with database.connect() as connection:
        return dict(connection.execute(query, [settings.model_key]).fetchall())


@pytest.fixture
def patient(settings):
    """No night is due for a refit: what is tested is the search."""
    return settings.model_copy(update={"retrain_every_days": 90})


def test_a_night_searches_for_an_alarm_that_nobody_answered(patient, simulated, night, monkeypatch):
    """The champion's recipe alone is tried, so that nothing beats it; the rest is as always."""
    base = open_registry(patient, simulated).load_champion()[0].recipe["recipe"]["name"]
    make_poor(monkeypatch, base, [])
    lost, forgotten = CLOCK - timedelta(days=10), CLOCK - timedelta(days=40)
    for day in (lost, forgotten):
        plant_alarm(patient, simulated, day)
    assert run_nightly(patient, simulated, CLOCK, Progress())["status"] == "published"
    (search,) = decisions.searches(simulated, patient.model_key, forgotten)
    assert (search.as_of, search.cause) == (CLOCK, "T3 early wins fall")
    assert search.inputs["said"].startswith("early wins are 40 % below")
    told = actions(patient, simulated)
    assert told[forgotten] == "asks for a search, pages", "four weeks are looked back"
    assert told[lost] == f"searched on {CLOCK}, refused: no candidate beats the champion's recipe"
    run_nightly(patient, simulated, CLOCK, Progress())
    assert len(decisions.searches(simulated, patient.model_key, forgotten)) == 1, "it is answered"
    assert actions(patient, simulated) == told


def test_a_search_that_fails_leaves_the_champion_and_stays_owed(patient, simulated, night, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr("flows.search.backtest", broken)
    lost = CLOCK - timedelta(days=3)
    plant_alarm(patient, simulated, lost)
    found = run_nightly(patient, simulated, CLOCK, Progress())
    assert (found["status"], found["is_retrained"]) == ("published", False)
    assert "the search for T3 early wins fall failed: ZeroDivisionError: no such luck" in found["warnings"]
    (search,) = decisions.searches(simulated, patient.model_key, lost)
    assert (search.state, search.checks) == ("refused", {"the search ran": False})
    assert search.reasons == ["the search failed: ZeroDivisionError: no such luck"]
    assert actions(patient, simulated)[lost] == (
        f"asks for a search, which rests: a search ran on {CLOCK}; the next one may run 7 days after it"
    )


def test_a_retraining_that_fails_is_told_until_a_search_comes_to_its_end(
    settings, simulated, night, monkeypatch
):
    own = settings.model_copy(update={"model_key": "told"})
    registry, cause = open_registry(own, simulated), "T3 early wins fall"

    def told():
        return [(page["cause"], page["words"]) for page in open_pages(simulated, own.model_key)]

    def retrained(cause):
        return run_retraining(own, simulated, CLOCK, cause, Progress())["verdict"]

    make_poor(monkeypatch, registry.load_champion()[0].recipe["recipe"]["name"], [])
    with monkeypatch.context() as patch:
        patch.setattr("flows.search.backtest", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            retrained(cause)
    failed = "retraining failed: ZeroDivisionError"
    assert told() == [(failed, f"the retraining of {CLOCK} failed: ZeroDivisionError: division by zero")]
    assert (retrained(cause), len(told())) == ("rest", 1)
    assert (retrained("by hand"), told()) == ("refuse", [])
    tell_of_failure(simulated, own, CLOCK, ZeroDivisionError(), "retraining")
    assert told() == [(failed, f"the retraining of {CLOCK} failed: ZeroDivisionError")]
    eager, later = own.model_copy(update={"search_rest_days": 0}), CLOCK + timedelta(days=1)
    plant_alarm(eager, simulated, later)
    living = Night(eager, simulated, Progress(), registry, later)
    search.search_for_alarms(living, read_sources(simulated, later)[0], living.champion)
    assert told() == [], "a night's own search does as well"


def test_where_an_automation_searches_it_is_asked_again(patient, simulated, night, prefect):
    lost = CLOCK - timedelta(days=3)
    elsewhere = patient.model_copy(update={"retrain_inline": False, "model_key": "elsewhere"})
    plant_alarm(elsewhere, simulated, lost)
    run_nightly(elsewhere, simulated, CLOCK, Progress())
    assert decisions.searches(simulated, "elsewhere", lost) == []
    told = events_of(prefect.api_url, "leadscore.model.elsewhere", 1, as_of=str(CLOCK))
    assert [one["payload"]["cause"] for one in told] == ["T3 early wins fall"]
    assert actions(elsewhere, simulated)[lost] == "asks for a search"


def test_monitors_have_one_search_a_week_between_them_and_people_theirs(settings, simulated, night):
    def searched(cause, day):
        decision = decisions.Decision(day, "search", "refuse", decisions.REFUSED, cause, 1, None)
        decisions.record(simulated, settings.model_key, decision)

    searched("by hand", CLOCK)
    assert decisions.last_search(simulated, settings.model_key) is None
    last = CLOCK - timedelta(days=6)
    searched("T2 loss", last)
    found = run_retraining(settings, simulated, CLOCK, "T3 early wins rise", Progress())
    assert found["verdict"] == "rest"
    assert found["reasons"] == [f"a search ran on {last}; the next one may run 7 days after it"]


@pytest.mark.parametrize("poison", ["flipped labels", "half the leads gone", "a null column", "cents"])
def test_a_poisoned_night_never_promotes(settings, simulated, night, monkeypatch, poison):
    def poisoned(database, as_of):
        sources, set_aside = read_sources(database, as_of)
        return _poison(sources, poison), set_aside

    before = open_registry(settings, simulated).get("champion").version
    monkeypatch.setattr(nightly, "read_sources", poisoned)
    found = run_training(settings, simulated, CLOCK + timedelta(days=2), Progress())
    assert open_registry(settings, simulated).get("champion").version == before
    assert found["model_version"] == str(before)
    stored = decisions.newest(simulated, settings.model_key, 1)[0]
    assert (stored.verdict, stored.state) == ("refuse", "refused")
    assert stored.reasons
    if poison == "half the leads gone":
        assert stored.inputs["integrity"], "the monitor of the data is asked, as in a night"


def test_a_date_of_the_past_moves_nobody(settings, simulated, night, monkeypatch):
    """Whatever the gate says of its model: a champion knows the newest day."""
    registry, past = open_registry(settings, simulated), CLOCK + timedelta(days=4)
    champion = registry.get("champion").version
    run_scoring(settings, simulated, past + timedelta(days=1), Progress())
    in_force = recorded(simulated)["run_id"]
    monkeypatch.setattr(gate, "decide", lambda *_, **__: gate.GateDecision(True, (), {}))
    trained = run_training(settings, simulated, past, Progress())
    scored = run_nightly(settings, simulated, past, Progress())
    assert {trained["model_version"], scored["model_version"]} == {str(champion)}
    assert registry.get("champion").version == champion
    assert decisions.newest(simulated, settings.model_key) == []
    with simulated.connect() as connection:
        assert connection.execute(
            "SELECT run_id FROM scoring.score_pointer WHERE model_key = %s", [settings.model_key]
        ).fetchall() == [(in_force,)]
    with pytest.raises(LookupError, match="scores of a later date"):
        run_retraining(settings, simulated, past, "of the past", Progress())


def _poison(sources, poison):
    lead, outcome = sources.lead, sources.outcome
    if poison == "flipped labels":
        won = outcome.filter("is_conversion")["lead_id"]
        lost = lead.filter(~pl.col("lead_id").is_in(won.implode()))
        made_up = lost.select(
            "lead_id",
            outcome=pl.lit("converted"),
            outcome_at=pl.col("known_at") + timedelta(days=75),
            known_at=pl.col("known_at") + timedelta(days=76),
            is_conversion=pl.lit(True),
            amount=pl.lit(None, pl.Float64),
            currency=pl.lit(None, pl.String),
            opportunity_id=pl.lit(None, pl.String),
        )
        return replace(sources, outcome=made_up)
    if poison == "half the leads gone":
        return replace(sources, lead=lead[::2])
    if poison == "a null column":
        return replace(
            sources,
            lead=lead.with_columns(industry=pl.lit(None, pl.String)),
            field_history=sources.field_history.filter(pl.col("field") != "industry"),
        )
    return replace(
        sources,
        lead=lead.with_columns(pl.col("annual_revenue") * 100),
        field_history=sources.field_history.filter(pl.col("field") != "annual_revenue"),
    )
