"""What a CRM is told: the shapes of rows, only what changed, and the consumer of the guide."""

import re
import runpy
import textwrap
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg.rows import dict_row

from flows.adapters.database import Database
from flows.adapters.publisher import publish
from flows.adapters.score_runs import start_run
from flows.adapters.score_storage import drop_history
from flows.adapters.score_tables import ROLE, point_to

KEY = "lead-conversion"
NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
EVER = datetime(1, 1, 1, tzinfo=UTC)
GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "push.md").read_text()
TABLES = "lead_score_published, lead_score_history, score_pointer, score_run, pointer_move, lead_queue"


def row(lead_id: str, score: int | None, **columns: Any) -> dict[str, Any]:
    known = {"lead_id": lead_id, "status": "scored", "tier": "own_model", "probability": 0.2, "score": score}
    texts = {"grade": "B", "reason_1": "Opened the pricing page", "reason_2": "Replied"}
    if score is None:
        known |= {"status": "opted_out", "tier": None, "probability": None}
        texts = dict.fromkeys(texts)
    return known | texts | {"model_version": "7", "data_as_of": NOON, "scored_at": NOON} | columns


def put_in_force(database: Database, day: int, rows: list[dict[str, Any]]) -> int:
    run = start_run(database, KEY, date(2026, 5, day))
    publish(database, run, pl.DataFrame(rows))
    return run.run_id


@pytest.fixture(autouse=True)
def _empty(database: Database) -> Iterator[None]:
    yield
    with database.connect(autocommit=True) as connection:
        connection.execute("TRUNCATE " + ", ".join(f"scoring.{name}" for name in TABLES.split(", ")))
    drop_history(database, before=date.max)


@pytest.fixture
def reader(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect("sales_reader", autocommit=True) as connection:
        yield connection


def changed(reader: psycopg.Connection, since: datetime) -> dict[str, bool]:
    query = "SELECT lead_id, is_listed FROM sales.changed_leads(%s)"
    return dict(reader.execute(query, [since]).fetchall())


def moved_at(reader: psycopg.Connection) -> datetime:
    return reader.execute("SELECT moved_at FROM sales.in_force").fetchall()[0][0]


def test_only_what_changed_since_is_told(database: Database, reader: psycopg.Connection):
    put_in_force(database, 1, [row("same", 50), row("moves", 50), row("opts out", 50), row("goes", 50)])
    first = moved_at(reader)
    assert changed(reader, EVER) == dict.fromkeys(["same", "moves", "opts out", "goes"], True)
    assert changed(reader, first) == {}
    run = put_in_force(
        database, 2, [row("same", 50), row("moves", 60), row("opts out", None), row("comes", 50)]
    )
    second = moved_at(reader)
    moved = {"same": True, "moves": True, "opts out": True, "goes": False, "comes": True}
    assert changed(reader, first) == moved  # the trend of `same` went from new to steady
    put_in_force(database, 3, [row("same", 50), row("moves", 60), row("opts out", None), row("comes", 50)])
    assert changed(reader, second) == {"moves": True, "comes": True}  # both are steady now
    third = moved_at(reader)
    with database.begin(ROLE) as connection:
        connection.execute(point_to(KEY, run, date(2026, 5, 2)))
    assert changed(reader, third) == {"moves": True, "comes": True}
    assert changed(reader, moved_at(reader)) == {}
    assert changed(reader, second) == {}


def test_what_is_not_kept_counts_as_changed(database: Database, reader: psycopg.Connection):
    put_in_force(database, 1, [row("a", 50), row("b", 50)])
    since = moved_at(reader)
    put_in_force(database, 1, [row("a", 50), row("b", 50)])
    assert changed(reader, since) == {"a": True, "b": True}


def test_salesforce_and_dynamics_get_their_shapes(database: Database, reader: psycopg.Connection):
    put_in_force(database, 1, [row("L1", 50), row("L2", None), row("L3", 90, grade="A", reason_2=None)])
    put_in_force(
        database, 2, [row("L1", 40, grade="D"), row("L2", None), row("L3", 90, grade="A", reason_2=None)]
    )
    reader.row_factory = dict_row
    salesforce = reader.execute('SELECT * FROM sales.salesforce_fields ORDER BY "Id"').fetchall()
    assert [(r["Lead_Score_Status__c"], r["Lead_Score__c"], r["Lead_Grade__c"]) for r in salesforce] == [
        ("scored", 40, "D"), ("opted_out", None, None), ("scored", 90, "A"),
    ]  # fmt: skip
    dynamics = reader.execute("SELECT * FROM sales.msdyn_predictivescore ORDER BY msdyn_entityid").fetchall()
    assert dynamics == [
        {
            "model_key": KEY, "msdyn_entityid": "L1", "msdyn_entitytype": "lead", "msdyn_score": 40,
            "msdyn_grade": 3, "msdyn_scoretrend": 2, "msdyn_scoredon": NOON,
            "msdyn_scorereasons": "Opened the pricing page; Replied",
        },
        {
            "model_key": KEY, "msdyn_entityid": "L3", "msdyn_entitytype": "lead", "msdyn_score": 90,
            "msdyn_grade": 0, "msdyn_scoretrend": 1, "msdyn_scoredon": NOON,
            "msdyn_scorereasons": "Opened the pricing page",
        },
    ]  # fmt: skip


@pytest.mark.parametrize("view", ["salesforce_fields", "msdyn_predictivescore"])
def test_every_column_is_described(reader: psycopg.Connection, view: str):
    section = re.split(r"^## ", GUIDE.split(f"\n## sales.{view}")[1], maxsplit=1, flags=re.MULTILINE)[0]
    described = re.findall(r"^\| (\w+) \| (\w+) \|", section, flags=re.MULTILINE)[1:]
    cursor = reader.execute(f"SELECT * FROM sales.{view} LIMIT 0")
    types = {"int2": "smallint", "int4": "integer"}
    assert described == [
        (c.name, types.get(c.type_display, c.type_display)) for c in cursor.description or ()
    ]


def consumer(folder: Path) -> dict[str, Any]:
    """The names that the guide's program defines."""
    text = textwrap.dedent(GUIDE.split("## A consumer\n")[1].split("\n`push` sends")[0])
    program = folder / "consumer.py"
    program.write_text(text)
    return runpy.run_path(str(program))


def test_the_consumer_of_the_guide_hears_of_every_publication(database: Database, tmp_path: Path):
    pushed: list[dict[str, int | None]] = []

    def push(rows: list[dict[str, Any]]) -> None:
        pushed.append({r["lead_id"]: r["Lead_Score__c"] for r in rows})

    put_in_force(database, 1, [row("a", 50), row("b", 50)])
    moments = consumer(tmp_path)["follow"](database.uri(), push)
    since = next(moments)
    put_in_force(database, 2, [row("a", 50), row("b", None)])
    assert next(moments) > since
    moments.close()
    put_in_force(database, 3, [row("a", 70), row("b", None)])  # nobody listens
    again = consumer(tmp_path)["follow"](database.uri(), push, since)
    next(again)
    again.close()
    assert pushed == [{"a": 50, "b": 50}, {"a": 50, "b": None}, {"a": 70, "b": None}]
