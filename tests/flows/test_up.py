"""Unattended, on real parts: schedules, an event that retrains, kill -9 of every service, a clean end."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.adapters import embedded_postgres
from flows.adapters.notify_prefect import DRIFT
from flows.adapters.processes import free_port

pytestmark = pytest.mark.slow


@dataclass
class Running:
    """`leadscore up` in a home of its own."""

    home: Path
    process: subprocess.Popen[bytes]
    api: str
    night: dict[str, Any]

    def ask(self, path: str, body: Any = None) -> Any:
        """POST to Prefect's API."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.api + path, json.dumps(body or {}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else None

    def child(self, marker: str) -> int | None:
        """Process id of the service whose command line holds `marker`."""
        for child in psutil.Process(self.process.pid).children():
            try:
                if marker in " ".join(child.cmdline()):
                    return child.pid
            except psutil.Error:
                continue
        return None


def environment(home: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LEADSCORE_", "PREFECT_"))
    }
    return kept | {"LEADSCORE_HOME": str(home)}


def leadscore(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "flows", *arguments]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("up")
    for arguments in (["simulate", "--leads", "2000", "--json"], ["nightly", "--json"]):
        done = subprocess.run(
            leadscore(home, *arguments), env=environment(home), check=True, capture_output=True, timeout=180
        )
    port = free_port()
    with (home / "up.log").open("wb") as log:
        process = subprocess.Popen(
            leadscore(home, "up", "--prefect-port", str(port), "--mlflow-port", "0"),
            env=environment(home),
            stderr=log,
            stdout=subprocess.DEVNULL,
        )
    running = Running(home, process, f"http://127.0.0.1:{port}/api", json.loads(done.stdout))
    try:
        wait_until(lambda: served(running), 120, running)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=60)


def served(running: Running) -> bool:
    try:
        return len(running.ask("/deployments/filter")) == 3
    except OSError:
        return False


def wait_until(condition: Callable[[], Any], seconds: float, running: Running) -> Any:
    deadline = time.monotonic() + seconds
    while not (met := condition()):
        if time.monotonic() > deadline or running.process.poll() is not None:
            logs = [(running.home / "up.log"), *(running.home / "logs").glob("*.log")]
            pytest.fail("\n".join([f"not within {seconds} s", *(log.read_text()[-2000:] for log in logs)]))
        time.sleep(0.3)
    return met


def test_a_night_by_command_stays_within_its_memory(up: Running) -> None:
    assert up.night["status"] == "published"
    assert 0 < up.night["peak_rss_mb"] < 1500


def test_nights_are_scheduled(up: Running) -> None:
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = wait_until(lambda: up.ask("/flow_runs/filter", scheduled), 60, up)
    starts = [datetime.fromisoformat(run["expected_start_time"]) for run in runs]
    assert {start.hour for start in starts} == {2}
    assert min(starts) > datetime.now(UTC)


def test_an_event_becomes_a_retraining_with_its_reason(up: Running) -> None:
    resource = {"prefect.resource.id": "leadscore.model.lead-conversion"}
    event = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": DRIFT,
        "resource": resource,
        "payload": {"cause": "T3 early wins", "as_of": "2026-10-31"},
    }
    up.ask("/events", [event])
    asked = {"flows": {"name": {"any_": ["retrain"]}}}
    done = wait_until(lambda: finished(up.ask("/flow_runs/filter", asked)), 300, up)
    assert done["parameters"] == {"reason": "T3 early wins", "as_of": "2026-10-31"}
    assert done["state_type"] == "COMPLETED", done["state"]
    told = subprocess.run(
        leadscore(up.home, "models", "decisions", "--json"),
        env=environment(up.home), check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    newest = json.loads(told.stdout)["decisions"][0]
    assert newest["cause"] == "T3 early wins"
    assert newest["verdict"] in {"promote", "shadow", "refuse", "keep"}


def finished(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((run for run in runs if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"}), None)


@pytest.mark.parametrize("marker", ["prefect server", "flows.adapters.served"])
def test_a_killed_service_comes_back(up: Running, marker: str) -> None:
    before = wait_until(lambda: up.child(marker), 30, up)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: up.child(marker) not in {None, before}, 60, up)
    wait_until(lambda: served(up), 60, up)


def test_a_killed_postgres_comes_back_with_its_data(up: Running) -> None:
    before = embedded_postgres.server_pid(up.home)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: embedded_postgres.server_pid(up.home) not in {None, before}, 90, up)
    told = subprocess.run(
        leadscore(up.home, "models", "list", "--json"),
        env=environment(up.home), check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert json.loads(told.stdout)["versions"]


def test_it_stops_cleanly_and_leaves_nothing_behind(up: Running) -> None:
    family = [
        up.process.pid,
        *(child.pid for child in psutil.Process(up.process.pid).children(recursive=True)),
    ]
    up.process.terminate()
    assert up.process.wait(timeout=60) == 0
    assert [pid for pid in family if psutil.pid_exists(pid)] == []
    assert embedded_postgres.server_pid(up.home) is None
