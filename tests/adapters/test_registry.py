"""MLflow holds complete versions, moves aliases safely, and serves what was trained."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from features.matrix import fit_encoding, to_matrix
from flows.adapters.database import MLFLOW_DATABASE, Database
from flows.adapters.registry import CHALLENGER, CHAMPION, Registry, RegistryError, open_registry, tracking_uri
from flows.adapters.run_files import RunRecord
from flows.adapters.settings import Settings
from flows.lead_model import LabelDefinition, LeadModel, TrainingRange, pandas_input
from pkboost_core import PKBoostClassifier
from tests.flows.small_models import features

SCORE_BY_ALIAS = """
import sys
import mlflow, numpy as np, pandas as pd
model = mlflow.pyfunc.load_model("models:/lead-scoring@champion")
np.save(sys.argv[2], model.predict(pd.read_parquet(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def model() -> LeadModel:
    frame = features(400)
    y = (frame["activity_pricing_visit_count_7d"].to_numpy() + np.random.default_rng(1).normal(0, 1, 400)) > 2
    encoding = fit_encoding(frame)
    booster = PKBoostClassifier(
        n_estimators=12, categorical_features=encoding.categorical_indices, random_state=7
    )
    booster.fit(to_matrix(frame, encoding), y.astype(float))
    learnt = TrainingRange(date(2026, 3, 1), date(2025, 1, 5), date(2025, 12, 24), 400, int(y.sum()))
    return LeadModel(booster, encoding, LabelDefinition(60, 7, "c" * 64), learnt)


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    report = tmp_path / "report.html"
    report.write_text("<p>report</p>")
    return RunRecord(
        name="2026-03-01",
        metrics={
            "average_precision": 0.4,
            "average_precision_low": 0.3,
            "prevalence": None,
            "log_loss": np.nan,
        },
        params={"random_state": 7},
        data_sha256="d" * 64,
        curves={"gains": {"share": [0.0, 1.0], "capture": [0.0, 1.0]}},
        charts={"gains": "<svg/>"},
        report=report,
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Settings:
    """A home and a store of this module's own."""
    uri = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    home = Settings(home=tmp_path_factory.mktemp("home"), database_url=None)
    return home.model_copy(update={"mlflow_tracking_uri": uri})


@pytest.fixture(scope="module")
def registry(settings: Settings, server: Database) -> Registry:
    return open_registry(settings, server)


def fresh(registry: Registry, name: str) -> Registry:
    """A registered model of its own in the same store."""
    return Registry(registry.tracking_uri, registry.artifact_root, name)


def test_a_night_finds_its_champion_and_a_fresh_process_scores_alike(
    registry: Registry, model: LeadModel, record: RunRecord, tmp_path: Path
) -> None:
    assert registry.load_champion() is None
    version = registry.log_run(model, record)
    assert registry.load_champion() is None, "a version without an alias is no champion"
    registry.promote(version.version, "first")
    loaded, champion = registry.load_champion()
    leads = features(300, seed=9)
    expected = model.predict_proba(leads)
    np.testing.assert_array_equal(loaded.predict_proba(leads), expected)
    assert champion.version == version.version

    pandas_input(leads, model.encoding).to_parquet(tmp_path / "leads.parquet")
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": registry.tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-c", SCORE_BY_ALIAS, str(tmp_path / "leads.parquet"), str(tmp_path / "p.npy")]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), expected, rtol=0, atol=1e-12)


def test_a_version_shows_what_was_logged(registry: Registry, model: LeadModel, record: RunRecord) -> None:
    version = registry.log_run(model, record)
    assert dict(version.metrics) == {"average_precision": 0.4, "average_precision_low": 0.3}
    assert version.params["data_sha256"] == "d" * 64
    assert version.params["horizon_days"] == "60"
    assert version.params["train_as_of"] == "2026-03-01"
    assert version.params["random_state"] == "7"
    assert version.aliases == ()
    assert registry.show(version.version) == version
    assert registry.list_versions()[0] == version


def test_artefacts_are_complete_and_hold_no_pickle_and_no_password(
    settings: Settings, server: Database, model: LeadModel, record: RunRecord
) -> None:
    root = settings.root / "mlflow" / "other"
    registry = Registry(tracking_uri(settings, server), root, "artefacts")
    registry.attach_report(registry.log_run(model, record).run_id, record.report)
    files = [path for path in root.rglob("*") if path.is_file()]
    names = {path.relative_to(root).as_posix().split("/artifacts/", 1)[1] for path in files}
    assert names >= {
        "features.json",
        "label_definition.json",
        "environment.json",
        "curves/gains.json",
        "curves/gains.svg",
        "report/report.html",
        "artifacts/lead_model/booster.pkb",
        "artifacts/lead_model/lead_model.json",
        "pyfunc_model.py",
        "MLmodel",
        "requirements.txt",
    }
    password = server.parameters["password"].encode()
    for path in files:
        data = path.read_bytes()
        assert path.suffix not in {".pkl", ".pickle", ".joblib"}
        assert not data.startswith(b"\x80"), f"{path} is pickled"
        assert password not in data, f"{path} holds the password"
    packages = json.loads(next(p for p in files if p.name == "environment.json").read_text())["packages"]
    assert {"leadscore", "numba", "polars", "mlflow"} <= set(packages)


def test_old_versions_go_with_their_files_oldest_first_and_their_runs_stay(
    settings: Settings, server: Database, model: LeadModel, record: RunRecord
) -> None:
    root = settings.root / "mlflow" / "pruned"
    registry = Registry(tracking_uri(settings, server), root, "pruned")
    night = replace(model.training_range, as_of=date(2026, 3, 20))
    old = [registry.log_run(model, record) for _ in range(5)]
    young = registry.log_run(replace(model, training_range=night), record)
    champion, challenger, kept, *rest = (one.version for one in old)
    registry.promote(champion, "first")
    registry.set_alias(CHALLENGER, challenger)
    assert registry.prune({kept}, date(2026, 3, 1), 20) == [], "as old as that day is young enough"
    assert registry.prune({kept}, date(2026, 3, 2), 1) == rest[:1]
    assert registry.prune({kept}, date(2026, 3, 2), 20) == rest[1:]
    assert registry.prune({kept}, date(2026, 3, 2), 20) == []
    left = [young.version, kept, challenger, champion]
    assert [one.version for one in registry.list_versions()] == left
    assert [registry.load(version).training_range.n_rows for version in left] == [400] * 4
    boosters = list(root.rglob("booster.pkb"))
    assert len(boosters) == 4
    run = registry._client.get_run(old[-1].run_id)
    assert run.data.metrics["average_precision"] == 0.4
    with pytest.raises(RegistryError, match="has no version"):
        registry.show(rest[0])


def test_a_deleted_model_goes_with_all_its_files_and_others_stay(
    settings: Settings, server: Database, model: LeadModel, record: RunRecord
) -> None:
    root = settings.root / "mlflow" / "deleted"
    uri = tracking_uri(settings, server)
    gone, stays = Registry(uri, root, "gone"), Registry(uri, root, "stays")
    kept = stays.log_run(model, record)
    before = {path for path in root.rglob("*") if path.is_file()}
    gone.delete()
    for _ in range(2):
        gone.attach_report(gone.promote(gone.log_run(model, record).version, "better").run_id, record.report)
    gone.delete()
    gone.delete()
    assert {path for path in root.rglob("*") if path.is_file()} == before
    assert gone.list_versions() == []
    assert gone.load_champion() is None
    assert stays.load(kept.version).training_range.n_rows == 400


def test_rollback_returns_to_each_earlier_champion_in_turn(
    registry: Registry, model: LeadModel, record: RunRecord
) -> None:
    registry = fresh(registry, "rollback")
    first, second, third = (registry.log_run(model, record).version for _ in range(3))
    for version in (first, second, third):
        registry.promote(version, "better")
    registry.promote(second, "better after all")
    assert registry.champion_history() == [first, third, second]
    assert registry.rollback("worse").version == third
    assert registry.rollback("worse").version == first
    assert registry.get(CHAMPION).version == first
    with pytest.raises(RegistryError, match="no earlier champion"):
        registry.rollback("worse")
    assert registry.get(CHAMPION).version == first
    assert registry.show(third).tags["rolled_back_because"] == "worse"


def test_a_crash_between_history_and_alias_changes_nothing(
    registry: Registry, model: LeadModel, record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = fresh(registry, "crash")
    first, second, third = (registry.log_run(model, record).version for _ in range(3))
    registry.promote(first, "first")
    registry.promote(second, "better")
    with monkeypatch.context() as patch:
        patch.setattr(registry._client, "set_registered_model_alias", _crash)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(third, "better")
        with pytest.raises(KeyboardInterrupt):
            registry.rollback("worse")
    assert registry.get(CHAMPION).version == second
    assert registry.champion_history() == [first, second]
    assert registry.rollback("worse").version == first


def test_a_crash_while_logging_leaves_no_version(
    registry: Registry, model: LeadModel, record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = fresh(registry, "unfinished")
    registry.promote(registry.log_run(model, record).version, "first")
    monkeypatch.setattr(registry._client, "log_model_artifacts", _crash)
    with pytest.raises(KeyboardInterrupt):
        registry.log_run(model, record)
    assert [v.version for v in registry.list_versions()] == [1]
    assert registry.load_champion()[1].version == 1
    states = {run.info.status for run in registry._client.search_runs([registry._experiment_id])}
    assert states == {"FINISHED", "FAILED"}


def test_promoting_the_challenger_frees_its_alias(
    registry: Registry, model: LeadModel, record: RunRecord
) -> None:
    registry = fresh(registry, "challenger")
    version = registry.log_run(model, record).version
    registry.set_alias(CHALLENGER, version)
    assert registry.get(CHALLENGER).aliases == (CHALLENGER,)
    assert registry.promote(version, "won").aliases == (CHAMPION,)
    assert registry.get(CHALLENGER) is None


def test_the_champion_alias_is_moved_by_promotion_only(
    registry: Registry, model: LeadModel, record: RunRecord
) -> None:
    registry = fresh(registry, "alias")
    version = registry.log_run(model, record).version
    with pytest.raises(RegistryError, match="promote version 1"):
        registry.set_alias(CHAMPION, version)


def test_unknown_versions_are_named_beside_the_known(
    registry: Registry, model: LeadModel, record: RunRecord
) -> None:
    registry = fresh(registry, "unknown")
    with pytest.raises(RegistryError, match="unknown has no version 7; the newest are: none"):
        registry.promote(7, "typo")
    registry.log_run(model, record)
    with pytest.raises(RegistryError, match="no version 7; the newest are: 1"):
        registry.promote(7, "typo")
    assert registry.get(CHAMPION) is None


def test_lost_files_are_told(
    settings: Settings, server: Database, model: LeadModel, record: RunRecord
) -> None:
    registry = Registry(tracking_uri(settings, server), settings.root / "lost", "lost")
    registry.promote(registry.log_run(model, record).version, "first")
    (settings.root / "lost").rename(settings.root / "elsewhere")
    with pytest.raises(RegistryError, match=r"files of lost version 1 cannot be read under .*rollback"):
        registry.load_champion()


def test_the_process_keeps_its_environment_and_its_stdout(
    registry: Registry, model: LeadModel, record: RunRecord, capfd: pytest.CaptureFixture
) -> None:
    fresh(registry, "environment").log_run(model, record)
    assert capfd.readouterr().out == ""
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_by_default_mlflow_has_a_database_of_its_own_on_our_server(
    settings: Settings, server: Database
) -> None:
    uri = tracking_uri(settings.model_copy(update={"mlflow_tracking_uri": None}), server)
    assert uri.startswith("postgresql+psycopg://")
    with server.at(MLFLOW_DATABASE).connect() as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("leadscore_mlflow",)


def test_the_users_tracking_address_wins(settings: Settings, server: Database) -> None:
    elsewhere = settings.model_copy(update={"mlflow_tracking_uri": "http://mlflow.example:5000"})
    registry = open_registry(elsewhere, server)
    assert registry.tracking_uri == "http://mlflow.example:5000"
    assert registry.artifact_root is None


def _crash(*_args: object, **_kwargs: object) -> None:
    raise KeyboardInterrupt


def test_a_broken_report_path_fails_the_run(registry: Registry, model: LeadModel, record: RunRecord) -> None:
    registry = fresh(registry, "broken")
    with pytest.raises(FileNotFoundError):
        registry.log_run(model, replace(record, report=Path("/nowhere/report.html")))
    assert registry.list_versions() == []
