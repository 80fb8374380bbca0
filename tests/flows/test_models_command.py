"""`leadscore models rollback`: the earlier champion and its scores, on a real registry and real tables."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from flows.adapters import decisions, score_runs
from flows.adapters.database import Database, exclusive
from flows.adapters.publisher import publish
from flows.adapters.registry import CHAMPION, Registry, open_registry
from flows.adapters.run_files import RunRecord
from flows.adapters.settings import Settings
from flows.cli import main
from flows.lead_model import LeadModel
from tests.flows.small_models import tiny_model

Rollback = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def model() -> LeadModel:
    return tiny_model()


@pytest.fixture
def registry(settings: Settings, database: Database) -> Iterator[Registry]:
    """The registry of the command line, with a registered model of this test's own."""
    yield open_registry(settings, database)
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "TRUNCATE scoring.lead_score_published, scoring.lead_score_history, scoring.score_pointer,"
            " scoring.score_run, scoring.decision, scoring.model_pair"
        )


@pytest.fixture
def rollback(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    logging_as_before: None,
    capsys: pytest.CaptureFixture[str],
) -> Rollback:
    """Run the command; its exit status and JSON."""
    monkeypatch.setenv("LEADSCORE_HOME", str(settings.home))
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)

    def run(*options: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        status = main(["models", "rollback", "--json", *options])
        return status, json.loads(capsys.readouterr().out)

    return run


def champion(registry: Registry, model: LeadModel) -> int:
    """Log a model and make it champion."""
    version = registry.log_run(model, RunRecord("night", {}, {}, "0" * 64)).version
    return registry.promote(version, "newer").version


def publish_night(database: Database, day: int, version: int) -> int:
    """Publish a night of May 2026 and return its run."""
    run = score_runs.start_run(database, "lead-conversion", date(2026, 5, day))
    now = datetime(2026, 5, day, 2, tzinfo=UTC)
    probability = [0.1, 0.2, 0.3]
    scores = pl.DataFrame({"lead_id": ["a", "b", "c"], "probability": probability}).with_columns(
        status=pl.lit("scored"),
        score=pl.lit(50, pl.Int16),
        model_version=pl.lit(str(version)),
        data_as_of=pl.lit(now),
        scored_at=pl.lit(now),
    )
    publish(database, run, scores)
    return run.run_id


def in_force(database: Database) -> tuple[int, date, str]:
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT run_id, as_of_date, model_version FROM scoring.lead_score"
        ).fetchall()
    assert len(rows) == 1
    return rows[0]


def test_the_earlier_champion_returns_with_its_newest_scores(database, registry, rollback, model):
    first = champion(registry, model)
    publish_night(database, 1, first)
    newest = publish_night(database, 2, first)
    second = champion(registry, model)
    publish_night(database, 3, second)
    status, answer = rollback()
    assert (status, answer["version"]) == (0, first)
    assert answer["scores_in_force"] == {"run_id": newest, "as_of": "2026-05-02"}
    assert answer["scores"] == f"those of 2026-05-02 (run {newest}), made by version {first}, are in force"
    assert in_force(database) == (newest, date(2026, 5, 2), str(first))
    assert registry.get(CHAMPION).version == first


def test_without_scores_at_hand_the_published_ones_stay_and_that_is_said(database, registry, rollback, model):
    first, second = champion(registry, model), champion(registry, model)
    run = publish_night(database, 3, second)
    status, answer = rollback()
    assert (status, answer["version"], answer["scores_in_force"]) == (0, first, None)
    assert f"none of version {first} are kept" in answer["scores"]
    assert in_force(database)[0] == run


def test_a_rerun_after_a_crash_between_the_steps_goes_back_one_champion_only(
    database, registry, rollback, model, monkeypatch
):
    oldest, first = champion(registry, model), champion(registry, model)
    put_back = publish_night(database, 2, first)
    second = champion(registry, model)
    publish_night(database, 3, second)

    def crash(*_: object) -> None:
        raise RuntimeError("the registry is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "rollback", crash)
        assert rollback()[0] == 1
    assert in_force(database)[0] == put_back
    assert registry.get(CHAMPION).version == second
    status, answer = rollback()
    assert (status, answer["version"], answer["scores_in_force"]["run_id"]) == (0, first, put_back)
    assert in_force(database)[0] == put_back
    assert registry.champion_history()[-2:] == [oldest, first]


def test_the_rest_after_repeated_roll_backs_counts_from_the_newest_night(database, registry, rollback, model):
    for day in (1, 2, 30):
        publish_night(database, day, champion(registry, model))
    assert [rollback()[1]["scores_in_force"]["as_of"] for _ in range(2)] == ["2026-05-02", "2026-05-01"]
    assert decisions.last_roll_back(database, "lead-conversion") == date(2026, 5, 30)


def test_an_earlier_champion_can_be_named(database, registry, rollback, model):
    first, *_, last = versions = [champion(registry, model) for _ in range(3)]
    for day, version in enumerate(versions, start=1):
        publish_night(database, day, version)
    status, answer = rollback("--to", str(last + 1))
    assert (status, registry.get(CHAMPION).version) == (1, last)
    assert f"version {last + 1} of lead-scoring was no champion" in answer["error"]
    status, answer = rollback("--to", str(first))
    assert (status, answer["version"]) == (0, first)
    assert in_force(database)[2] == str(first)
    assert registry.get(CHAMPION).version == first


def test_a_promotion_by_hand_says_that_the_scores_are_another_models(
    database, registry, rollback, model, capsys
):
    first = champion(registry, model)
    publish_night(database, 1, first)
    second = registry.log_run(model, RunRecord("night", {}, {}, "0" * 64)).version
    assert main(["models", "promote", str(second), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["version"], in_force(database)[2]) == (second, str(first))
    assert "the published ones stay until the next night rescores" in answer["scores"]


def test_no_earlier_champion_changes_nothing(database, settings, rollback, model, monkeypatch):
    monkeypatch.setenv("LEADSCORE_MODEL_NAME", "only-one")
    registry = open_registry(settings.model_copy(update={"model_name": "only-one"}), database)
    only = champion(registry, model)
    run = publish_night(database, 1, only)
    status, answer = rollback()
    assert status == 1
    assert "no earlier champion to go back to" in answer["error"]
    assert in_force(database)[0] == run


def test_a_night_going_on_is_not_disturbed(database, registry, rollback, model):
    champion(registry, model)
    second = champion(registry, model)
    with exclusive(database, "nightly"):
        status, answer = rollback()
    assert status == 1
    assert "nightly already runs" in answer["error"]
    assert registry.get(CHAMPION).version == second
