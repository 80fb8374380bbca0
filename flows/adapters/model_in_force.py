"""The model behind the scores in force, from a copy under the home: MLflow is neither asked nor imported."""

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.adapters.settings import Settings
from flows.lead_model import LeadModel
from flows.status import NO_MODEL

_IN_FORCE = """
    SELECT run_id, run.as_of_date, run.model_version, run.inputs ->> 'mlflow_run_id'
    FROM scoring.score_pointer AS pointer JOIN scoring.score_run AS run USING (run_id)
    WHERE pointer.model_key = %s
"""


class NothingInForceError(LookupError):
    """No scores of a model have been published yet."""


@dataclass(frozen=True)
class InForce:
    """The run in force: its number and date, the registry's version of its model, and MLflow's run of it."""

    run_id: int
    as_of: date
    model_version: str
    mlflow_run_id: str | None


def in_force(database: Database, model_key: str) -> InForce:
    """Return the run in force.

    Raises
    ------
    NothingInForceError : nothing has been published, or no model made what is in force.
    """
    with database.connect(ROLE) as connection:
        row = connection.execute(_IN_FORCE, [model_key]).fetchone()
    if row is None:
        raise NothingInForceError("no scores are in force yet: run `leadscore nightly` first")
    found = InForce(*row)
    if found.model_version == NO_MODEL:
        raise NothingInForceError(
            f"the scores of {found.as_of} come from no model, which needs more conversions: a lead cannot be"
            " scored anew before there is one"
        )
    return found


def load_model(settings: Settings, database: Database, run: InForce) -> LeadModel:
    """Load the model of a run: from the copy under the home, else from MLflow, which leaves a copy.

    MLflow costs seconds of imports. A copy that cannot be read is made anew.
    """
    if run.mlflow_run_id is not None:
        with contextlib.suppress(OSError, ValueError):  # no copy, or a damaged one: boosters hold a checksum
            return LeadModel.load(_copies(settings) / run.mlflow_run_id)
    from flows.adapters.registry import open_registry

    model = open_registry(settings, database).load(int(run.model_version))
    if run.mlflow_run_id is not None:
        _replace(_copies(settings), model, run.mlflow_run_id)
    return model


def keep_copy(settings: Settings, model: LeadModel, mlflow_run_id: str) -> None:
    """Leave a copy of a model that comes into force, unless there is one; older ones go.

    Copies go by MLflow's run id, which is never used twice.
    """
    if not (_copies(settings) / mlflow_run_id).is_dir():
        _replace(_copies(settings), model, mlflow_run_id)


def _copies(settings: Settings) -> Path:
    return settings.root / "cache" / "models"


def _replace(copies: Path, model: LeadModel, name: str) -> None:
    """Put a copy in place whole or not at all, and drop the others."""
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=copies))
    model.save(folder)
    try:
        folder.replace(copies / name)
    except OSError:  # another process was first
        shutil.rmtree(folder, ignore_errors=True)
