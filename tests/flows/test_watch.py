"""The monitors on real tables: quiet in quiet times, one page when something happens, a rerun the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psycopg
import pytest

from features.build import build
from features.matrix import NOT_FEATURES, fit_encoding, to_matrix
from features.spine import spine
from flows.adapters.database import Database
from flows.adapters.migrations import set_clock
from flows.adapters.score_history import first_scores, published_dates, scores_of_dates
from flows.adapters.settings import Settings
from flows.lead_model import LabelDefinition, LeadModel, TrainingRange
from flows.monitors.harm import HarmState, cohort_losses, harm_reference
from flows.status import NO_MODEL
from flows.watch import Watch, watch, watch_columns, watch_data, watch_night
from flows.watch_arrivals import read_holidays
from flows.watch_covariates import watch_features
from pkboost_core import PKBoostClassifier
from tests.flows.monitored_world import TRUE_CURVE, World, day, file_scores, make_world
from tests.flows.small_models import tiny_model

FIRST, FALL, LAST = 392, 392 + 7 * 8, 392 + 7 * 19
QUIET_NIGHTS = range(200, 217)
TABLES = "scoring.report_drift, scoring.monitor_state, scoring.page"


def settings_of(key: str) -> Settings:
    return Settings(model_key=key)


def stored(database: Database, key: str) -> dict[str, list[Any]]:
    """Everything the monitors have written for a model, but for the times of writing."""
    queries = {
        "drift": "SELECT as_of_date, monitor, subject, statistic, words, action FROM scoring.report_drift",
        "state": "SELECT as_of_date, monitor, state FROM scoring.monitor_state",
        "page": "SELECT cause, first_seen, last_seen, times_seen, resolved_at IS NULL FROM scoring.page",
    }
    with database.connect() as connection:
        return {
            name: connection.execute(f"{query} WHERE model_key = %s ORDER BY 1, 2, 3", [key]).fetchall()
            for name, query in queries.items()
        }


def copied(connection: psycopg.Connection, table: str) -> str:
    """Give the model "gaps" what "falling" has published."""
    columns = [c.name for c in connection.execute(f"SELECT * FROM scoring.{table} LIMIT 0").description]
    kept = ", ".join(c for c in columns if c != "model_key" and (table, c) != ("score_run", "run_id"))
    return (
        f"INSERT INTO scoring.{table} (model_key, {kept}) SELECT 'gaps', {kept} FROM scoring.{table}"
        " WHERE model_key = 'falling'"
    )


@pytest.fixture(scope="module")
def database(database: Database) -> Database:
    """The module's database with a source whose clock stands at the first day: no night is of the past."""
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO leadscore.source (adapter, checksum, clock) VALUES ('frames', '', %s)", [day(0)]
        )
    return database


@pytest.fixture(scope="module")
def falling(database: Database) -> tuple[World, dict[int, Watch]]:
    """Eight quiet weeks, then two thirds of all conversions stay away; watched every Monday."""
    world, settings = make_world(3, LAST + 7, fall_at=FALL, fall=0.65), settings_of("falling")
    mondays = list(range(FIRST, LAST + 1, 7))
    world.publish(database, settings.model_key, mondays)
    return world, {n: watch(database, settings, world.at(n), day(n), None) for n in mondays}


def test_quiet_weeks_raise_nothing(falling):
    quiet = [found for n, found in falling[1].items() if n <= FALL]
    assert not [one for found in quiet for one in found.readings if one.is_alarm]
    assert {one.trigger for one in quiet[-1].readings} == {"T3", "T5"}


def test_a_fall_in_conversions_is_found_within_two_months_and_asks_for_a_search(falling):
    alarms = {n: found.asks_for("search") for n, found in falling[1].items() if found.asks_for("search")}
    first = min(alarms)
    assert FALL + 14 <= first <= FALL + 7 * 8
    trigger = alarms[first][0]
    assert trigger.cause == "T3 early wins fall"
    assert " % below what the model expects since " in trigger.reason
    assert trigger.is_page


def test_a_fall_that_stays_is_one_page(database, falling):
    pages = stored(database, "falling")["page"]
    assert len(pages) == 1
    cause, first_seen, last_seen, times_seen, is_open = pages[0]
    assert (cause, is_open) == ("T3 early wins fall", True)
    assert times_seen >= 2
    assert first_seen < last_seen
    assert sum(len(found.pages) for found in falling[1].values()) == 1


def test_evidence_is_kept_over_time(database, falling):
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT statistic, threshold, fired, action FROM scoring.report_drift"
            " WHERE model_key = 'falling' AND subject = 'early wins fall' ORDER BY as_of_date"
        ).fetchall()
    assert len(rows) == (LAST - FIRST) // 7
    assert all((statistic >= threshold) == fired for statistic, threshold, fired, _ in rows)
    assert {action for *_, fired, action in rows if fired} == {"asks for a search, pages"}


def test_a_rerun_changes_nothing(database, falling):
    before = stored(database, "falling")
    world, found = falling
    again = watch(database, settings_of("falling"), world.at(LAST), day(LAST), None)
    assert again.readings == found[LAST].readings
    assert not again.pages
    assert stored(database, "falling") == before


def test_a_night_of_the_past_leaves_what_came_later(database, falling):
    before, world = stored(database, "falling"), falling[0]
    past = LAST - 7 * 2 + 3
    watch(database, settings_of("falling"), world.at(past), day(past), None)
    after = stored(database, "falling")
    assert after["page"] == before["page"]
    assert set(map(str, before["state"])) <= set(map(str, after["state"]))
    assert [row for row in after["drift"] if row[0] != day(past)] == before["drift"]


def test_nights_left_out_are_caught_up(database, falling):
    world, settings = falling[0], settings_of("gaps")
    with database.connect() as connection:
        for table in ("score_run", "lead_score_history"):
            connection.execute(copied(connection, table))
    for n in (FIRST, FIRST + 7 * 9, LAST):
        watch(database, settings, world.at(n), day(n), None)
    ends = [
        {monitor: state for at, monitor, state in stored(database, key)["state"] if at == day(LAST)}
        for key in ("falling", "gaps")
    ]
    assert ends[0] == ends[1]
    assert [page[0] for page in stored(database, "gaps")["page"]] == ["T3 early wins fall"]


def test_what_cannot_judge_yet_is_named(falling):
    first, last = falling[1][FIRST].notes, falling[1][LAST].notes
    assert first[0] == "T2 at 7 days: 0 of 13 reference weeks"
    assert first[-1] == "T3: no model's scores have been out for a whole week"
    assert last == ("T2 at 90 days: 5 of 13 reference weeks",)


def test_too_few_wins_for_a_delay_curve_are_said(database):
    world = make_world(1, 40)
    found = watch(database, settings_of("young"), world.at(30), day(30), None)
    assert found.readings == ()
    assert "too few for a delay curve" in found.notes[0]


def test_nights_without_a_model_are_no_models(database):
    """Where the pooled prior stood in, neither its nights nor its numbers are held against outcomes."""
    key, nights = "first nights", [day(n) for n in (399, 406, 413)]
    leads = ["L1", "L2"]
    for night, version in zip(nights, (NO_MODEL, "1", "2"), strict=True):
        file_scores(database, key, night, leads, np.full(2, 0.1 if version == NO_MODEL else 0.2), version)
    assert published_dates(database, key, nights[-1]) == nights[1:]
    assert scores_of_dates(database, key, nights[:1]).is_empty()
    assert scores_of_dates(database, key, nights)["probability"].to_list() == [0.2] * 4
    first = first_scores(database, key, nights[0], nights[-1])
    assert first.rows() == [(nights[1], lead, 0.2) for lead in leads]


@pytest.fixture(scope="module")
def tidy(database: Database) -> World:
    """A CRM whose arrivals were watched for seventeen quiet nights."""
    world = make_world(0, 240, per_day=40.0)
    for n in QUIET_NIGHTS:
        found = watch_data(database, settings_of("tidy"), world.at(n), day(n))
        assert found.blocked is None
        assert not found.pages
        assert not found.notes
    return world


@pytest.fixture
def key(database: Database, tidy: World, request: pytest.FixtureRequest) -> str:
    """A model of this test's own that remembers the quiet nights."""
    name = request.node.name
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO scoring.monitor_state (model_key, monitor, as_of_date, state)"
            " SELECT %s, monitor, as_of_date, state FROM scoring.monitor_state WHERE model_key = 'tidy'",
            [name],
        )
    return name


def broken(world: World, fault: str) -> World:
    """The world with a fault in all leads that arrive after the quiet nights."""
    start = datetime.combine(day(QUIET_NIGHTS[-1]), datetime.min.time(), UTC)
    lead, is_bad = world.sources.lead, pl.col("known_at") >= pl.lit(start)
    if fault == "null":
        lead = lead.with_columns(industry=pl.when(~is_bad).then("industry"))
    if fault == "triple":
        copies = [lead.filter(is_bad).with_columns(pl.col("lead_id") + f"_{k}") for k in (1, 2)]
        lead = pl.concat([lead, *copies])
    return replace(world, sources=replace(world.sources, lead=lead))


@pytest.mark.parametrize(
    ("fault", "cause", "nights_to_page"),
    [("null", "T1 null_share lead.industry", 3), ("triple", "T1 volume lead", 2)],
)
def test_broken_data_blocks_at_once_pages_when_confirmed_and_is_resolved(
    database, tidy, key, fault, cause, nights_to_page
):
    world, settings, first = broken(tidy, fault), settings_of(key), QUIET_NIGHTS[-1] + 1
    found = [watch_data(database, settings, world.at(first + k), day(first + k)) for k in range(3)]
    assert all(one.blocked for one in found)
    paged = [[page.cause for page in one.pages] for one in found]
    assert paged == [[cause] if k == nights_to_page - 1 else [] for k in range(3)]
    again = watch_data(database, settings, world.at(first + 2), day(first + 2))
    assert again.blocked == found[2].blocked
    assert not again.pages
    assert [page[0] for page in stored(database, key)["page"]] == [cause]
    watch_data(database, settings, tidy.at(first + 3), day(first + 3))
    (page,) = stored(database, key)["page"]
    assert not page[-1], "the page is closed once the alarm has ended"


def test_broken_data_in_a_night_of_the_past_tells_nobody(database, tidy, key):
    world, settings, first = broken(tidy, "null"), settings_of(key), QUIET_NIGHTS[-1] + 1
    watch_data(database, settings, tidy.at(first + 5), day(first + 5))
    before = stored(database, key)["state"]
    found = [watch_data(database, settings, world.at(first + k), day(first + k)) for k in range(3)]
    assert all(one.blocked for one in found)
    assert not any(one.pages for one in found)
    assert stored(database, key)["page"] == []
    later = [row for row in before if row[0] == day(first + 5)]
    assert [row for row in stored(database, key)["state"] if row[0] == day(first + 5)] == later


def test_a_page_outlasts_a_night_that_was_left_out(database, tidy, key):
    world, settings, first = broken(tidy, "null"), settings_of(key), QUIET_NIGHTS[-1] + 1
    for n in (first, first + 1, first + 2, first + 4):
        found = watch_data(database, settings, world.at(n), day(n))
        assert found.blocked
    (page,) = stored(database, key)["page"]
    assert (page[0], page[-1]) == ("T1 null_share lead.industry", True)
    watch_data(database, settings, tidy.at(first + 5), day(first + 5))
    (page,) = stored(database, key)["page"]
    assert not page[-1], "and ends with the alarm"


@pytest.fixture
def today(database: Database) -> Iterator[int]:
    """The night after the quiet ones, at which the source's clock stands for one test."""
    n = QUIET_NIGHTS[-1] + 1
    set_clock(database, day(n))
    yield n
    set_clock(database, day(0))


def rows_of_leads(database: Database, key: str) -> dict[date, Any]:
    """The profiles that T1 keeps of leads, by night."""
    states = stored(database, key)["state"]
    return {night: state for night, monitor, state in states if monitor == "T1 rows lead"}


def test_what_a_fresh_night_saw_of_leads_is_not_overwritten_in_hindsight(database, tidy, key, today):
    filled = tidy.sources.lead.with_columns(industry=pl.lit("retail"))
    late = replace(tidy, sources=replace(tidy.sources, lead=filled))
    before = rows_of_leads(database, key)
    assert before[day(today - 1)]["nulls"]["industry"] > 0
    found = watch_data(database, settings_of(key), late.at(today - 1), day(today - 1))
    assert found.blocked is None
    assert rows_of_leads(database, key) == before
    watch_data(database, settings_of(key), late.at(today), day(today))
    watch_data(database, settings_of(key), tidy.at(today), day(today))
    assert rows_of_leads(database, key)[day(today)]["nulls"]["industry"] > 0, "a night of today may be rerun"


@pytest.mark.parametrize("is_replay", [False, True])
def test_nights_of_the_past_count_leads_but_a_replay_compares_what_they_hold(
    database, tidy, request, today, is_replay
):
    name = request.node.name
    for n in (today - 2, today - 1, today):
        watch_data(database, settings_of(name), tidy.at(n), day(n), tells=not is_replay)
    has_values = {night: bool(state["nulls"]) for night, state in rows_of_leads(database, name).items()}
    expected = {day(today - 2): is_replay, day(today - 1): is_replay, day(today): True}
    assert {night: has_values[night] for night in expected} == expected


def test_rows_that_vanish_are_told_at_once(database, tidy, key):
    lead = tidy.sources.lead
    halved = replace(tidy, sources=replace(tidy.sources, lead=lead.gather_every(2)))
    n = QUIET_NIGHTS[-1] + 1
    found = watch_data(database, settings_of(key), halved.at(n), day(n))
    assert "T1 vanished lead" in [page.cause for page in found.pages]
    assert "have vanished" in found.blocked


def test_what_leads_hold_is_judged_only_by_nights_that_saw_them_fresh(database, tidy):
    """Columns filled in after arrival: a first night must not take fresh, emptier rows for a fault."""
    n = 150
    fresh = pl.col("known_at") >= pl.lit(datetime.combine(day(n - 1), datetime.min.time(), UTC))
    lead = tidy.sources.lead.with_columns(industry=pl.when(~fresh).then(pl.lit("retail")))
    late = replace(tidy, sources=replace(tidy.sources, lead=lead))
    found = watch_data(database, settings_of("first night"), late.at(n), day(n))
    assert found.blocked is None
    assert {one.subject.split()[0] for one in found.readings} == {"volume"}


def test_a_champion_of_columns_that_are_gone_is_no_failure_of_the_watch(tidy):
    model = tiny_model()
    other = replace(model, encoding=replace(model.encoding, names=("lead_gone",)))
    found = watch_features(settings_of("gone"), tidy.at(150), day(150), None, other)
    assert found == ([], [], ["T4: the champion's lead_gone are gone or of another kind: nothing to compare"])


def test_holidays_come_from_a_file(tmp_path: Path):
    path = tmp_path / "holidays"
    path.write_text("12-25  # every year\n\n2026-04-03\n")
    asked = {date(2026, 4, 3), date(2025, 4, 3), date(2024, 12, 25)}
    assert read_holidays(path, asked) == {date(2026, 4, 3), date(2024, 12, 25)}
    path.write_text("25.12.2026\n")
    with pytest.raises(ValueError, match=r"line 1: '25.12.2026' is no day; write 2026-12-25"):
        read_holidays(path, asked)


def test_loss_of_whole_weeks_is_that_of_the_first_published_scores(database, falling):
    """T2 at age 7: thirteen weeks are its reference, the next ones are watched against it."""
    watched = [one for found in falling[1].values() for one in found.readings if one.trigger == "T2"]
    assert [one.subject for one in watched] == ["loss at 7 days"] * 4
    with database.connect() as connection:
        query = (
            "SELECT state -> 'harm' FROM scoring.monitor_state"
            " WHERE model_key = 'falling' AND monitor = 'T2' AND as_of_date = %s"
        )
        (state,) = connection.execute(query, [day(LAST)]).fetchone()
    world, reference = falling[0], HarmState.from_dict(state).references[7]
    first_monday = np.ceil((world.created + 1e-9) / 7) * 7  # the night of each lead's first score
    seen = (world.won_at >= first_monday) & (world.created >= FIRST) & (world.created < FIRST + 13 * 7)
    created = np.datetime64(day(0)) + world.created[seen].astype(int)
    delay = world.won_at[seen] - world.created[seen]
    losses = cohort_losses(
        created, world.p[seen], delay, TRUE_CURVE, day(LAST), first_age=(first_monday - world.created)[seen]
    )
    expected = harm_reference([one.loss for one in losses if one.age == 7])
    assert reference.mean == pytest.approx(expected.mean, rel=0.03), "the curve of the monitors is estimated"
    assert reference.bound == pytest.approx(expected.bound, rel=0.03)


def model_of(world: World, n: int) -> LeadModel:
    """A model of what leads are, fitted on the new leads of three snapshots."""
    snapshots = [day(n - 56), day(n - 28), day(n)]
    known = world.at(n)
    frame = build(known, spine(known, snapshots, max_age_days=28)).drop(NOT_FEATURES, strict=False)
    encoding = fit_encoding(frame)
    y = (frame["lead_industry"] == "software").fill_null(False).to_numpy().astype(float)
    booster = PKBoostClassifier(
        n_estimators=10, categorical_features=encoding.categorical_indices, random_state=7
    ).fit(to_matrix(frame, encoding), y)
    learnt = TrainingRange(day(n), snapshots[0], snapshots[-1], len(y), int(y.sum()))
    return LeadModel(booster, encoding, LabelDefinition(60, 7, "c" * 64), learnt, {"recipe": "soft"})


def test_features_that_moved_are_a_line_in_the_report_and_nothing_else(database, tidy):
    n, settings = QUIET_NIGHTS[-1] + 2, settings_of("columns")  # a Tuesday
    model, everything = model_of(tidy, 150), tidy.sources.lead
    quiet = watch_columns(database, settings, tidy.at(n), day(n), model)
    assert {one.subject.split()[0] for one in quiet.readings} == {"domain", "feature", "leaf"}
    assert not [one for one in quiet.readings if one.is_alarm]
    assert watch_columns(database, settings, tidy.at(n + 1), day(n + 1), model) == Watch(), "once a week"
    recent = pl.col("known_at") >= pl.lit(datetime.combine(day(160), datetime.min.time(), UTC))
    lead = everything.with_columns(industry=pl.when(recent).then(pl.lit("health")).otherwise("industry"))
    changed = replace(tidy, sources=replace(tidy.sources, lead=lead))
    found = watch_columns(database, settings, changed.at(n + 7), day(n + 7), model)
    moved = {one.subject for one in found.readings if one.is_alarm}
    assert {"domain", "feature lead_industry"} < moved
    assert any(subject.startswith("leaf occupancy of tree ") for subject in moved), "the trees part by it"
    assert not found.pages
    assert found.blocked is None
    assert found.asks_for("search") == []
    rows = stored(database, "columns")["drift"]
    assert {row[-1] for row in rows if (row[0], row[2]) == (day(n + 7), "domain")} == {"noted"}


def test_data_that_t1_cannot_judge_hold_a_new_model_back(database, tidy, key, tmp_path):
    (tmp_path / "holidays").write_text("25.12.2026\n")
    settings = settings_of(key).model_copy(update={"holidays_file": tmp_path / "holidays"})
    n = QUIET_NIGHTS[-1] + 1
    found = watch_night(database, settings, tidy.at(n), day(n), None)
    assert found.blocked.startswith("T1 could not judge the data: ValueError: ")
    assert "'25.12.2026' is no day" in found.holds_back[0]
    assert found.failures
    assert [page.cause for page in found.pages] == ["T1 judgement of the data"]
    assert watch_night(database, settings_of(key), tidy.at(n + 1), day(n + 1), None).blocked is None
    assert [page[-1] for page in stored(database, key)["page"]] == [False], "T1 judges again"


def test_features_that_cannot_be_compared_lose_no_alarm(database, falling):
    """T4 breaks on the night of an alarm of T3, which has begun anew: what it said must be heard."""
    world, found = falling
    n = min(n for n, one in found.items() if one.asks_for("search"))
    broken = replace(tiny_model(), training_range=None, recipe={"recipe": ""})
    again = watch_night(database, settings_of("falling"), world.at(n), day(n), broken)
    assert [one.cause for one in again.asks_for("search")] == ["T3 early wins fall"]
    assert [one.partition(":")[0] for one in again.failures] == ["watch_columns failed"]
    assert again.holds_back == ()


@contextmanager
def no_delivery(database: Database) -> Iterator[None]:
    """Pages that can be opened but not looked up for sending."""
    with database.connect(autocommit=True) as connection:
        connection.execute("ALTER TABLE scoring.page RENAME COLUMN delivered TO gone")
        yield
        connection.execute("ALTER TABLE scoring.page RENAME COLUMN gone TO delivered")


def test_pages_that_cannot_be_sent_lose_no_reading(database, tidy, key):
    halved = replace(tidy, sources=replace(tidy.sources, lead=tidy.sources.lead.gather_every(2)))
    n, update = QUIET_NIGHTS[-1] + 1, {"page_webhook_url": "http://127.0.0.1:9/secret"}
    settings = Settings(model_key=key, **update)
    with no_delivery(database):
        found = watch_data(database, settings, halved.at(n), day(n))
    assert "have vanished" in found.blocked
    assert found.failures == ("deliver_pages failed: UndefinedColumn",)
    assert [page[0] for page in stored(database, key)["page"]] == ["T1 vanished lead"]


def test_a_replay_tells_nobody(database, tidy, key):
    halved = replace(tidy, sources=replace(tidy.sources, lead=tidy.sources.lead.gather_every(2)))
    n = QUIET_NIGHTS[-1] + 1
    found = watch_night(database, settings_of(key), halved.at(n), day(n), None, tells=False)
    assert "have vanished" in found.blocked
    assert not found.pages
    assert stored(database, key)["page"] == []
