"""A real process is killed while it publishes, again and again; no reader notices; a rerun ends the same."""

import random
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from flows.adapters.database import Database
from flows.adapters.publisher import publish
from flows.adapters.score_runs import start_run

N_LEADS = 8_000
DAY = date(2026, 5, 1)
KILLS_AFTER_SECONDS = (0.02, 0.1, 0.2, 0.3, 0.4)
PUBLISH_FOR_EVER = """
import runpy, sys
test = runpy.run_path(sys.argv[2])
database = test["Database"].from_url(sys.argv[1])
print("ready", flush=True)
while True:
    test["publish_once"](database)
"""


def make_scores() -> pl.DataFrame:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    return pl.select(number=pl.int_range(N_LEADS)).select(
        lead_id=pl.format("L{}", "number"),
        status=pl.lit("scored"),
        probability=(pl.col("number") + 1) / (N_LEADS + 2),
        score=(pl.col("number") % 100).cast(pl.Int16),
        model_version=pl.lit("1"),
        data_as_of=pl.lit(now),
        scored_at=pl.lit(now),
    )


def publish_once(database: Database) -> int:
    run = start_run(database, "lead-conversion", DAY)
    publish(database, run, make_scores())
    return run.run_id


SAME = (
    "count(*), count(DISTINCT run_id), md5(string_agg(lead_id || probability || score, ',' ORDER BY lead_id))"
)
END_STATE = {
    "current": f"SELECT {SAME} FROM scoring.lead_score",
    "history": f"SELECT {SAME} FROM scoring.lead_score_history",
    "tables": "SELECT count(*) FROM pg_class WHERE relnamespace = 'scoring'::regnamespace",
    "published": "SELECT count(*) FROM scoring.score_run WHERE state = 'published'",
    "running": "SELECT count(*) FROM scoring.score_run WHERE state = 'running'",
}


def end_state(database: Database) -> dict[str, tuple]:
    """What is there after a run, without the numbers and times that each run has of its own."""
    with database.connect() as connection:
        return {name: connection.execute(query).fetchone() for name, query in END_STATE.items()}


def test_kill_9_at_any_moment(database: Database, database_url: str):
    publish_once(database)
    expected = end_state(database)
    jitter = random.Random(1)
    for delay in KILLS_AFTER_SECONDS:
        command = [sys.executable, "-c", PUBLISH_FOR_EVER, database_url, __file__]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(delay + jitter.uniform(0, 0.1))
            child.send_signal(signal.SIGKILL)
        wait_for_its_session_to_end(database)
        assert end_state(database)["current"] == expected["current"]  # one whole night, at every moment
        publish_once(database)
        assert end_state(database) == expected


SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def wait_for_its_session_to_end(database: Database) -> None:
    """The server notices a dead client at its next word to it; until then the transaction is undecided."""
    with database.connect(autocommit=True) as connection:
        while connection.execute(SESSIONS).fetchone() != (0,):
            time.sleep(0.01)
