"""Nights of the past, replayed on real parts: what they leave in SQL and on the page."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from flows.adapters import page_table, score_runs
from flows.adapters.registry import open_registry
from flows.charts import percent_axis
from flows.cli import main
from flows.commands import replay as command
from flows.commands.session import UsageError
from flows.monitors.trigger import NOTED, Trigger
from flows.replay import replay
from flows.replay_page import render, write_page
from flows.timeline import Panel, month_starts
from tests.adapters.test_notify import Webhook, serving

FIRST = date(2026, 6, 15)
NIGHTS = [FIRST, FIRST + timedelta(weeks=1)]
KEY = "replay-test"
QUICK = {"recipe": "mature", "retrain_every_days": 90}


@pytest.fixture(scope="module")
def webhook():
    yield from serving(Webhook())


@pytest.fixture(scope="module")
def of_production(settings, simulated, webhook):
    """What a replay could hurt: what production has; and a page of the replay's own that waits to be sent."""
    model = settings.root / "cache" / "models" / "f00d" / "model.json"
    model.parent.mkdir(parents=True)
    model.write_text("{}")
    with simulated.connect() as connection:
        connection.execute("INSERT INTO scoring.owner VALUES ('of production', NULL, true, 20, NULL)")
        connection.execute("INSERT INTO scoring.lead_touch VALUES ('of production', NULL, NULL, NULL)")
        alarm = Trigger("T3", "T3 early wins fall", "search", "wins fell", 2.5, -0.4, True)
        page_table.record_pages(connection, KEY, FIRST - timedelta(days=7), [alarm])
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as listener:
        listener.execute("LISTEN lead_scores_published")
        yield model, listener


@pytest.fixture(scope="module")
def story(settings, simulated, webhook, of_production):
    told, kept = [], []
    quick = settings.model_copy(update=QUICK | {"page_webhook_url": webhook.url})
    found = replay(quick, simulated, NIGHTS, KEY, told.append, kept.append)
    assert told == list(found.nights)
    assert kept == [found]
    return found


def test_every_night_is_scored_by_what_was_known_and_judged_by_what_came(story):
    assert [night.as_of for night in story.nights] == NIGHTS
    assert {night.outcome for night in story.nights} == {"published"}
    assert [night.is_retrained for night in story.nights] == [True, False]
    assert all(night.n_scored > 50 for night in story.nights)
    assert all(night.average_precision > night.prevalence for night in story.nights)
    assert story.decisions[0]["as_of"] == str(FIRST)
    assert story.n_promoted == 1


def test_the_story_is_in_sql_and_none_of_its_scores_is_in_force(settings, simulated, story):
    assert score_runs.date_in_force(simulated, KEY) is None
    queries = {
        "runs": "SELECT count(*) FROM scoring.score_run WHERE model_key = %s AND state <> 'failed'",
        "scores": "SELECT count(DISTINCT as_of_date) FROM scoring.lead_score_history WHERE model_key = %s",
        "decisions": "SELECT count(*) FROM scoring.decision WHERE model_key = %s",
        "shown to sales": "SELECT count(*) FROM sales.prioritized_leads WHERE model_key = %s",
    }
    with simulated.connect() as connection:
        found = {name: connection.execute(query, [KEY]).fetchone()[0] for name, query in queries.items()}
    assert found == {"runs": 2, "scores": 2, "decisions": len(story.decisions), "shown to sales": 0}


def test_a_replay_tells_nobody_and_leaves_what_production_has(simulated, story, webhook, of_production):
    model, listener = of_production
    assert webhook.texts == []
    assert list(listener.notifies(timeout=0.2)) == []
    assert model.exists()
    assert [path.name for path in model.parents[1].iterdir()] == ["f00d"]
    with simulated.connect() as connection:
        for table, column in (("owner", "owner_id"), ("lead_touch", "lead_id")):
            rows = connection.execute(f"SELECT {column} FROM scoring.{table}").fetchall()
            assert rows == [("of production",)], table
        assert connection.execute("SELECT count(*) FROM scoring.page").fetchone() == (1,)


def left_of(settings, database, key):
    """What a replay left: versions in MLflow, files of models, and reports beside production's."""
    registry = open_registry(settings.model_copy(update={"model_name": f"lead-scoring-{key}"}), database)
    files = [path for path in (settings.root / "mlflow").rglob("*") if path.is_file()]
    return registry.list_versions(), files, list((settings.root / "reports").glob("*-run*.html"))


def test_its_models_go_and_its_reports_lie_apart(settings, simulated, story):
    assert left_of(settings, simulated, KEY) == ([], [], [])
    reports = sorted(path.name[:10] for path in (settings.root / "reports" / KEY).iterdir())
    assert reports == [str(night) for night in NIGHTS]


def test_a_replay_that_ends_early_tells_its_story_as_far_as_it_went(settings, simulated):
    key, told = "early-replay", []

    def stop(night):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        replay(settings.model_copy(update=QUICK), simulated, NIGHTS, key, stop, told.append)
    (story,) = told
    assert [(night.as_of, night.outcome.partition(":")[0]) for night in story.nights] == [
        (FIRST, "published"),
        (FIRST, "the replay ended here"),
    ]
    assert story.decisions
    assert "the replay ended here: OSError: the disk is full" in render(story, "early", None)
    assert left_of(settings, simulated, key) == ([], [], [])


def test_ctrl_c_leaves_the_page_and_says_where(settings, simulated, prefect):
    command = ["replay", "--from", str(FIRST), "--to", str(FIRST + timedelta(days=30)), "--every", "1"]
    environment = os.environ | {
        "LEADSCORE_HOME": str(settings.home),
        "LEADSCORE_DATABASE_URL": settings.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "PREFECT_API_URL": prefect.api_url,
        "LEADSCORE_RECIPE": "mature",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "flows", *command], env=environment, stderr=subprocess.PIPE, text=True
    ) as running:
        lines = []
        for line in running.stderr:
            lines.append(line)
            if f"{FIRST}  version" in line:
                running.send_signal(signal.SIGINT)
    assert running.returncode == 130, lines
    key = re.search(r"model key of this replay is (replay-\S+)", lines[0])[1]
    page = settings.root / "reports" / f"{key}.html"
    assert f"leadscore: the story so far is in {page}\n" in lines
    assert "the replay ended here: KeyboardInterrupt" in page.read_text()
    assert left_of(settings, simulated, key) == ([], [], [])


def test_the_page_draws_the_story(story, tmp_path):
    path = tmp_path / "reports" / "replay.html"
    write_page(path, story, "A <replay>", FIRST + timedelta(days=7))
    html = path.read_text()
    assert html.count('<svg class="timeline"') >= 3
    assert "the world changes" in html
    assert "A &lt;replay&gt;" in html
    assert story.decisions[0]["cause"].split(":")[0] in html
    assert "the world changes" not in render(story, "quiet", None)


def test_a_column_that_moved_is_no_alarm(story):
    row = {
        "as_of_date": FIRST,
        "fired": True,
        "evidence": 4.0,
        "words": "lead_size has moved",
        "monitor": "T4",
    }
    moved = [
        row | {"action": NOTED},
        row | {"action": NOTED, "evidence": 3.0, "words": "lead_city has moved"},
    ]
    fell = row | {"monitor": "T3", "words": "wins fell", "action": "asks for a search, pages"}
    told = replace(story, drifts=[*moved, fell])
    assert (told.alarms, told.noted) == ([fell], moved)
    html = render(told, "drift", None)
    assert ", 1 alarms;" in html
    assert html.count("<td>T4</td>") == 1
    assert "lead_size has moved, and 1 more" in html


def test_a_line_is_interrupted_where_nothing_is_known():
    days = [FIRST + timedelta(days=k) for k in range(4)]
    panel = Panel(days[0], days[-1], percent_axis(""))
    assert panel.line(days, [0.1, None, 0.2, 0.3]).count("<polyline") == 2
    assert month_starts(date(2026, 1, 15), date(2026, 4, 2)) == [
        date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": FIRST - timedelta(days=1)}, "lies before --from"),
        ({"every": 0}, "--every 0 should be at least 1 day"),
        ({"drift_date": FIRST}, "--drift-date needs --scenario"),
        ({"scenario": "prior", "severity": 2.0}, "severity=2.0"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change, message):
    with pytest.raises(UsageError, match=message):
        command.replay(**{"from_": FIRST, "to": FIRST + timedelta(days=28)} | change)


@pytest.mark.usefixtures("logging_as_before")
def test_the_command_simulates_a_changing_crm_and_tells_its_story(
    settings, simulated, prefect, monkeypatch, capsys
):
    monkeypatch.setenv("LEADSCORE_HOME", str(settings.home))
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url)
    monkeypatch.setenv("LEADSCORE_RECIPE", "mature")
    period = ["--from", str(FIRST), "--to", str(NIGHTS[-1])]
    status = main(["replay", *period, "--scenario", "prior", "--leads", "2500", "--json"])
    told = capsys.readouterr()
    assert status == 0
    answer = json.loads(told.out)
    assert [night["as_of"] for night in answer["nights"]] == [str(night) for night in NIGHTS]
    assert answer["n_published"] == 2
    assert told.err.count("leads") >= 2, "a line a night where there is no terminal for a bar"
    html = Path(answer["page"]).read_text()
    assert "Replay of 2026-06-15 to 2026-06-22: prior" in html
    assert "the world changes" in html
    with simulated.connect() as connection:
        for table in ("lead_score_history", "report_drift", "decision"):
            query = f"SELECT count(DISTINCT as_of_date) FROM scoring.{table} WHERE model_key = %s"
            assert connection.execute(query, [answer["model_key"]]).fetchone() == (2,), table
