import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil
import pytest

from flows.adapters.notify_prefect import DRIFT, resource_of
from flows.adapters.prefect_database import FirstStart
from flows.adapters.prefect_server import prefect_runtime
from flows.adapters.processes import Child, free_port
from flows.adapters.settings import Settings

ROOT = Path(__file__).parents[2]
FLOW = """
import sys
from pathlib import Path
from flows.adapters.prefect_server import prefect_runtime
from flows.adapters.settings import Settings

with prefect_runtime(Settings(home=Path(sys.argv[1]), prefect_api_url=None)) as runtime:
    runtime.wait_ready()
    from prefect import flow, task

    @task
    def number(i):
        return i

    @flow
    def five():
        return sum(number(i) for i in range(5))

    print(five(), runtime.child.pid)
"""


def run_five_tasks(home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FLOW, str(home)],
        env=clean_environment() | env,
        capture_output=True,
        text=True,
        timeout=90,
    )


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    home = tmp_path_factory.mktemp("home")
    return home, run_five_tasks(home)


@pytest.mark.slow
def test_a_flow_runs_against_our_own_server_and_everything_is_recorded(finished):
    home, done = finished
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(home / "prefect" / "prefect.db") as history:
        states = history.execute("SELECT state_type, count(*) FROM task_run GROUP BY 1").fetchall()
    history.close()
    assert states == [("COMPLETED", 5)]


@pytest.mark.slow
def test_only_the_flows_own_print_is_on_stdout_and_the_server_has_ended(finished):
    _, done = finished
    total, pid = done.stdout.split()
    assert total == "10"
    assert not psutil.pid_exists(int(pid))


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path: Path):
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "prefect.db").write_text("this is no database " * 100)
    done = run_five_tasks(tmp_path)
    assert done.returncode == 1
    assert "our Prefect server ended while it started" in done.stderr
    assert "not a database" in done.stderr
    assert str(tmp_path / "logs" / "prefect-server.log") in done.stderr


def test_a_named_server_that_does_not_answer_is_named(tmp_path: Path):
    url = f"http://127.0.0.1:{free_port()}/api"
    code = FLOW.replace("prefect_api_url=None", f"prefect_api_url={url!r}")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"no Prefect API answers at PREFECT_API_URL={url}" in done.stderr
    assert not (tmp_path / "prefect").exists()


def test_the_environment_is_as_before_when_the_runtime_ends(tmp_path: Path):
    before = dict(os.environ)
    with prefect_runtime(Settings(home=tmp_path, prefect_api_url=None)) as runtime:
        assert os.environ["PREFECT_HOME"] == str(tmp_path / "prefect")
        assert os.environ["DO_NOT_TRACK"]
        assert runtime.child is not None
    assert dict(os.environ) == before
    assert runtime.child.exit_code is not None


def test_a_second_first_start_waits_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installation"))
    monkeypatch.setattr("flows.adapters.prefect_database._WAIT_SECONDS", 0.2)
    first = FirstStart(tmp_path)
    with pytest.raises(RuntimeError, match="another process has been preparing"):
        FirstStart(tmp_path)
    first.close()
    FirstStart(tmp_path).close()


def test_a_new_home_gets_a_copy_of_the_prepared_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installation"))
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    first = FirstStart(old)
    with sqlite3.connect(old / "prefect.db") as migrated:
        migrated.execute("CREATE TABLE alembic_version (version_num)")
    migrated.close()
    first.finished()
    FirstStart(new).close()
    copy = sqlite3.connect(new / "prefect.db")
    assert copy.execute("SELECT name FROM sqlite_master").fetchall() == [("alembic_version",)]
    copy.close()


@pytest.fixture(scope="module")
def scheduling_server(tmp_path_factory: pytest.TempPathFactory):
    """A whole server, scheduler and all, as a deployment would have it."""
    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = clean_environment() | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "true",
    }
    first = FirstStart(home)
    server = Child("prefect", ["server", "start", "--no-ui", "--port", str(port)], home / "log", env)
    yield server, env | {"PREFECT_API_URL": url}
    server.stop()
    first.close()


def prefect(env: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "prefect", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def deployed(scheduling_server):
    """The API of a server that `prefect deploy --all` was told of everything."""
    server, env = scheduling_server
    wait_until(lambda: answers(env["PREFECT_API_URL"]) or server.exit_code is not None, 60)
    assert server.exit_code is None, server.log_tail()
    prefect(env, "work-pool", "create", "leadscore", "--type", "process")
    env = env | {"LEADSCORE_TIMEZONE": "Europe/Berlin"}
    prefect(env, "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    return env["PREFECT_API_URL"]


@pytest.mark.slow
def test_the_nightly_deployment_has_scheduled_runs(deployed):
    wait_until(lambda: len(scheduled_hours(deployed)) >= 3, 30)
    assert scheduled_hours(deployed) == ["02:00"] * 3


@pytest.mark.slow
def test_an_alarm_of_production_schedules_a_retraining_and_one_of_a_replay_does_not(deployed):
    for key, cause in (
        ("lead-conversion-replay", "T3 of a replay"),
        ("lead-conversion", "T3 early wins fall"),
    ):
        event = {
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": DRIFT,
            "resource": {"prefect.resource.id": resource_of(key)},
            "payload": {"cause": cause, "as_of": "2026-10-31"},
        }
        ask(f"{deployed}/events", [event])
    retrainings = {"flows": {"name": {"any_": ["retrain"]}}}
    wait_until(lambda: ask(f"{deployed}/flow_runs/filter", retrainings), 30)
    (run,) = ask(f"{deployed}/flow_runs/filter", retrainings)
    assert run["parameters"] == {"reason": "T3 early wins fall", "as_of": "2026-10-31"}
    assert run["state_type"] == "SCHEDULED"


@pytest.fixture(scope="module")
def worker(scheduling_server, deployed, tmp_path_factory: pytest.TempPathFactory):
    """A worker of the pool, beside a CRM of its own that is too small to train on."""
    _, env = scheduling_server
    home = tmp_path_factory.mktemp("worker")
    home.chmod(0o711)
    kept = {name: value for name, value in env.items() if not name.startswith("LEADSCORE_")}
    env = kept | {"LEADSCORE_HOME": str(home)}
    simulate = [sys.executable, "-m", "flows", "simulate", "--leads", "700", "--json"]
    subprocess.run(simulate, cwd=ROOT, env=env, check=True, capture_output=True, timeout=120)
    started = Child("prefect", ["worker", "start", "--pool", "leadscore"], home / "worker.log", env)
    yield started
    started.stop()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_runs_what_was_deployed_and_what_the_automation_asked_for(deployed, worker):
    (monitor,) = ask(f"{deployed}/deployments/filter", {"deployments": {"name": {"any_": ["monitor"]}}})
    asked = {"state": {"type": "SCHEDULED"}}
    run = ask(f"{deployed}/deployments/{monitor['id']}/create_flow_run", asked)
    retrainings = {"flows": {"name": {"any_": ["retrain"]}}}

    def ended(wanted: Any) -> bool:
        found = ask(f"{deployed}/flow_runs/filter", wanted)
        return bool(found) and all(one["state_type"] in {"COMPLETED", "FAILED", "CRASHED"} for one in found)

    own = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    wait_until(lambda: (ended(own) and ended(retrainings)) or worker.exit_code is not None, 240)
    (run,) = ask(f"{deployed}/flow_runs/filter", own)
    assert run["state_type"] == "COMPLETED", worker.log_tail()
    (retraining,) = ask(f"{deployed}/flow_runs/filter", retrainings)
    assert retraining["state_type"] == "FAILED"
    assert "there is no champion yet: run `leadscore nightly`" in retraining["state"]["message"]


def scheduled_hours(api_url: str) -> list[str]:
    """Local start times in Berlin of the nights that the scheduler has made."""
    asked = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "flows": {"name": {"any_": ["nightly"]}},
    }
    runs = ask(f"{api_url}/flow_runs/filter", asked)
    starts = [datetime.fromisoformat(run["expected_start_time"]) for run in runs]
    return [f"{start.astimezone(ZoneInfo('Europe/Berlin')):%H:%M}" for start in starts]


def ask(url: str, body: Any) -> Any:
    """POST JSON to our own server."""
    request = urllib.request.Request(  # noqa: S310
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        text = answer.read()
    return json.loads(text) if text else None


def answers(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2):  # noqa: S310
            return True
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.2)
