"""Files that MLflow keeps for runs and for the models they logged: rewritten, and deleted with their rows."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion as StoredVersion


@dataclass(frozen=True)
class StoredFiles:
    """What a client reaches of them."""

    client: "MlflowClient"
    tracking_uri: str

    def edit(self, run_id: str, edit: Callable[[str, str], str], folder: str | None = None) -> int:
        """Rewrite a run's text artefacts where `edit(name, text)` changes them; returns how many."""
        n_changed = 0
        for found in self.client.list_artifacts(run_id, folder):
            if found.is_dir:
                n_changed += self.edit(run_id, edit, found.path)
            elif found.path.endswith((".html", ".json", ".svg", ".txt")):
                n_changed += self._edit_one(run_id, found.path, edit)
        return n_changed

    def _edit_one(self, run_id: str, name: str, edit: Callable[[str, str], str]) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(self.client.download_artifacts(run_id, name, folder))
            text = path.read_text(encoding="utf-8")
            new = edit(path.name, text)
            if new != text:
                self.client.log_text(run_id, new, name)
        return new != text

    def delete_run(self, run: "Run") -> None:
        """Delete a run's artefacts and the models it logged; the run itself stays."""
        for model in self._logged_models(run.info.run_id):
            self._delete(model.artifact_location)
            self.client.delete_logged_model(model.model_id)
        self._delete(run.info.artifact_uri)

    def delete_version(self, stored: "StoredVersion") -> None:
        """Delete a version and its model, files first; its run stays."""
        logged = self._logged_models(stored.run_id)
        for model in logged:
            self._delete(model.artifact_location)
        self.client.delete_model_version(stored.name, stored.version)
        for model in logged:
            self.client.delete_logged_model(model.model_id)

    def _delete(self, location: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        get_artifact_repository(location, self.tracking_uri).delete_artifacts()

    def _logged_models(self, run_id: str | None) -> "list[LoggedModel]":
        """The models that a run has logged; a version registered by other hands may have no run."""
        outputs = self.client.get_run(run_id).outputs if run_id else None
        found = [] if outputs is None else outputs.model_outputs
        return [self.client.get_logged_model(one.model_id) for one in found]
