"""Room for scores: the history's partition of each day, and what is thrown away when."""

from datetime import date, timedelta
from typing import Any

import psycopg
from psycopg import sql

from flows.adapters import score_tables
from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE

KEPT_RUNS = 4  # per model: the one in force and three to fall back to
DAYS = """
SELECT relname
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'scoring.lead_score_history'::regclass
ORDER BY relname
"""


def make_day(connection: psycopg.Connection[Any], day: date) -> None:
    """Make the day's partition of the history unless it is there.

    It is made by itself and attached, because `CREATE TABLE ... PARTITION OF` would wait for every reader
    of the history, and make the next ones wait.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('leadscore history', 0))")
    name = _partition_name(day)
    if connection.execute("SELECT to_regclass(%s)", [f"scoring.{name}"]).fetchone() != (None,):
        return
    table, parent = sql.Identifier("scoring", name), sql.Identifier("scoring", "lead_score_history")
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(table, parent))
    attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})")
    connection.execute(attach.format(parent, table, sql.Literal(day), sql.Literal(day + timedelta(days=1))))


def tidy(database: Database, model_key: str) -> None:
    """Delete the scores of runs too old to fall back to, and refresh what the planner knows."""
    with database.begin(ROLE) as connection:
        connection.execute(score_tables.delete_old_runs(model_key, KEPT_RUNS))
    with database.connect(ROLE, autocommit=True) as driver:
        driver.execute("VACUUM (ANALYZE) scoring.lead_score_published, scoring.score_pointer")


def drop_history(database: Database, before: date) -> list[str]:
    """Drop the history of days before a date; today's scores and those to fall back to are kept elsewhere.

    Returns
    -------
    list of str : names of the partitions dropped.
    """
    with database.connect(ROLE) as connection:
        names = [name for (name,) in connection.execute(DAYS) if name < _partition_name(before)]
        for name in names:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("scoring", name)))
    return names


def _partition_name(day: date) -> str:
    return f"lead_score_history_{day:%Y%m%d}"
