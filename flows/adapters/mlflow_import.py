"""MLflow, imported when it is first needed, because that takes over a second, and kept quiet."""

import logging
import os
import warnings
from types import ModuleType

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def preload() -> None:
    """Import MLflow and its database store, 1.7 s, while the caller would wait for something else."""
    quiet_mlflow()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def quiet_mlflow() -> ModuleType:
    """Import MLflow without telemetry, progress bars, warnings of its own imports, and chatter."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow
