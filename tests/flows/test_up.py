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
    mlflow: str
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


CHANGED_CRM = ("--leads", "2000", "--drift", "concept", "--drift-date", "2026-05-15", "--drift-severity", "1")
"""What attributes mean turned round five months ago: a champion of the newest mature quarter alone is a poor
one, and a search finds a better recipe."""
POOR_RECIPE, BETTER_AT_ONCE = {"LEADSCORE_RECIPE": "mature-90d"}, {"LEADSCORE_SHADOW_DAYS": "0"}


def environment(home: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LEADSCORE_", "PREFECT_"))
    }
    return kept | {"LEADSCORE_HOME": str(home)} | POOR_RECIPE | BETTER_AT_ONCE


def leadscore(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flows", *arguments]


def told(home: Path, *arguments: str) -> Any:
    """What a command answers."""
    done = subprocess.run(
        leadscore(*arguments, "--json"), env=environment(home), check=True, capture_output=True, timeout=60
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("up")
    for arguments in (["simulate", *CHANGED_CRM, "--json"], ["nightly", "--json"]):
        done = subprocess.run(
            leadscore(*arguments), env=environment(home), check=True, capture_output=True, timeout=180
        )
    port, mlflow_port = free_port(), free_port()
    with (home / "up.log").open("wb") as log:
        process = subprocess.Popen(
            leadscore("up", "--prefect-port", str(port), "--mlflow-port", str(mlflow_port)),
            env=environment(home),
            stderr=log,
            stdout=subprocess.DEVNULL,
        )
    addresses = (f"http://127.0.0.1:{port}/api", f"http://127.0.0.1:{mlflow_port}")
    running = Running(home, process, *addresses, json.loads(done.stdout))
    try:
        wait_until(lambda: served(running), 120, running)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=60)


def served(running: Running) -> bool:
    try:
        return len(running.ask("/deployments/filter")) == 4
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


def test_a_server_of_mlflow_is_named_without_its_password_and_none_is_started(
    database_url: str, tmp_path: Path
) -> None:
    given = {
        "LEADSCORE_DATABASE_URL": database_url,
        "MLFLOW_TRACKING_URI": "http://ann:secret@mlflow.invalid:5000",
    }
    command = leadscore("up", "--prefect-port", str(free_port()))
    said, services = [], []
    with subprocess.Popen(
        command, env=environment(tmp_path) | given, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "nights run at" in line:
                services = [" ".join(one.cmdline()) for one in psutil.Process(process.pid).children()]
                process.terminate()
    assert process.returncode == 0, said
    assert "leadscore: mlflow is at http://ann:***@mlflow.invalid:5000\n" in said
    assert "secret" not in "".join(said)
    assert [one for one in services if "child prefect server" in one]
    assert [one for one in services if "child mlflow" in one] == []


def test_a_night_by_command_stays_within_its_memory(up: Running) -> None:
    assert up.night["status"] == "published"
    assert 0 < up.night["peak_rss_mb"] < 1500


def test_nights_are_scheduled(up: Running) -> None:
    scheduled = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "flows": {"name": {"any_": ["nightly"]}},
    }
    runs = wait_until(lambda: up.ask("/flow_runs/filter", scheduled), 60, up)
    starts = [datetime.fromisoformat(run["expected_start_time"]) for run in runs]
    assert {start.hour for start in starts} == {2}
    assert min(starts) > datetime.now(UTC)


@pytest.mark.timeout(700)  # a search is a hundred fits: one minute of two idle cores
def test_an_event_becomes_a_retraining_and_its_better_model_champion(up: Running) -> None:
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
    done = wait_until(lambda: finished(up.ask("/flow_runs/filter", asked)), 600, up)
    assert done["parameters"] == {"reason": "T3 early wins", "as_of": "2026-10-31"}
    assert done["state_type"] == "COMPLETED", done["state"]
    decision = told(up.home, "models", "decisions")["decisions"][0]
    assert (decision["kind"], decision["cause"]) == ("search", "T3 early wins")
    assert (decision["verdict"], decision["state"]) == ("promote", "done"), decision["reasons"]
    assert decision["recipe"]["name"] != "mature-90d"
    assert decision["champion_after"] == decision["challenger"] != decision["champion_before"]
    started, decided = (datetime.fromisoformat(text) for text in (done["start_time"], decision["decided_at"]))
    assert decided > started
    aliases = {one["version"]: one["aliases"] for one in told(up.home, "models", "list")["versions"]}
    assert "champion" in aliases[decision["challenger"]]


def finished(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((run for run in runs if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"}), None)


def mlflow_answers(running: Running) -> bool:
    try:
        with urllib.request.urlopen(running.mlflow + "/health", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def runs_a_flow(running: Running) -> bool:
    """Whether a run asked for now starts and ends: deployments stay on record without their process."""
    wanted = {"deployments": {"name": {"any_": ["monitor"]}}}
    (deployment,) = running.ask("/deployments/filter", wanted)
    asked = {"state": {"type": "SCHEDULED"}}
    run = running.ask(f"/deployments/{deployment['id']}/create_flow_run", asked)
    own = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    done = wait_until(lambda: finished(running.ask("/flow_runs/filter", own)), 120, running)
    return bool(done["state_type"] == "COMPLETED")


@pytest.mark.parametrize(
    ("marker", "serves"),
    [
        ("child prefect server", served),
        ("flows.adapters.served", runs_a_flow),
        ("child mlflow", mlflow_answers),
    ],
)
def test_a_killed_service_comes_back(up: Running, marker: str, serves: Callable[[Running], bool]) -> None:
    before = wait_until(lambda: up.child(marker), 30, up)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: up.child(marker) not in {None, before}, 60, up)
    wait_until(lambda: serves(up), 90, up)


def test_a_killed_postgres_comes_back_with_its_data(up: Running) -> None:
    before = embedded_postgres.server_pid(up.home)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: embedded_postgres.server_pid(up.home) not in {None, before}, 90, up)
    assert told(up.home, "models", "list")["versions"]


def test_it_stops_cleanly_and_leaves_nothing_behind(up: Running) -> None:
    family = [
        up.process.pid,
        *(child.pid for child in psutil.Process(up.process.pid).children(recursive=True)),
    ]
    up.process.terminate()
    assert up.process.wait(timeout=60) == 0
    assert [pid for pid in family if psutil.pid_exists(pid)] == []
    assert embedded_postgres.server_pid(up.home) is None
