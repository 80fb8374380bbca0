"""MLflow: runs, model versions and the aliases champion and challenger.

The explicit client is used throughout: MLflow's fluent functions write the tracking address, password
included, into the environment of the process.
"""

import contextlib
import json
import math
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.adapters.database import MLFLOW_DATABASE, Database
from flows.adapters.mlflow_import import quiet_mlflow
from flows.adapters.pyfunc_files import save_pyfunc
from flows.adapters.run_files import RunRecord, write_run_files
from flows.adapters.settings import Settings
from flows.adapters.stored_files import StoredFiles
from flows.lead_model import LeadModel, training_range_dict

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities.model_registry import ModelVersion as StoredVersion
    from mlflow.entities.model_registry import RegisteredModel

CHAMPION = "champion"
CHALLENGER = "challenger"

_HISTORY_TAG = "champion_history"
_HISTORY_LENGTH = 200
_MOST_RUNS = 50_000  # that MLflow returns at once


class RegistryError(RuntimeError):
    """The registry has no such version, no earlier champion, or has lost a version's files."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version with the metrics and params of its run."""

    version: int
    run_id: str
    created_at: datetime
    aliases: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def tracking_uri(settings: Settings, database: Database) -> str:
    """MLFLOW_TRACKING_URI where it is set, else a database of its own on our server, created when missing."""
    if settings.mlflow_tracking_uri:
        return settings.mlflow_tracking_uri
    own = database.ensure_database(MLFLOW_DATABASE)
    return own.uri().replace("postgresql://", "postgresql+psycopg://", 1)


def is_server(uri: str | None) -> bool:
    """Whether a tracking address is of an MLflow server, with a UI and artefacts of its own."""
    return uri is not None and uri.startswith(("http://", "https://"))


def open_registry(settings: Settings, database: Database) -> "Registry":
    """Return the registry of these settings; artefacts lie under the home, or where an MLflow server says."""
    uri = tracking_uri(settings, database)
    root = None if is_server(uri) else settings.root / "mlflow" / "artifacts"
    return Registry(uri, root, settings.model_name)


class Registry:
    """Runs and versions of one registered model.

    Parameters
    ----------
    tracking_uri : a database address as SQLAlchemy spells it, or an MLflow server's.
    artifact_root : folder of the runs' artefacts, fixed when the experiment is first made; None leaves the
        choice to the server.
    model_name : of the registered model, and of the experiment that holds its runs.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | None, model_name: str) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root
        self.model_name = model_name

    def log_run(self, model: LeadModel, record: RunRecord) -> ModelVersion:
        """Log a run with its model and register the model as a new version, without an alias.

        The version is created last: a crash before leaves an unfinished run and no version, a crash after
        leaves a version that nobody uses, and in both cases the champion stays what it was.
        """
        tags = {"leadscore_version": model.code_version}
        run_id = self._client.create_run(self._experiment_id, run_name=record.name, tags=tags).info.run_id
        try:
            self._log_values(run_id, model, record)
            with tempfile.TemporaryDirectory() as folder:
                write_run_files(Path(folder), model, record)
                self._client.log_artifacts(run_id, folder)
            model_id, source = self._log_model(run_id, model)
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id, "FINISHED")
        if self._registered() is None:
            self._client.create_registered_model(self.model_name)
        created = self._client.create_model_version(self.model_name, source, run_id, model_id=model_id)
        return self.show(int(created.version))

    def attach_report(self, run_id: str, report: Path) -> None:
        """Add an HTML report to a run that was logged before."""
        self._client.log_artifact(run_id, str(report), "report")

    def attach_json(self, run_id: str, name: str, value: Mapping[str, Any]) -> None:
        """Add a JSON file to a run that was logged before."""
        self._client.log_text(run_id, json.dumps(value, indent=1, default=str), name)

    def add_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to a run that was logged before; those that are not finite are left out."""
        self._client.log_batch(run_id, metrics=_metrics(metrics))

    def edit_artifacts(self, edit: Callable[[str, str], str]) -> int:
        """Rewrite the runs' text artefacts where `edit(name, text)` changes them; returns how many."""
        runs = self._client.search_runs([self._experiment_id], max_results=_MOST_RUNS)
        return sum(self._files.edit(run.info.run_id, edit) for run in runs)

    def remove_alias(self, alias: str) -> None:
        """Take an alias away, if it is there; never the champion's."""
        if alias != CHAMPION and alias in self._aliases():
            self._client.delete_registered_model_alias(self.model_name, alias)

    def set_alias(self, alias: str, version: int) -> None:
        """Point `alias` at `version`. The champion is set by `promote`, which remembers whom it replaces."""
        if alias == CHAMPION:
            raise RegistryError(
                f"promote version {version} instead of setting its alias: rollback needs the history"
            )
        self.show(version)
        self._client.set_registered_model_alias(self.model_name, alias, str(version))

    def get(self, alias: str) -> ModelVersion | None:
        """Return the version behind `alias`, or None."""
        version = self._aliases().get(alias)
        return None if version is None else self.show(version)

    def show(self, version: int) -> ModelVersion:
        """Return one version.

        Raises
        ------
        RegistryError
            If there is no such version; it names those there are.
        """
        stored = self._stored(version)
        if stored is None:
            known = ", ".join(str(v.version) for v in self.list_versions(20)) or "none"
            raise RegistryError(f"{self.model_name} has no version {version}; the newest are: {known}")
        return self._with_runs([stored])[0]

    def list_versions(self, limit: int = 50) -> list[ModelVersion]:
        """Return the newest versions, newest first."""
        found = self._client.search_model_versions(
            f"name = '{self.model_name}'", max_results=limit, order_by=["version_number DESC"]
        )
        return self._with_runs(found)

    def promote(self, version: int, reason: str) -> ModelVersion:
        """Make `version` the champion; `rollback` takes it back.

        Moving the alias is the one step that counts: the history is always read as of the champion.
        """
        chosen = self.show(version)
        earlier = [v for v in self.champion_history() if v != version]
        self._write_history([*earlier, version])
        self._client.set_registered_model_alias(self.model_name, CHAMPION, str(version))
        if CHALLENGER in chosen.aliases:
            self._client.delete_registered_model_alias(self.model_name, CHALLENGER)
        self._explain(version, "promoted", reason)
        return self.show(version)

    def rollback(self, reason: str, to: int | None = None) -> ModelVersion:
        """Make an earlier champion the champion again; those after it are forgotten as champions.

        Parameters
        ----------
        to : which one; None takes the previous one. Where it is the champion already nothing is done.

        Raises
        ------
        RegistryError
            If there is no such champion whose version still exists.
        """
        history = self.champion_history()
        if history and to == history[-1]:
            return self.show(history[-1])
        chosen = self.earlier_champion(to)
        self._client.set_registered_model_alias(self.model_name, CHAMPION, str(chosen))
        self._write_history(history[: history.index(chosen) + 1])
        for version in history[history.index(chosen) + 1 :]:
            self._explain(version, "rolled_back", reason)
        return self.show(chosen)

    def earlier_champion(self, to: int | None = None) -> int:
        """Return the version that `rollback` would go back to.

        Parameters
        ----------
        to : which one; None takes the previous one.

        Raises
        ------
        RegistryError
            If there is no such earlier champion whose version still exists.
        """
        earlier = self._earlier_champions()
        if to is not None and to not in earlier:
            known = ", ".join(map(str, earlier))
            raise RegistryError(f"version {to} of {self.model_name} was no champion; earlier ones: {known}")
        return earlier[-1] if to is None else to

    def champion_history(self) -> list[int]:
        """Champions in order of promotion, today's last, without those rolled back; empty without any."""
        registered = self._registered()
        champion = None if registered is None else registered.aliases.get(CHAMPION)
        if registered is None or champion is None:
            return []
        history = json.loads(registered.tags.get(_HISTORY_TAG, "[]"))
        is_known = int(champion) in history
        return [*history[: history.index(int(champion)) if is_known else None], int(champion)]

    def prune(self, keep: Collection[int], before: date, most: int, n_former: int = 0) -> list[int]:
        """Delete versions trained as of an earlier day, oldest first; their runs and metrics stay.

        Files go first: a version that a crash leaves without them is deleted the next time.

        Parameters
        ----------
        keep : versions that stay, whatever their age; so do those with an alias.
        most : how many are deleted at once.
        n_former : how many of the champions before today's stay.

        Returns
        -------
        list of int : the versions deleted.

        Raises
        ------
        RegistryError
            If the store cannot be asked, or does not let them go.
        """
        from mlflow.exceptions import MlflowException

        try:
            former = self.champion_history()[-1 - n_former :]
            return self._prune({*keep, *former}, before, most)
        except (MlflowException, OSError) as error:
            raise RegistryError(f"old versions of {self.model_name} cannot be deleted: {error}") from error

    def _prune(self, keep: Collection[int], before: date, most: int) -> list[int]:
        oldest = self._client.search_model_versions(
            f"name = '{self.model_name}'",
            max_results=len(keep) + len(self._aliases()) + most,
            order_by=["version_number ASC"],
        )
        stored = {int(version.version): version for version in oldest}
        gone = [
            one.version
            for one in self._with_runs(oldest)
            if one.version not in keep and not one.aliases and _trained_on(one) < before
        ][:most]
        for version in gone:
            self._files.delete_version(stored[version])
        return gone

    def delete(self) -> None:
        """Delete the registered model with its versions, experiment, runs and all their files.

        MLflow keeps the rows of deleted experiments and runs, hidden, until `mlflow gc`. Their name cannot be
        used again before that.

        Raises
        ------
        RegistryError
            If the store does not let them go.
        """
        from mlflow.exceptions import MlflowException

        try:
            experiment = self._client.get_experiment_by_name(self.model_name)
            if experiment is None or experiment.lifecycle_stage == "deleted":
                return
            for run in self._client.search_runs([experiment.experiment_id], max_results=_MOST_RUNS):
                self._files.delete_run(run)
            if self._registered() is not None:
                self._client.delete_registered_model(self.model_name)
            self._client.delete_experiment(experiment.experiment_id)
        except (MlflowException, OSError) as error:
            raise RegistryError(f"{self.model_name} cannot be deleted: {error}") from error

    def load(self, version: int) -> LeadModel:
        """Load the lead model of a version.

        Raises
        ------
        RegistryError
            If there is no such version, or its files cannot be read.
        """
        from mlflow.exceptions import MlflowException

        self.show(version)  # says so where there is none
        source = self._client.get_model_version_download_uri(self.model_name, str(version))
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = quiet_mlflow().artifacts.download_artifacts(
                    artifact_uri=f"{source}/artifacts/lead_model",
                    dst_path=folder,
                    tracking_uri=self.tracking_uri,
                )
                return LeadModel.load(Path(found))
            except (MlflowException, OSError) as error:
                raise RegistryError(
                    f"files of {self.model_name} version {version} cannot be read under {source}: restore "
                    f"them, `leadscore models rollback`, or `leadscore train` ({error})"
                ) from error

    def load_champion(self) -> tuple[LeadModel, ModelVersion] | None:
        """Return the champion and its version, or None when none was ever promoted."""
        champion = self.get(CHAMPION)
        return None if champion is None else (self.load(champion.version), champion)

    @cached_property
    def _client(self) -> "MlflowClient":
        return quiet_mlflow().MlflowClient(self.tracking_uri, self.tracking_uri)

    @cached_property
    def _files(self) -> StoredFiles:
        return StoredFiles(self._client, self.tracking_uri)

    @cached_property
    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.model_name)
        if found is not None:
            return found.experiment_id
        location = None if self.artifact_root is None else self.artifact_root.resolve().as_uri()
        return self._client.create_experiment(self.model_name, artifact_location=location)

    def _log_values(self, run_id: str, model: LeadModel, record: RunRecord) -> None:
        from mlflow.entities import Param

        trained = {
            f"train_{name}": value for name, value in training_range_dict(model.training_range).items()
        }
        params = {
            **asdict(model.label_definition),
            **trained,
            "data_sha256": record.data_sha256,
            **record.params,
        }
        metrics = _metrics(record.metrics)
        self._client.log_batch(run_id, metrics=metrics, params=[Param(k, str(v)) for k, v in params.items()])

    def _log_model(self, run_id: str, model: LeadModel) -> tuple[str, str]:
        from mlflow.entities import LoggedModelOutput

        logged = self._client.create_logged_model(self._experiment_id, self.model_name, source_run_id=run_id)
        with tempfile.TemporaryDirectory() as folder:
            save_pyfunc(Path(folder), model)
            self._client.log_model_artifacts(logged.model_id, str(Path(folder, "pyfunc")))
        self._client.finalize_logged_model(logged.model_id, "READY")
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        return logged.model_id, logged.artifact_location

    def _registered(self) -> "RegisteredModel | None":
        found = self._client.search_registered_models(f"name = '{self.model_name}'", max_results=1)
        return found[0] if found else None

    def _aliases(self) -> dict[str, int]:
        registered = self._registered()
        return {} if registered is None else {name: int(v) for name, v in registered.aliases.items()}

    def _earlier_champions(self) -> list[int]:
        """Champions before today's whose versions still exist, at least one."""
        earlier = [v for v in self.champion_history()[:-1] if self._stored(v) is not None]
        if not earlier:
            raise RegistryError(
                f"{self.model_name} has no earlier champion to go back to; see `leadscore models list`"
            )
        return earlier

    def _stored(self, version: int) -> "StoredVersion | None":
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version(self.model_name, str(version))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _with_runs(self, stored: "list[StoredVersion]") -> list[ModelVersion]:
        """Join versions with their runs: one query for all of them."""
        if not stored:
            return []
        wanted = ", ".join(f"'{v.run_id}'" for v in stored)
        runs = self._client.search_runs(
            [self._experiment_id], f"attributes.run_id IN ({wanted})", max_results=len(stored)
        )
        data = {run.info.run_id: run.data for run in runs}
        aliases = self._aliases()
        return [
            ModelVersion(
                version=int(v.version),
                run_id=v.run_id or "",
                created_at=datetime.fromtimestamp(v.creation_timestamp / 1000, UTC),
                aliases=tuple(sorted(name for name, target in aliases.items() if target == int(v.version))),
                metrics=data[v.run_id].metrics if v.run_id in data else {},
                params=data[v.run_id].params if v.run_id in data else {},
                tags=dict(v.tags),
            )
            for v in stored
        ]

    def _write_history(self, versions: list[int]) -> None:
        text = json.dumps(versions[-_HISTORY_LENGTH:])
        self._client.set_registered_model_tag(self.model_name, _HISTORY_TAG, text)

    def _explain(self, version: int, what: str, reason: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._client.set_model_version_tag(self.model_name, str(version), f"{what}_at", now)
        self._client.set_model_version_tag(self.model_name, str(version), f"{what}_because", reason)


def _trained_on(version: ModelVersion) -> date:
    """The night a version is of; the day it was registered where its run does not say."""
    told = version.params.get("train_as_of")
    return version.created_at.date() if told is None else date.fromisoformat(told)


def _metrics(values: "Mapping[str, float | None]") -> "list[Metric]":
    from mlflow.entities import Metric

    now = int(datetime.now(UTC).timestamp() * 1000)
    return [
        Metric(name, float(value), now, 0)
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    ]
