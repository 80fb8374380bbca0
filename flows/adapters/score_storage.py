"""Room for scores: the history's partition of each day, and what is thrown away when."""

from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from psycopg import sql

from flows.adapters import score_tables
from flows.adapters.database import Database
from flows.adapters.score_tables import ROLE

KEPT_RUNS = 4  # per model: the one in force and three to fall back to; besides, as many that were replaced
DAYS = """
SELECT relname
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'scoring.lead_score_history'::regclass
ORDER BY relname
"""


def put_on_record(connection: sa.Connection, model_key: str, run_id: int, day: date, **values: Any) -> None:
    """Make a run at hand the one of its date, in the history and in the record of runs.

    Parameters
    ----------
    values : columns of the run to set besides its state.
    """
    file_day(connection, model_key, run_id, day)
    connection.execute(score_tables.supersede(model_key, day))
    connection.execute(score_tables.change_run(run_id, state="published", **values))


def file_day(connection: sa.Connection, model_key: str, run_id: int, day: date) -> None:
    """Put a published run in the history, in place of what the model's earlier run of that date left there.

    A new day's partition is filled first and attached afterwards: one index build instead of an insertion
    per row, and `CREATE TABLE ... PARTITION OF` would wait for every reader of the history, and make the
    next ones wait.
    """
    connection.execute(score_tables.lock("history"))
    name = _partition_name(day)
    partition = score_tables.history_partition(name)
    is_new = connection.scalar(sa.select(sa.func.to_regclass(f"scoring.{name}"))) is None
    if is_new:
        connection.exec_driver_sql(f"CREATE TABLE scoring.{name} (LIKE scoring.lead_score_history)")
    connection.execute(sa.delete(partition).where(partition.c.model_key == model_key))
    connection.execute(score_tables.append_run(partition, run_id))
    if is_new:
        connection.exec_driver_sql(
            f"ALTER TABLE scoring.lead_score_history ATTACH PARTITION scoring.{name}"
            f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
        )


def tidy(database: Database, model_key: str) -> None:
    """Delete the scores of runs too old to fall back to, and give their room to the next ones.

    It waits for nobody: what is locked is left for the next time.
    """
    with database.begin(ROLE) as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
        connection.execute(score_tables.delete_old_runs(model_key, KEPT_RUNS))
    with database.connect(ROLE, autocommit=True) as driver:
        driver.execute(
            "VACUUM (ANALYZE, SKIP_LOCKED)"
            " scoring.lead_score_published, scoring.score_pointer, scoring.lead_queue, scoring.owner"
        )


def drop_history(database: Database, before: date, most: int | None = None) -> list[str]:
    """Drop the history of days before a date; today's scores and those to fall back to are kept elsewhere.

    It waits for nobody: where somebody reads the history it fails and drops nothing.

    Parameters
    ----------
    most : how many days are dropped at once, oldest first; None drops all.

    Returns
    -------
    list of str : names of the partitions dropped.
    """
    with database.connect(ROLE) as connection:
        names = [name for (name,) in connection.execute(DAYS) if name < _partition_name(before)][:most]
        connection.execute("SET LOCAL lock_timeout = '1s'")
        for name in names:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("scoring", name)))
    return names


def _partition_name(day: date) -> str:
    return f"lead_score_history_{day:%Y%m%d}"
