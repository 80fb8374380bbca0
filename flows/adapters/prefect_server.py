"""Prefect for a one-shot run: the server the user names, or our own for as long as the run lasts.

A server costs 3.5 s of imports in a process of its own, so it begins early and the caller waits for it as
late as possible. In a new home its 110 migrations would cost 7 s more: see `flows.adapters.prefect_database`.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.adapters.environment import prepare_environment
from flows.adapters.prefect_database import FirstStart
from flows.adapters.processes import Child, free_port
from flows.adapters.settings import Settings

_HOST = "127.0.0.1"
_POLL_SECONDS = 0.05
_RECORDER_SECONDS = 5.0
_RECORDER_QUIET_POLLS = 3

# What a run that starts, works and ends has no use for. Left on: the recorders of task runs and of events.
_IDLE_SERVICES = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)


class PrefectRuntime:
    """A Prefect API to run flows against.

    Attributes
    ----------
    api_url : its address.
    child : our own server, or None when the user named one.
    """

    def __init__(
        self, api_url: str, child: Child | None = None, first_start: FirstStart | None = None
    ) -> None:
        self.api_url = api_url
        self.child = child
        self._first_start = first_start
        self._settings = ExitStack()
        self._began = datetime.now(UTC)

    def wait_ready(self, timeout_seconds: float = 120.0) -> None:
        """Block until the API answers, then point Prefect in this process at it.

        Imports prefect (1 s), best done while the server starts.

        Raises
        ------
        RuntimeError : the server ended, or nobody answers in time; the message holds the end of its log.
        """
        from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        self._poll(timeout_seconds)
        updates: dict[Any, Any] = {PREFECT_API_URL: self.api_url}
        if self.child is not None:
            updates[PREFECT_FLOWS_HEARTBEAT_FREQUENCY] = None  # every flow call waits 1 s for that thread
        if self._first_start is not None:
            self._first_start.finished()
        self._settings.enter_context(temporary_settings(updates))

    def close(self) -> None:
        """Deliver what Prefect still has to send, then stop our server. Safe to call twice."""
        if self.child is None:
            self._settings.close()
            return
        if "prefect" in sys.modules and self.child.exit_code is None:
            _deliver_logs_and_events()
            self._await_recorder()
        self._settings.close()
        self.child.stop()
        if self._first_start is not None:
            self._first_start.close()

    def _await_recorder(self) -> None:
        """Give the server a moment to write down the final states it was sent; one in 20 was lost without.

        It records in the background and drops what is queued when it stops. A task run that it has not heard
        of yet does not count as unfinished, so the counts have to hold still for a few polls.
        """
        ours = {"flow_runs": {"start_time": {"after_": self._began.isoformat()}}}
        unfinished = ours | {"task_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}}
        deadline = time.monotonic() + _RECORDER_SECONDS
        known, quiet = -1, 0
        while quiet < _RECORDER_QUIET_POLLS and time.monotonic() < deadline:
            before, known = known, _count(f"{self.api_url}/task_runs/count", ours)
            settled = known == before and not _count(f"{self.api_url}/task_runs/count", unfinished)
            quiet = quiet + 1 if settled else 0
            time.sleep(_POLL_SECONDS)

    def _poll(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not _answers(self.api_url):
            if self.child is None:
                raise RuntimeError(
                    f"no Prefect API answers at PREFECT_API_URL={self.api_url}; start that server, correct "
                    "the address, or unset PREFECT_API_URL to use a server of our own"
                )
            if self.child.exit_code is not None:
                raise RuntimeError(f"our Prefect server ended while it started; {_tail(self.child)}")
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"our Prefect server did not answer at {self.api_url} within {timeout_seconds:.0f} s; "
                    f"is the machine busy? {_tail(self.child)}"
                )
            time.sleep(_POLL_SECONDS)


@contextmanager
def prefect_runtime(settings: Settings) -> Iterator[PrefectRuntime]:
    """A Prefect API for the body: call `wait_ready` on it before the first flow.

    Our own server listens on a free port of 127.0.0.1 and keeps its history in `<home>/prefect`. Two runs
    on one home have a server each and share that history.
    """
    if settings.prefect_api_url:
        runtime = PrefectRuntime(settings.prefect_api_url.rstrip("/"))
        try:
            yield runtime
        finally:
            runtime.close()
        return
    home = settings.root / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    with prefect_environment(settings.root):
        runtime = _start_own(settings.root, home)
        # A safety net for a body that never returns here. Handlers run last in, first out: registered before
        # prefect is imported, this one runs after Prefect's own, which still need the server.
        atexit.register(runtime.close)
        try:
            yield runtime
        finally:
            runtime.close()
            atexit.unregister(runtime.close)


def _start_own(root: Path, home: Path) -> PrefectRuntime:
    first_start = FirstStart(home)
    port = free_port(_HOST)
    child = Child(
        "prefect",
        ["server", "start", "--no-ui", "--host", _HOST, "--port", str(port)],
        log=root / "logs" / "prefect-server.log",
        env=_server_environment(home),
    )
    return PrefectRuntime(f"http://{_HOST}:{port}/api", child, first_start)


def _server_environment(home: Path) -> dict[str, str]:
    """Ours alone: a user's PREFECT_* settings are about the user's server."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    services = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _IDLE_SERVICES}
    return (
        inherited
        | services
        | {
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # Block types are for the UI. Without the memo switched off too, a later full server in this home
            # would believe that they are registered.
            "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
            "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        }
    )


@contextmanager
def prefect_environment(root: Path) -> Iterator[None]:
    """What Prefect reads from the environment of this process when it is imported: import it in the body."""
    before = dict(os.environ)
    prepare_environment(root)
    os.environ["PREFECT_HOME"] = str(root / "prefect")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _answers(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2):  # noqa: S310 - from settings
            return True
    except urllib.error.HTTPError:
        return True  # somebody is there; whether we may come in shows with the first flow
    except OSError:
        return False


def _count(url: str, conditions: dict[str, Any]) -> int:
    request = urllib.request.Request(  # noqa: S310 - our own server
        url, data=json.dumps(conditions).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
            return int(answer.read())
    except OSError:
        return 0


def _deliver_logs_and_events() -> None:
    """Send what Prefect's threads hold; without it they retry against a dead server for minutes."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    logging.getLogger(EventsWorker.__name__).setLevel(logging.ERROR)  # it warns when it still has work
    APILogWorker.drain_all()
    EventsWorker.drain_all()


def _tail(child: Child) -> str:
    status = "" if child.exit_code is None else f"status {child.exit_code}; "
    return f"{status}the end of {child.log}:\n{child.log_tail()}"
