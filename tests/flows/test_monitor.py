"""`leadscore monitor` on real parts: a simulated CRM, Postgres, MLflow, a Prefect server for its events."""

import json
import time
from datetime import date

import httpx
import pytest

from flows.adapters.notify_prefect import BROKEN_DATA, DRIFT, emit_events
from flows.cli import main
from flows.monitor import run_monitor
from flows.monitors.reading import Reading
from flows.monitors.trigger import annotate, triggers
from flows.progress import Progress
from simulator import SimulationConfig

CLOCK = SimulationConfig().end


def reading(trigger: str, *, is_alarm: bool = True, is_page: bool = False) -> Reading:
    return Reading(trigger, "subject", 500.0, 208.0, 2.7, is_alarm, -0.4, "wins fell", {}, is_page)


def test_what_alarms_ask_for():
    asked = {one.monitor: one for one in triggers([reading(f"T{k}") for k in range(1, 6)])}
    assert {monitor: one.action for monitor, one in asked.items()} == {
        "T1": "block",
        "T2": "search",
        "T3": "search",
        "T5": "refit",
    }
    assert {monitor for monitor, one in asked.items() if one.is_page} == {"T2", "T3"}
    assert triggers([reading("T1", is_page=True)])[0].is_page
    assert triggers([reading("T3", is_alarm=False)]) == []
    assert triggers([reading("T3")])[0].reason == "wins fell"


def test_a_changed_delay_curve_is_noted_beside_early_wins_only():
    noted = annotate([reading("T2"), reading("T3")], "wins come later")
    assert [one.words for one in noted] == ["wins fell", "wins fell; wins come later"]
    assert annotate([reading("T3")], None) == [reading("T3")]


@pytest.mark.usefixtures("logging_as_before")
def test_monitors_run_alone_and_twice_alike(settings, simulated, prefect, monkeypatch, capsys):
    found = run_monitor(settings, simulated, CLOCK, Progress())
    assert found["as_of"] == CLOCK
    assert found["paged"] == 0
    assert found["blocked"] is None
    assert {one["monitor"] for one in found["drift"]} == {"T1"}
    monkeypatch.setenv("LEADSCORE_HOME", str(settings.home))
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url)
    assert main(["monitor", "--as-of", str(CLOCK), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found, default=str))
    with simulated.connect() as connection:
        (n,) = connection.execute("SELECT count(*) FROM scoring.report_drift").fetchone()
    assert n == len(found["drift"])


def test_events_carry_the_evidence_and_broken_data_has_another_name(prefect):
    key = "events-of-this-test"
    told = triggers([reading("T3"), reading("T1", is_page=True), reading("T5"), reading("T1")])
    assert emit_events(key, date(2026, 5, 4), told) == 2
    found = events_of(prefect.api_url, f"leadscore.model.{key}", 2)
    assert {event["event"] for event in found} == {DRIFT, BROKEN_DATA}
    payload = next(event["payload"] for event in found if event["event"] == DRIFT)
    assert payload["reason"] == "wins fell"
    assert payload["evidence"] == 2.7
    assert payload["as_of"] == "2026-05-04"


def events_of(api_url: str, resource: str, n: int, **payload: str) -> list[dict]:
    """Events reach the server a moment after they were emitted; of those with these values in the payload."""
    wanted = {"filter": {"resource": {"id": [resource]}}, "limit": 50}
    deadline = time.monotonic() + 20
    found: list[dict] = []
    while len(found) < n and time.monotonic() < deadline:
        time.sleep(0.2)
        told = httpx.post(f"{api_url}/events/filter", json=wanted).json()["events"]
        found = [one for one in told if payload.items() <= one["payload"].items()]
    return found
