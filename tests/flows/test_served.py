"""`leadscore up` and a worker run the same deployments, and the command looks at what it is given."""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from flows.adapters import served, services
from flows.adapters.processes import Child, free_port
from flows.adapters.settings import Settings
from flows.commands.session import UsageError
from flows.commands.up import up

ROOT = Path(__file__).parents[2]


@pytest.fixture
def described(monkeypatch):
    """The deployments of prefect.yaml by name."""
    monkeypatch.chdir(ROOT)
    text = (ROOT / "deployments" / "prefect.yaml").read_text()
    return {one["name"]: one for one in yaml.safe_load(text)["deployments"]}


def test_both_ways_run_the_same_deployments(described):
    nights = described["nightly"]["schedules"][0]["cron"]
    ours = {one.name: one for one in served.deployments(nights, "UTC", Settings().model_key)}
    assert ours.keys() == described.keys()
    for name, one in ours.items():
        there = described[name]
        assert one.entrypoint == there["entrypoint"]
        crons = [schedule["cron"] for schedule in there.get("schedules", [])]
        assert [each.schedule.cron for each in one.schedules or []] == crons
        assert one.concurrency_limit == there["concurrency_limit"]["limit"]
        assert (
            one.concurrency_options.collision_strategy.value
            == (there["concurrency_limit"]["collision_strategy"])
        )
        triggers = [(sorted(each.expect), each.match.root) for each in one.triggers]
        wanted = [(each["expect"], each["match"]) for each in there.get("triggers", [])]
        assert triggers == wanted
        assert [each.parameters for each in one.triggers] == [
            each["parameters"] for each in there.get("triggers", [])
        ]


def test_paths_mean_the_same_from_another_folder():
    given = {
        "LEADSCORE_HOME": "home",
        "LEADSCORE_HOLIDAYS_FILE": "days.txt",
        "LEADSCORE_SMTP_URL_FILE": "/run/secrets/smtp",
        "LEADSCORE_DATABASE_URL_FILE": "",
        "LEADSCORE_MODEL_NAME": "leads",
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
    }
    assert served.absolute_paths(given, Path("/srv/ann")) == {
        "LEADSCORE_HOME": "/srv/ann/home",
        "LEADSCORE_HOLIDAYS_FILE": "/srv/ann/days.txt",
        "LEADSCORE_SMTP_URL_FILE": "/run/secrets/smtp",
        "MLFLOW_TRACKING_URI": "sqlite:////srv/ann/mlflow.db",
    }
    assert served.absolute_paths({"MLFLOW_TRACKING_URI": "https://mlflow.example"}, Path("/srv")) == {}


@pytest.fixture
def home(tmp_path, monkeypatch, logging_as_before):
    """A home that nothing lies in yet."""
    monkeypatch.setenv("LEADSCORE_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def taken():
    """Ports that somebody else listens on."""
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        yield [one.getsockname()[1] for one in listening]


def refused(home, **given):
    """What `up` says when it refuses, before anything is started."""
    with pytest.raises(UsageError) as found:
        up(**given)
    assert {path.name for path in home.iterdir()} <= {"logs", "cache", "prefect"}
    return str(found.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cron": "nonsense"}, "--cron 'nonsense' is not a cron expression such as"),
        ({"timezone": "Mars/Olympus"}, "--timezone 'Mars/Olympus' is not a zone such as Europe/Berlin"),
        ({"cron": "0 2 30 2 *"}, "--cron '0 2 30 2 *' never comes"),
        ({"prefect_port": 4300, "mlflow_port": 4300}, "--prefect-port and --mlflow-port are both 4300"),
        ({"prefect_port": 70_000}, "--prefect-port 70000 should be between 1 and 65535"),
    ],
)
def test_what_cannot_run_is_refused_at_once(home, given, message):
    assert message in refused(home, **given)


def test_a_port_that_somebody_listens_on_is_refused_by_name(home, taken):
    prefect, mlflow = taken
    wanted = (
        "port {} is not free (Address already in use): stop what listens there, or choose another --{}-port"
    )
    assert refused(home, prefect_port=prefect) == wanted.format(prefect, "prefect")
    assert refused(home, prefect_port=free_port(), mlflow_port=mlflow) == wanted.format(mlflow, "mlflow")


def test_a_server_of_mlflow_needs_no_port_of_ours(home, taken, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    assert "choose another --prefect-port" in refused(home, prefect_port=taken[0], mlflow_port=taken[0])


def test_an_answer_is_not_ours_when_our_server_has_ended(tmp_path):
    foreign = Child(
        "http.server", ["--bind", "127.0.0.1", port := str(free_port())], tmp_path / "a", os.environ
    )
    ours = Child("no_such_module_at_all", [], tmp_path / "b", os.environ)
    try:
        wait_until(lambda: ours.exit_code is not None and services._answers(f"http://127.0.0.1:{port}"))
        with pytest.raises(RuntimeError, match="ended while it started"):
            services._await_answer(ours, f"http://127.0.0.1:{port}")
    finally:
        foreign.stop()
        ours.stop()


@pytest.mark.parametrize(
    ("cron", "timezone", "advice"),
    [
        ("30 1 * * 1-5", "Europe/Berlin", "choose 02:00 or later"),
        ("0 2 * * *", "Asia/Tokyo", "choose 09:00 or later"),
        ("0 2 * * *", "Asia/Kolkata", "choose 05:30 or later"),
        ("30 3 * * 1-5", "Europe/Berlin", None),
        ("30 1 * 1 *", "Europe/London", None),
        ("0 22 * * *", "America/New_York", None),
        ("0 2 * * *", "UTC", None),
    ],
)
def test_nights_before_midnight_utc_are_warned_of(home, taken, capsys, cron, timezone, advice):
    refused(home, cron=cron, timezone=timezone, prefect_port=taken[0])
    said = capsys.readouterr().err
    assert ("has nights before midnight UTC" in said) is (advice is not None)
    assert advice is None or advice in said


def test_prefect_is_imported_without_telemetry_and_in_our_home(tmp_path):
    tell = (
        "import os, sys; sys.addaudithook(lambda event, said: event == 'import' and said[0] == 'prefect' and"
        " print(os.environ.get('DO_NOT_TRACK'), os.environ.get('PREFECT_HOME')));"
        " from flows.cli import main; sys.exit(main(['up', '--cron', 'nonsense']))"
    )
    unset = ("DO_NOT_TRACK", "PREFECT_HOME", "PREFECT_SERVER_ANALYTICS_ENABLED")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {"HOME": str(tmp_path), "LEADSCORE_HOME": str(tmp_path / "ours")}
    done = subprocess.run([sys.executable, "-c", tell], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert set(done.stdout.splitlines()) == {f"true {tmp_path / 'ours' / 'prefect'}"}
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
