"""The SQLite file of our own Prefect server: migrated once per installation, then copied."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path

_WAIT_SECONDS = 180.0


class FirstStart:
    """Holds other first starts in the same home back until the database is migrated.

    A new home gets a copy of the migrated, empty database kept beside the installed packages (.1 s instead of
    7 s). When there is none yet, the server migrates and `finished` keeps a copy for the next home.

    Raises
    ------
    RuntimeError : another process has been migrating this home for three minutes.
    """

    def __init__(self, home: Path) -> None:
        self._database = home / "prefect.db"
        self._lock: sqlite3.Connection | None = _lock(home / "first-start.lock")
        if self._database.exists() or _copy_prepared(self._database):
            self.close()

    def finished(self) -> None:
        """The server has migrated the database: keep a copy, let others go on."""
        if self._lock is not None:
            _keep_prepared(self._database)
            self.close()

    def close(self) -> None:
        """Let others go on."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _lock(path: Path) -> sqlite3.Connection:
    """An exclusive lock that ends with this process on every system: SQLite's own."""
    connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        raise RuntimeError(
            f"another process has been preparing {path.parent} for {_WAIT_SECONDS:.0f} s; wait for it, "
            "end it, or use another LEADSCORE_HOME"
        ) from error
    return connection


def _prepared() -> Path:
    """Where this installation keeps the migrated, empty database of its version of Prefect."""
    return Path(sys.prefix) / "var" / "leadscore" / f"prefect-{version('prefect')}.db"


def _copy_prepared(database: Path) -> bool:
    if not _prepared().exists():
        return False
    partial = database.with_suffix(".partial")
    shutil.copyfile(_prepared(), partial)
    partial.replace(database)
    return True


def _keep_prepared(database: Path) -> None:
    partial = _prepared().with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):  # an installation that we may not write to goes without
        partial.parent.mkdir(parents=True, exist_ok=True)
        with (
            contextlib.closing(sqlite3.connect(database)) as source,
            contextlib.closing(sqlite3.connect(partial)) as copy,
        ):
            source.backup(copy)
        partial.replace(_prepared())
