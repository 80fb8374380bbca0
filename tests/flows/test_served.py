"""`leadscore up` and a worker run the same deployments, and the command looks at what it is given."""

from pathlib import Path

import pytest
import yaml

from flows.adapters import served
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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cron": "nonsense"}, "--cron 'nonsense' is not a cron expression such as"),
        ({"timezone": "Mars/Olympus"}, "--timezone 'Mars/Olympus' is not a zone such as Europe/Berlin"),
    ],
)
def test_a_schedule_that_is_none_is_refused_at_once(given, message):
    with pytest.raises(UsageError, match=message):
        up(**given)
