"""What a command says of bad input, at the command line, and that the last good scores stay as they are."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from psycopg import sql

from flows.adapters.database import Database
from flows.adapters.prefect_server import PrefectRuntime
from flows.adapters.settings import Settings
from flows.cli import main
from simulator import SimulationConfig

TODAY = SimulationConfig().end
TOMORROW = str(TODAY + timedelta(days=1))

FULL_DISK = """
CREATE FUNCTION public.no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'could not extend file "base/5/16384": No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER no_space BEFORE INSERT ON scoring.lead_score_published
    FOR EACH STATEMENT EXECUTE FUNCTION public.no_space();
"""

LOSES_ITS_CONNECTION_ONCE = """
CREATE SEQUENCE public.attempt;
CREATE FUNCTION public.cut_off() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    IF nextval('public.attempt') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER cut_off BEFORE INSERT ON scoring.lead_score_published
    FOR EACH STATEMENT EXECUTE FUNCTION public.cut_off();
"""


@dataclass
class CommandLine:
    """Runs commands in this process, as one home on the module's database."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        self.capture.readouterr()
        status = main([*arguments, "--json"])
        out, err = self.capture.readouterr()
        assert "Traceback" not in err
        return status, json.loads(out)

    def error(self, *arguments: str) -> str:
        """The message of a command that must fail, for people and in JSON alike."""
        status, answer = self(*arguments)
        assert (status, answer["status"]) == (1, "failed")
        assert "defect" not in answer["error"]
        return answer["error"]


@pytest.fixture
def leadscore(
    settings: Settings,
    prefect: PrefectRuntime,
    monkeypatch: pytest.MonkeyPatch,
    logging_as_before: None,
    capsys: pytest.CaptureFixture[str],
) -> CommandLine:
    """The command line, on the settings of the module."""
    monkeypatch.setenv("LEADSCORE_HOME", str(settings.home))
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)
    monkeypatch.setenv("PREFECT_API_URL", prefect.api_url)
    monkeypatch.setenv("LEADSCORE_RETRAIN_EVERY_DAYS", "30")
    return CommandLine(capsys)


@pytest.fixture
def good(simulated: Database, leadscore: CommandLine) -> Iterator[pl.DataFrame]:
    """The scores of a good night; they must be in force, whole, when the test ends."""
    if published(simulated).is_empty():
        status, _ = leadscore("nightly")
        assert status == 0
    before = published(simulated)
    assert before["probability"].count() > 100
    yield before
    assert published(simulated).equals(before)


def published(database: Database) -> pl.DataFrame:
    """The scores in force."""
    with database.connect() as connection:
        cursor = connection.execute(
            "SELECT lead_id, run_id, as_of_date, status, probability, score, model_version"
            " FROM scoring.lead_score ORDER BY lead_id"
        )
        return pl.DataFrame(cursor.fetchall(), schema=[c.name for c in cursor.description], orient="row")


@contextmanager
def changed(database: Database, view: str, *statements: str) -> Iterator[None]:
    """Let `source.<view>` show a table `public.bad` of its rows, after these statements changed the table."""
    names = {"view": sql.Identifier("source", view)}
    with database.connect() as connection:
        text = connection.execute("SELECT pg_get_viewdef(%s::regclass)", [f"source.{view}"]).fetchone()[0]
        connection.execute(sql.SQL("CREATE TABLE public.bad AS SELECT * FROM {view}").format(**names))
        for statement in statements:
            connection.execute(statement)
        connection.execute(
            sql.SQL("CREATE OR REPLACE VIEW {view} AS SELECT * FROM public.bad").format(**names)
        )
    try:
        yield
    finally:
        with database.connect() as connection:
            connection.execute(
                sql.SQL("CREATE OR REPLACE VIEW {view} AS {old}").format(**names, old=sql.SQL(text))
            )
            connection.execute("DROP TABLE public.bad")


@contextmanager
def executed(database: Database, statement: str, undo: str) -> Iterator[None]:
    """Run a statement, and its undoing in the end."""
    with database.connect(autocommit=True) as connection:
        connection.execute(statement)
        try:
            yield
        finally:
            connection.execute(undo)


@pytest.mark.parametrize("command", ["nightly", "train", "score"])
def test_no_database(leadscore: CommandLine, good, monkeypatch, command: str):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        monkeypatch.setenv("LEADSCORE_DATABASE_URL", f"postgresql://ann:s3cret@127.0.0.1:{port}/leads")
        message = leadscore.error(command)
    assert f"no Postgres answers at 127.0.0.1:{port}: check LEADSCORE_DATABASE_URL" in message


def test_wrong_credentials(leadscore: CommandLine, good, database: Database, monkeypatch):
    wrong = Database(database.parameters | {"password": "s3cret"})
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", wrong.uri())
    message = leadscore.error("nightly")
    assert "refuses user leadscore: check the user and password in LEADSCORE_DATABASE_URL" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("change", "undo", "message"),
    [
        (
            "ALTER VIEW source.activity RENAME COLUMN occurred_at TO happened_at",
            "ALTER VIEW source.activity RENAME COLUMN happened_at TO occurred_at",
            "source.activity.occurred_at is missing (required, timestamptz)",
        ),
        (
            "ALTER VIEW source.account RENAME COLUMN employee_count TO headcount",
            "ALTER VIEW source.account RENAME COLUMN headcount TO employee_count",
            "source.account.employee_count is missing (optional): add `NULL::float8`",
        ),
        (
            "ALTER VIEW source.owner RENAME TO owner_kept; CREATE VIEW source.owner AS"
            " SELECT owner_id, team_id, territory, is_active::text, daily_capacity, absent_until"
            " FROM source.owner_kept",
            "DROP VIEW source.owner; ALTER VIEW source.owner_kept RENAME TO owner",
            "source.owner.is_active has type text, expected bool",
        ),
        (
            "ALTER VIEW source.stage_history RENAME TO stage_kept; CREATE VIEW source.stage_history AS"
            " SELECT lead_id, stage, entered_at::timestamp, ingested_at, changed_by FROM source.stage_kept",
            "DROP VIEW source.stage_history; ALTER VIEW source.stage_kept RENAME TO stage_history",
            "source.stage_history.entered_at is a naive timestamp (timestamp without time zone)",
        ),
    ],
    ids=["missing", "missing-optional", "mistyped", "naive-timestamp"],
)
def test_a_missing_mistyped_or_naive_column(leadscore: CommandLine, good, simulated, change, undo, message):
    with executed(simulated, change, undo):
        assert message in leadscore.error("nightly", "--as-of", TOMORROW)


def test_zero_leads(leadscore: CommandLine, good, simulated: Database):
    with changed(simulated, "lead", "TRUNCATE public.bad"):
        message = leadscore.error("nightly", "--as-of", TOMORROW)
    assert "source.lead is empty: fill it with `leadscore simulate` or `leadscore import`" in message


def test_leads_of_the_future_only(leadscore: CommandLine, good, simulated: Database):
    with changed(simulated, "lead", "UPDATE public.bad SET created_at = '2090-01-01'"):
        message = leadscore.error("nightly", "--as-of", TOMORROW)
    assert f"leads but none that is known at {TOMORROW} (0 set aside; the first is of 2090-01-01)" in message


def test_no_lead_is_open(leadscore: CommandLine, good, simulated: Database):
    gone = "UPDATE public.bad SET is_deleted = true, deleted_at = '2026-10-01'"
    with changed(simulated, "lead", gone, "DELETE FROM public.bad WHERE created_at > '2026-10-01'"):
        message = leadscore.error("nightly", "--as-of", TOMORROW)
    assert "no scores to publish" in message


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE public.bad SET outcome = 'lost'", 0),
        (
            "UPDATE public.bad SET outcome = 'lost' WHERE lead_id NOT IN (SELECT lead_id FROM public.bad"
            " WHERE outcome = 'converted' AND outcome_at < '2026-06-01' ORDER BY outcome_at DESC LIMIT 15)",
            10,
        ),
    ],
    ids=["zero", "fewer-than-40"],
)
def test_too_few_positives(leadscore: CommandLine, good, simulated: Database, statement: str, found: int):
    champion = champion_of(leadscore)
    with changed(simulated, "outcome", statement):
        message = leadscore.error("train", "--as-of", TOMORROW)
    assert "training needs at least 40 leads with a mature conversion" in message
    assert f"found {found} in" in message
    assert "Collect more history" in message
    assert champion_of(leadscore) == champion


def champion_of(leadscore: CommandLine) -> int:
    """The version that has the alias."""
    _, listed = leadscore("models", "list")
    return next(v["version"] for v in listed["versions"] if "champion" in v["aliases"])


def test_one_class_only(leadscore: CommandLine, good, simulated: Database):
    """Only leads that convert while young: every row of every snapshot is a positive."""
    quick = """
        DELETE FROM public.bad WHERE is_deleted OR merged_into_id IS NOT NULL OR lead_id NOT IN (
            SELECT lead_id FROM source.conversion JOIN public.bad USING (lead_id)
            WHERE is_conversion AND outcome_at < created_at + interval '50 days')
    """
    with changed(simulated, "lead", quick):
        message = leadscore.error("train", "--as-of", TOMORROW)
    assert "mature rows convert: there is nothing to tell apart" in message


def test_a_full_disk_at_publication(leadscore: CommandLine, good, simulated: Database):
    with executed(simulated, FULL_DISK, "DROP FUNCTION public.no_space CASCADE"):
        message = leadscore.error("nightly", "--as-of", TOMORROW)
    assert "the database's disk is full" in message
    assert "the scores in force are untouched; free space, run again" in message


def test_a_connection_lost_at_publication_is_tried_again(leadscore: CommandLine, simulated: Database):
    undo = "DROP FUNCTION public.cut_off CASCADE; DROP SEQUENCE public.attempt"
    with executed(simulated, LOSES_ITS_CONNECTION_ONCE, undo):
        status, night = leadscore("nightly", "--as-of", TOMORROW)
        with simulated.connect() as connection:
            assert connection.execute("SELECT last_value FROM public.attempt").fetchone() == (2,)
    assert status == 0
    assert_sound(published(simulated), night)


def test_text_that_is_not_utf_8(leadscore: CommandLine, good, tmp_path: Path):
    export = tmp_path / "Leads.csv"
    export.write_bytes(b"Prospect ID,Lead Number\na,1\nM\xfcller,2\n")
    message = leadscore.error("import", str(export), "--mapping", "x_education")
    assert "utf-8" in message
    assert "line 3" in message


@pytest.mark.parametrize(
    ("view", "statement", "rule", "n_rows", "consequence"),
    [
        (
            "lead",
            "UPDATE public.bad SET annual_revenue = 'Infinity' WHERE lead_id IN"
            " (SELECT lead_id FROM public.bad ORDER BY 1 LIMIT 50)",
            "annual_revenue is not finite",
            50,
            "value left out",
        ),
        (
            "lead",
            "INSERT INTO public.bad SELECT * FROM public.bad ORDER BY lead_id LIMIT 20",
            "lead_id occurs before",
            20,
            "row set aside",
        ),
        (
            "stage_history",
            "INSERT INTO public.bad (lead_id, stage, entered_at) SELECT 'x', 'new', 'infinity'"
            " FROM generate_series(1, 7)",
            "entered_at is infinite",
            7,
            "row set aside",
        ),
    ],
    ids=["infinite-number", "duplicate-lead", "infinite-timestamp"],
)
def test_rows_that_cannot_be_right_are_counted_and_do_not_stop_the_night(
    leadscore: CommandLine, simulated: Database, view, statement, rule, n_rows, consequence
):
    with changed(simulated, view, statement):
        status, night = leadscore("nightly", "--as-of", TOMORROW)
    assert status == 0
    found = {(f["frame"], f["rule"]): (f["n_rows"], f["consequence"]) for f in night["set_aside"]}
    assert found[view.removesuffix("_history"), rule] == (n_rows, consequence)
    assert_sound(published(simulated), night)


def test_timestamps_of_the_future_change_nothing(leadscore: CommandLine, simulated: Database):
    assert leadscore("nightly", "--as-of", TOMORROW)[0] == 0
    without = published(simulated)
    planted = (
        "INSERT INTO public.bad SELECT DISTINCT ON (lead_id) 'planned ' || activity_id, lead_id,"
        " timestamptz '2090-01-01', occurred_precision, ingested_at, 'meeting', direction, channel, outcome,"
        " duration_seconds, actor_id, is_bot, campaign_id, url_class FROM public.bad"
    )
    with changed(simulated, "activity", planted):
        status, night = leadscore("nightly", "--as-of", TOMORROW)
    assert (status, night["is_retrained"]) == (0, False)
    assert published(simulated).drop("run_id").equals(without.drop("run_id"))


def test_columns_that_are_empty_constant_or_all_categories(leadscore: CommandLine, simulated: Database):
    """Whatever the gate thinks of the model: it trains on them, and scores with them."""
    emptied = "UPDATE public.bad SET title = NULL, employee_count = NULL, attrs = NULL, country = 'Austria'"
    a_level_each = "UPDATE public.bad SET lead_source = md5(lead_id), industry = 'industry ' || lead_id"
    with changed(simulated, "lead", emptied, a_level_each):
        trained = leadscore("train", "--as-of", TOMORROW)
        version = leadscore("models", "list", "--limit", "1")[1]["versions"][0]["version"]
        promoted = leadscore("models", "promote", str(version))
        status, night = leadscore("score", "--as-of", TOMORROW)
    assert (trained[0], promoted[0], status) == (0, 0, 0), trained[1]
    assert night["model_version"] == str(version)
    assert_sound(published(simulated), night)


def assert_sound(scores: pl.DataFrame, night: dict[str, Any]) -> None:
    """Tonight's scores are in force: each open lead once, probabilities inside (0, 1), not all alike."""
    assert set(scores["run_id"]) == {night["run_id"]}
    assert scores.height == scores["lead_id"].n_unique()
    assert scores.filter(pl.col("status") != "closed").height == night["n_open_leads"]
    assert scores["probability"].drop_nulls().is_between(0, 1, closed="none").all()
    assert scores["probability"].n_unique() > 50
