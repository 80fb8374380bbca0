"""What an unattended installation runs: Postgres where it is ours, Prefect, the deployments, MLflow's UI."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.adapters import embedded_postgres
from flows.adapters.prefect_database import FirstStart
from flows.adapters.processes import Child
from flows.supervisor import Process, Service

if TYPE_CHECKING:
    from flows.adapters.settings import Settings

HOST = "127.0.0.1"
START_SECONDS = 180.0


@dataclass(frozen=True)
class Schedule:
    """When nights run: a cron expression and the time zone that it is read in."""

    cron: str
    timezone: str


class EmbeddedPostgres:
    """The home's server, which is held, and stopped, by whoever opened the database."""

    def __init__(self, home: Path) -> None:
        self._home = home
        embedded_postgres.revive(home)

    @property
    def exit_code(self) -> int | None:
        """1 when the server is gone; its own status is not ours to know."""
        return None if embedded_postgres.server_pid(self._home) is not None else 1

    def stop(self) -> None:
        """Nothing: the last who uses the server stops it."""

    def log_tail(self) -> str:
        """Nothing beyond the server's own log."""
        return ""


def services(
    settings: Settings, mlflow_uri: str, schedule: Schedule, ports: Mapping[str, int]
) -> list[Service]:
    """Return the services of an installation, in the order in which they need each other.

    Parameters
    ----------
    mlflow_uri : the tracking address, of a database where MLflow's UI is wanted.
    ports : of "prefect" and, where MLflow's UI is wanted, "mlflow".
    """
    root, api_url = settings.root, f"http://{HOST}:{ports['prefect']}/api"
    kept = [] if settings.database_url else [Service("postgres", lambda: EmbeddedPostgres(root))]
    prefect = _PrefectServer(root, ports["prefect"])
    kept.append(Service("prefect server", prefect.start, prefect.wait_ready))
    kept.append(_deployments(root, api_url, schedule))
    if "mlflow" in ports:
        kept.append(_mlflow(root, mlflow_uri, ports["mlflow"]))
    return kept


class _PrefectServer:
    """Starts Prefect's server; the first start of a home migrates its history, with nobody else starting."""

    def __init__(self, root: Path, port: int) -> None:
        self._root = root
        self._port = port
        self._first_start: FirstStart | None = None

    def start(self) -> Child:
        home = self._root / "prefect"
        home.mkdir(parents=True, exist_ok=True)
        self._first_start = FirstStart(home)
        env = _inherited() | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        arguments = ["server", "start", "--host", HOST, "--port", str(self._port)]
        return Child("prefect", arguments, self._root / "logs" / "prefect-server.log", env)

    def wait_ready(self, process: Process) -> None:
        if self._first_start is None:
            raise RuntimeError("Prefect's server was not started")
        try:
            _await_answer(process, f"http://{HOST}:{self._port}/api/health")
            self._first_start.finished()
        finally:
            self._first_start.close()


def _deployments(root: Path, api_url: str, schedule: Schedule) -> Service:
    def start() -> Child:
        env = _inherited() | {
            "PREFECT_HOME": str(root / "prefect"),
            "PREFECT_API_URL": api_url,
            "LEADSCORE_HOME": str(root),
            "LEADSCORE_RETRAIN_INLINE": "false",  # the automation does it
        }
        arguments = [schedule.cron, schedule.timezone]
        return Child("flows.adapters.served", arguments, root / "logs" / "deployments.log", env)

    return Service("deployments", start)


def _mlflow(root: Path, tracking_uri: str, port: int) -> Service:
    def start() -> Child:
        env = _inherited() | {
            "MLFLOW_BACKEND_STORE_URI": tracking_uri,  # not an argument: those show in lists of processes
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        arguments = ["server", "--host", HOST, "--port", str(port), "--workers", "1"]
        return Child("mlflow", arguments, root / "logs" / "mlflow-server.log", env)

    return Service("mlflow", start)


def _inherited() -> dict[str, str]:
    """Return our environment without PREFECT_*: those settings are about another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def _await_answer(process: Process, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url) or process.exit_code is not None:
        if process.exit_code is not None:  # whoever answers is not ours
            raise RuntimeError(f"Prefect's server ended while it started:\n{process.log_tail()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"Prefect's server does not answer at {url}:\n{process.log_tail()}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own server
            return True
    except (OSError, urllib.error.HTTPError):
        return False
