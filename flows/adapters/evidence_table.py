"""`scoring.evidence`: how good each model was when it was trained."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any

from psycopg.rows import dict_row

from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.evidence import Evidence

_DELETE = "DELETE FROM scoring.evidence WHERE model_key = %s AND model_version = %s"
_INSERT = """
    INSERT INTO scoring.evidence (model_key, model_version, as_of_date, protocol,
                                  measure, subject, place, value, low, high, n_rows, n_won, verdict)
    VALUES (%(model_key)s, %(model_version)s, %(as_of)s, %(protocol)s,
            %(measure)s, %(subject)s, %(place)s, %(value)s, %(low)s, %(high)s,
            %(n_rows)s, %(n_won)s, %(verdict)s)
"""
_SELECT = """
    SELECT measure, subject, place, value, low, high, n_rows, n_won, verdict, protocol
    FROM scoring.evidence
    WHERE model_key = %s AND model_version = %s
    ORDER BY measure, place, subject
"""


def replace_evidence(
    database: Database,
    model_key: str,
    model_version: str,
    as_of: date,
    protocol: str,
    rows: Iterable[Evidence],
) -> None:
    """Write the evidence on a model version, in place of what was said of it before."""
    about = {"model_key": model_key, "model_version": model_version, "as_of": as_of, "protocol": protocol}
    with database.connect(ROLE) as connection, connection.cursor() as cursor:
        cursor.execute(_DELETE, [model_key, model_version])
        cursor.executemany(_INSERT, [about | asdict(row) for row in rows])


def evidence_on(database: Database, model_key: str, model_version: str) -> list[dict[str, Any]]:
    """Return the evidence on a model version by measure and place; nothing where none was measured."""
    with database.connect(ROLE) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_SELECT, [model_key, model_version]).fetchall()
