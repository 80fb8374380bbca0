"""Environment variables that libraries read at import: caches under the home, no telemetry."""

import os
from pathlib import Path


def prepare_environment(root: Path) -> None:
    """Point caches below `root` and switch telemetry off, unless the user already decided.

    Must run before numba, prefect and mlflow are imported. numba raises at import when the package is
    read-only and there is no other place for its cache.

    Parameters
    ----------
    root : absolute path of the home.
    """
    os.environ.setdefault("NUMBA_CACHE_DIR", str(root / "cache" / "numba"))
    for name in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"):
        os.environ.setdefault(name, "true")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
