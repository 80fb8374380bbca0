"""The guide is the contract: its tables list exactly the columns there are, with their types."""

import re
from datetime import date
from pathlib import Path

import psycopg
import pytest

from flows.adapters.database import Database
from flows.adapters.score_runs import start_run

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "scores.md").read_text()
COLUMNS = """
SELECT column_name, data_type
FROM information_schema.columns
WHERE table_schema || '.' || table_name = %s
ORDER BY ordinal_position
"""
TYPES = {"timestamp with time zone": "timestamptz"}


def section(table: str) -> str:
    return re.split(r"^## ", GUIDE.split(f"\n## {table}")[1], maxsplit=1, flags=re.MULTILINE)[0]


def described(table: str) -> list[tuple[str, str]]:
    return re.findall(r"^\| (\w+) \| ((?:\w| )+) \|", section(table), flags=re.MULTILINE)[1:]


def found(owner: psycopg.Connection, table: str) -> list[tuple[str, str]]:
    return [(name, TYPES.get(type_, type_)) for name, type_ in owner.execute(COLUMNS, [table])]


@pytest.mark.parametrize(
    "table",
    [
        "scoring.lead_score",
        "scoring.score_run",
        "scoring.score_pointer",
        "scoring.decision",
        "scoring.evidence",
    ],
)
def test_every_column_is_described(owner: psycopg.Connection, table: str):
    assert described(table) == found(owner, table)


@pytest.mark.parametrize("table", ["scoring.lead_score_published", "scoring.lead_score_history"])
def test_all_score_tables_have_the_same_columns(owner: psycopg.Connection, table: str):
    assert found(owner, table) == described("scoring.lead_score")


def test_the_view_for_sales_is_described(owner: psycopg.Connection):
    listed = section("sales.prioritized_leads").partition("The columns:")[2].partition(";")[0]
    assert re.findall(r"`(\w+)`", listed) == [name for name, _ in found(owner, "sales.prioritized_leads")]
    kept = set(found(owner, "sales.prioritized_leads")) - set(described("scoring.lead_score"))
    assert kept == set()


def test_the_statement_that_rolls_back_runs(database: Database):
    statement = GUIDE[GUIDE.index("    SET ROLE score_writer;") :]
    start_run(database, "lead-conversion", date(2026, 5, 1))
    with database.connect() as connection:
        connection.execute(statement)
        assert connection.execute("SELECT current_user").fetchone() == ("score_writer",)
