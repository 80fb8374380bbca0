"""Promotion and roll-back on a real registry and real tables: any crash leaves one consistent champion."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flows import promotion
from flows.adapters import decisions, score_runs
from flows.adapters.database import Database
from flows.adapters.decisions import Decision, Pair
from flows.adapters.publisher import PublicationFailedError, publish
from flows.adapters.registry import CHALLENGER, CHAMPION, Registry, RegistryError, open_registry
from flows.adapters.run_files import RunRecord
from flows.adapters.score_storage import KEPT_RUNS
from flows.housekeeping import tidy_up
from flows.lead_model import LeadModel
from flows.night import Night
from flows.progress import Progress
from tests.flows.small_models import tiny_model

KEY = "lead-conversion"


class Crash(BaseException):
    """What a killed process looks like from inside."""


@pytest.fixture(scope="module")
def model() -> LeadModel:
    return tiny_model()


@pytest.fixture(scope="module")
def shared(settings, database: Database) -> Registry:
    return open_registry(settings, database)


@pytest.fixture
def registry(shared: Registry, database: Database, request: pytest.FixtureRequest) -> Iterator[Registry]:
    """A registered model of this test's own, and empty tables."""
    yield Registry(shared.tracking_uri, shared.artifact_root, request.node.name.replace(".", " "))
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "TRUNCATE scoring.lead_score_published, scoring.lead_score_history, scoring.score_pointer,"
            " scoring.score_run, scoring.decision, scoring.model_pair"
        )


def scores(version: int, n: int = 3) -> pl.DataFrame:
    now = datetime(2026, 5, 1, 2, tzinfo=UTC)
    return pl.select(number=pl.int_range(n)).select(
        lead_id=pl.format("L{}", "number"),
        status=pl.lit("scored"),
        probability=(pl.col("number") + 1) / (n + 2),
        score=(pl.col("number") % 100).cast(pl.Int16),
        model_version=pl.lit(str(version)),
        data_as_of=pl.lit(now),
        scored_at=pl.lit(now),
    )


def logged(registry: Registry, model: LeadModel) -> int:
    return registry.log_run(model, RunRecord("night", {}, {}, "0" * 64)).version


def challenge(day: int, before: int | None, version: int) -> Decision:
    return Decision(
        date(2026, 5, day), "nightly", "promote", decisions.PENDING, "due", before, version, inputs={"n": 1}
    )


def night(database: Database, registry: Registry, day: int, version: int, n: int = 3) -> None:
    """Promote a version with its scores, as a night does."""
    champion = registry.get(CHAMPION)
    before = None if champion is None else champion.version
    pending = promotion.intend(database, KEY, challenge(day, before, version))
    run = score_runs.start_run(database, KEY, date(2026, 5, day))
    publish(database, run, scores(version, n), also=promotion.in_force(pending))
    promotion.complete(database, registry, KEY, pending)


def champion_and_scores(database: Database, registry: Registry) -> tuple[int, int]:
    """The version of the alias and that of the scores in force."""
    with database.connect() as connection:
        found = connection.execute("SELECT DISTINCT model_version FROM scoring.lead_score").fetchall()
    assert len(found) == 1
    return registry.get(CHAMPION).version, int(found[0][0])


def crash(*_: object, **__: object) -> None:
    raise Crash


STEPS: dict[str, tuple[str, bool]] = {
    "flows.adapters.publisher._stage": ("before the scores are staged", False),
    "flows.adapters.publisher.put_on_record": ("inside the transaction", False),
    "flows.promotion.complete": ("between the scores and the registry", True),
    "flows.adapters.registry.Registry._write_history": ("before the alias", True),
    "flows.adapters.registry.Registry._explain": ("after the alias", True),
    "flows.adapters.decisions.finish": ("before the record is closed", True),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_promotion_that_crashes_at_any_step_leaves_one_champion(
    database, registry, model, monkeypatch, step
):
    first, second = logged(registry, model), logged(registry, model)
    night(database, registry, 1, first)
    with monkeypatch.context() as patch:
        patch.setattr(step, crash)
        with pytest.raises(Crash):
            night(database, registry, 2, second)
    _, is_in_force = STEPS[step]
    expected = second if is_in_force else first
    assert promotion.repair(database, registry, KEY)
    assert champion_and_scores(database, registry) == (expected, expected)
    assert registry.champion_history()[-1] == expected
    last = decisions.newest(database, KEY)[0]
    assert (last.state, last.champion_after) == (
        (decisions.DONE, second) if is_in_force else (decisions.ABANDONED, first)
    )
    assert promotion.repair(database, registry, KEY) is None
    third = logged(registry, model)
    night(database, registry, 3, third)
    assert champion_and_scores(database, registry) == (third, third)


PROMOTE_FOR_EVER = """
import runpy, sys
from pathlib import Path
test = runpy.run_path(sys.argv[2])
database = test["Database"].from_url(sys.argv[1])
registry = test["Registry"](sys.argv[3], Path(sys.argv[4]), sys.argv[5])
versions, day = (int(sys.argv[6]), int(sys.argv[7])), 3
test["night"](database, registry, 2, versions[0])
print("ready", flush=True)
while True:
    test["night"](database, registry, day, versions[day % 2])
    day += 1
    day = 3 + (day - 3) % 25
"""


def test_kill_9_while_promoting_leaves_one_champion(database, registry, model, database_url):
    versions = [logged(registry, model) for _ in range(2)]
    command = [sys.executable, "-c", PROMOTE_FOR_EVER, database_url, __file__, registry.tracking_uri]
    command += [str(registry.artifact_root), registry.model_name, *map(str, versions)]
    for delay in (0.05, 0.4, 0.7):
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
            assert child.stdout.readline() == b"ready\n"
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
        wait_for_its_sessions(database)
        promotion.repair(database, registry, KEY)
        champion, scored = champion_and_scores(database, registry)
        assert champion == scored
        assert decisions.in_state(database, KEY, decisions.PENDING, decisions.IN_FORCE) is None


def wait_for_its_sessions(database: Database) -> None:
    """The server notices a dead client at its next word to it."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    with database.connect(autocommit=True) as connection:
        while connection.execute(query).fetchone() != (0,):
            time.sleep(0.01)


def in_shadow(database: Database, registry: Registry, champion: int, version: int) -> None:
    said = replace(challenge(2, champion, version), kind="search", verdict="shadow")
    promotion.refuse(database, registry, KEY, said, decisions.SHADOW)
    decisions.keep_pair(database, KEY, "shadow", Pair(champion, version, date(2026, 5, 2)))


ROLL_BACK_STEPS: dict[str, Callable[[int, int], int]] = {
    "flows.adapters.score_runs._put_back": lambda first, second: second,
    "flows.adapters.registry.Registry.rollback": lambda first, second: first,
    "flows.adapters.decisions.finish": lambda first, second: first,
    "flows.adapters.decisions.end_pair": lambda first, second: first,
}


@pytest.mark.parametrize("step", ROLL_BACK_STEPS)
def test_a_roll_back_that_crashes_at_any_step_leaves_one_champion(
    database, registry, model, monkeypatch, step
):
    first, second = logged(registry, model), logged(registry, model)
    night(database, registry, 1, first)
    night(database, registry, 2, second)
    in_shadow(database, registry, second, first)
    with monkeypatch.context() as patch:
        patch.setattr(step, crash)
        with pytest.raises(Crash):
            promotion.roll_back(database, registry, KEY, date(2026, 5, 3), "worse")
    promotion.repair(database, registry, KEY)
    expected = ROLL_BACK_STEPS[step](first, second)
    assert champion_and_scores(database, registry) == (expected, expected)
    is_back = expected == first
    watched = [decisions.pair_of(database, KEY, purpose) is None for purpose in ("roll_back", "shadow")]
    assert watched == [is_back, is_back]
    assert (decisions.in_state(database, KEY, decisions.SHADOW) is None) == is_back


def test_a_roll_back_restores_ten_thousand_scores_from_history_within_seconds(database, registry, model):
    first, second = logged(registry, model), logged(registry, model)
    night(database, registry, 1, first, n=10_000)
    for day in range(2, 3 + KEPT_RUNS):
        night(database, registry, day, second, n=10_000)
    with database.connect() as connection:
        at_hand = connection.execute("SELECT DISTINCT model_version FROM scoring.lead_score_published")
        assert at_hand.fetchall() == [(str(second),)], "the first champion's scores are only in the history"
    started = time.perf_counter()
    champion, found = promotion.roll_back(database, registry, KEY, date(2026, 5, 9), "worse")
    seconds = time.perf_counter() - started
    assert champion.version == first
    assert found[1] == date(2026, 5, 1)
    assert champion_and_scores(database, registry) == (first, first)
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM scoring.lead_score").fetchone() == (10_000,)
    assert seconds < 10, f"{seconds:.1f} s"


def test_where_no_scores_are_in_force_a_roll_back_puts_none_there(database, registry, model):
    """So it is in a replay: sales see nothing of it."""
    first, second = logged(registry, model), logged(registry, model)
    night(database, registry, 1, first)
    night(database, registry, 2, second)
    with database.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM scoring.score_pointer WHERE model_key = %s", [KEY])
    champion, found = promotion.roll_back(database, registry, KEY, date(2026, 5, 9), "worse")
    assert (champion.version, found) == (first, None)
    assert score_runs.date_in_force(database, KEY) is None


def test_a_champion_gone_from_the_registry_is_not_promoted(database, registry, model, monkeypatch):
    first = logged(registry, model)
    night(database, registry, 1, first)
    decisions.record(database, KEY, challenge(2, first, 99))
    with database.begin(score_runs.ROLE) as connection:
        connection.execute(decisions.put_in_force(decisions.newest(database, KEY)[0].decision_id))
    run = score_runs.start_run(database, KEY, date(2026, 5, 2))
    publish(database, run, scores(99))
    assert "gone from the registry" in promotion.repair(database, registry, KEY)
    assert champion_and_scores(database, registry) == (first, first)
    last = decisions.newest(database, KEY)[0]
    assert (last.state, last.champion_after) == (decisions.ABANDONED, first)
    assert "has no version 99" in last.reasons[0]
    with pytest.raises(RegistryError):
        registry.show(99)


def test_a_refused_challenger_is_kept_to_look_at_with_every_input(database, registry, model):
    first, second = logged(registry, model), logged(registry, model)
    night(database, registry, 1, first)
    said = Decision(
        date(2026, 5, 2),
        "search",
        "refuse",
        decisions.PENDING,
        "T3 early wins",
        first,
        second,
        reasons=["no leakage alarm"],
        checks={"no leakage alarm": False},
        recipe={"name": "soft"},
        inputs={"gain": float("nan"), "deep": {"values": [1, 2]}},
    )
    promotion.refuse(database, registry, KEY, said)
    stored = decisions.newest(database, KEY)[0]
    assert (stored.state, stored.champion_after, stored.reasons) == ("refused", first, ["no leakage alarm"])
    assert stored.inputs == {"gain": None, "deep": {"values": [1, 2]}}
    assert registry.get(CHALLENGER).version == second
    assert registry.get(CHAMPION).version == first
    assert decisions.last_search(database, KEY) == date(2026, 5, 2)


def test_a_retry_of_a_publication_that_went_through_keeps_the_promotion(database, registry, model):
    first, second = logged(registry, model), logged(registry, model)
    night(database, registry, 1, first)
    pending = promotion.intend(database, KEY, challenge(2, first, second))
    run = score_runs.start_run(database, KEY, date(2026, 5, 2))
    for _ in range(2):
        publish(database, run, scores(second), also=promotion.in_force(pending))
    with pytest.raises(RuntimeError, match="in force"):
        promotion.abandon(database, registry, pending, ["refused"])
    for _ in range(2):
        promotion.complete(database, registry, KEY, pending)
    assert champion_and_scores(database, registry) == (second, second)
    last = decisions.newest(database, KEY)[0]
    assert (last.state, last.champion_after) == (decisions.DONE, second)


def test_a_promotion_that_another_command_ended_is_not_published(database, registry, model):
    """The night had lost its lock, and its promotion looked like one that a crash had left."""
    first, second = logged(registry, model), logged(registry, model)
    night(database, registry, 1, first)
    pending = promotion.intend(database, KEY, challenge(2, first, second))
    run = score_runs.start_run(database, KEY, date(2026, 5, 2))
    promotion.repair(database, registry, KEY)
    with pytest.raises(PublicationFailedError, match="was ended by another command, while"):
        publish(database, run, scores(second), also=promotion.in_force(pending))
    with pytest.raises(RuntimeError, match=f"version {second} is not promoted: another command"):
        promotion.settle(database, registry, KEY, pending)
    assert champion_and_scores(database, registry) == (first, first)
    assert filed(database, 2) == []
    last = decisions.newest(database, KEY)[0]
    assert (last.state, last.champion_after) == (decisions.ABANDONED, first)


def test_one_promotion_at_a_time_is_under_way(database, registry):
    from sqlalchemy.exc import IntegrityError

    promotion.intend(database, KEY, challenge(1, None, 1))
    with pytest.raises(IntegrityError, match="decision_one_under_way"):
        promotion.intend(database, KEY, challenge(1, None, 2))


def test_taking_back_a_refit_goes_on_watching_the_promotion(database, registry, model):
    """Of champion 1 by another recipe, by 2, which 3 and 4 are refits of."""
    first, second, third, fourth = (logged(registry, model) for _ in range(4))
    for day, version in enumerate((first, second, third, fourth), start=1):
        night(database, registry, day, version)
    pair = replace(decisions.pair_of(database, KEY, "roll_back"), state={"weeks": 2}, e_value=7.0)
    assert (pair.in_use, pair.other) == (fourth, first)
    decisions.keep_pair(database, KEY, "roll_back", pair)
    promotion.roll_back(database, registry, KEY, date(2026, 5, 5), "a bad fit")
    assert decisions.pair_of(database, KEY, "roll_back") == replace(pair, in_use=third)
    promotion.roll_back(database, registry, KEY, date(2026, 5, 5), "another", to=second)
    assert decisions.pair_of(database, KEY, "roll_back") == replace(pair, in_use=second)
    with pytest.raises(RegistryError, match=f"version {fourth} .* was no champion; earlier ones: {first}"):
        promotion.roll_back(database, registry, KEY, date(2026, 5, 5), "forward", to=fourth)
    assert champion_and_scores(database, registry) == (second, second)
    promotion.roll_back(database, registry, KEY, date(2026, 5, 5), "the recipe")
    assert champion_and_scores(database, registry) == (first, first)
    assert decisions.pair_of(database, KEY, "roll_back") is None


def test_five_old_champions_can_return_each_with_its_scores(database, registry, model):
    versions = [logged(registry, model) for _ in range(6)]
    for day, version in enumerate(versions, start=1):
        night(database, registry, day, version)
    for expected in versions[-2::-1]:
        _, found = promotion.roll_back(database, registry, KEY, date(2026, 5, 9), "worse")
        assert found[1] == date(2026, 5, 1 + versions.index(expected))
        assert champion_and_scores(database, registry) == (expected, expected)
    with pytest.raises(RegistryError, match="no earlier champion"):
        promotion.roll_back(database, registry, KEY, date(2026, 5, 9), "worse")


def filed(database: Database, day: int) -> list[tuple[str, int]]:
    """Versions in the history of a day, with their rows."""
    with database.connect() as connection:
        return connection.execute(
            "SELECT model_version, count(*) FROM scoring.lead_score_history WHERE as_of_date = %s GROUP BY 1",
            [date(2026, 5, day)],
        ).fetchall()


def test_a_promotion_of_the_same_day_can_be_taken_back(database, registry, model):
    first, second = logged(registry, model), logged(registry, model)
    night(database, registry, 1, first)
    night(database, registry, 1, second)
    assert filed(database, 1) == [(str(second), 3)]
    _, found = promotion.roll_back(database, registry, KEY, date(2026, 5, 1), "worse")
    assert found[1] == date(2026, 5, 1)
    assert champion_and_scores(database, registry) == (first, first)
    assert filed(database, 1) == [(str(first), 3)], "a day has one row for each lead: the one in force"
    assert promotion.repair(database, registry, KEY) is None


def test_scores_of_a_champion_that_one_day_replaced_are_kept_while_newer_nights_are(
    database, registry, model
):
    first, second = logged(registry, model), logged(registry, model)
    night(database, registry, 1, first)
    night(database, registry, 1, second)
    for day in range(2, 4 + KEPT_RUNS):
        night(database, registry, day, second)
    promotion.roll_back(database, registry, KEY, date(2026, 5, 9), "worse")
    assert champion_and_scores(database, registry) == (first, first)


def copies(registry: Registry, version: int) -> list[dict]:
    """The decisions kept with a version's run, oldest first."""
    folder = registry.artifact_root / registry.show(version).run_id / "artifacts" / "decisions"
    return [json.loads(path.read_text()) for path in sorted(folder.iterdir(), key=lambda one: int(one.stem))]


def test_every_decision_lies_with_its_version_as_it_ended(database, registry, model):
    first, second, third = (logged(registry, model) for _ in range(3))
    night(database, registry, 1, first)
    by_hand = replace(challenge(2, first, second), kind="by_hand", inputs={"gain": float("nan"), "n": 2})
    promotion.promote(database, registry, KEY, by_hand)
    in_shadow(database, registry, second, third)
    promotion.roll_back(database, registry, KEY, date(2026, 5, 3), "worse")
    promotion.refuse(database, registry, KEY, replace(challenge(4, first, 0), challenger=None))
    assert [(one["kind"], one["state"], one["champion_after"]) for one in copies(registry, first)] == [
        ("nightly", "done", first),
        ("roll_back", "done", first),
        ("nightly", "refused", first),
    ]
    (promoted,) = copies(registry, second)
    assert (promoted["state"], promoted["inputs"]) == ("done", {"gain": None, "n": 2})
    (left,) = copies(registry, third)
    assert left["state"] == "abandoned"
    assert left["reasons"] == ["another champion than the one it was compared with"]
    stored = {(one.decision_id, one.state) for one in decisions.newest(database, KEY)}
    told = [one for version in (first, second, third) for one in copies(registry, version)]
    assert {(one["decision_id"], one["state"]) for one in told} == stored


def test_versions_that_nothing_can_need_again_go(settings, database, registry, model):
    """Champion 2 is too long ago; 1 is what the champion is watched against, 9 was refused before 10."""
    versions = [logged(registry, model) for _ in range(10)]
    for day, version in enumerate(versions[:8], start=1):
        night(database, registry, day, version)
    for refused in versions[8:]:
        promotion.refuse(database, registry, KEY, challenge(10, 8, refused))
    today = Night(settings, database, Progress(), registry, date(2026, 5, 16))
    tidy_up(today)
    assert [one.version for one in registry.list_versions()] == [10, 8, 7, 6, 5, 4, 3, 1]
    assert today.warnings == []
    promotion.roll_back(database, registry, KEY, date(2026, 5, 10), "worse", to=3)
    assert champion_and_scores(database, registry) == (3, 3)


@pytest.mark.parametrize(
    "step", ["flows.adapters.registry.Registry.champion_history", "flows.adapters.decisions.pair_of"]
)
def test_tidying_that_fails_fails_no_night(settings, database, registry, monkeypatch, step):
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    lost = OperationalError("SELECT", {}, Exception("gone"))

    def broken(*_: object) -> None:
        raise MlflowException("gone") if "registry" in step else lost

    monkeypatch.setattr(step, broken)
    today = Night(settings, database, Progress(), registry, date(2026, 5, 16))
    tidy_up(today)
    assert "old models and scores stay until the next night" in today.warnings[0]


def test_scores_of_long_ago_go_a_few_days_each_night(settings, database, registry, model):
    for day in range(1, 29):
        run = score_runs.start_run(database, KEY, date(2026, 5, day))
        publish(database, run, scores(1))
    kept = settings.maturity + timedelta(days=settings.history_days)
    late = Night(settings, database, Progress(), registry, date(2026, 5, 28) + kept)
    days = []
    for _ in range(3):
        tidy_up(late)
        with database.connect() as connection:
            query = "SELECT count(DISTINCT as_of_date) FROM scoring.lead_score_history"
            days += connection.execute(query).fetchone()
    assert days == [8, 1, 1]
    with database.connect() as connection, connection.cursor() as reader:
        reader.execute("SELECT count(*) FROM scoring.lead_score_history")
        late.as_of += timedelta(days=1)
        tidy_up(late)
    assert "old models and scores stay until the next night" in late.warnings[0], "a reader is not waited for"
