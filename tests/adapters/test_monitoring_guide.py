"""The monitoring guide is the contract of the monitors' tables, and its statement runs."""

import re
from pathlib import Path

import psycopg
import pytest

from flows.adapters.database import Database

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "monitoring.md").read_text()
COLUMNS = """
SELECT column_name, replace(data_type, 'timestamp with time zone', 'timestamptz')
FROM information_schema.columns WHERE table_schema || '.' || table_name = %s ORDER BY ordinal_position
"""


@pytest.mark.parametrize("table", ["scoring.report_drift", "scoring.page", "scoring.monitor_state"])
def test_every_column_is_described(owner: psycopg.Connection, table: str):
    section = re.split(r"^## ", GUIDE.split(f"\n## {table}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    described = re.findall(r"^\| (\w+) \| ((?:\w| )+) \|", section, flags=re.MULTILINE)[1:]
    assert described == owner.execute(COLUMNS, [table]).fetchall()


def test_a_page_can_be_closed_by_hand(database: Database):
    statement = GUIDE[GUIDE.index("    SET ROLE score_writer;") :].split("\n\n")[0]
    with database.connect() as connection:
        connection.execute(statement)


@pytest.mark.parametrize("role", ["sales_reader", "crm_reader"])
@pytest.mark.parametrize("table", ["report_drift", "page", "monitor_state"])
def test_others_do_not_read_them(database: Database, role: str, table: str):
    with database.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"SELECT * FROM scoring.{table}")
