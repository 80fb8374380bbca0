"""`scoring.evidence`: how good each model was when it was trained, and its recipe over rolling origins."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from psycopg.rows import dict_row

from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.evidence import NEWEST, Evidence

_DELETE = """
    DELETE FROM scoring.evidence
    WHERE model_key = %s AND model_version = %s AND (origin = 'newest') = %s
"""
_INSERT = """
    INSERT INTO scoring.evidence (model_key, model_version, as_of_date, protocol, origin,
                                  measure, subject, place, value, low, high, n_rows, n_won, verdict)
    VALUES (%(model_key)s, %(model_version)s, %(as_of)s, %(protocol)s, %(origin)s,
            %(measure)s, %(subject)s, %(place)s, %(value)s, %(low)s, %(high)s,
            %(n_rows)s, %(n_won)s, %(verdict)s)
"""
_SELECT = """
    WITH rolling AS (
        SELECT model_version FROM scoring.evidence
        WHERE model_key = %(model_key)s AND origin <> 'newest'
        ORDER BY as_of_date DESC, model_version DESC LIMIT 1
    )
    SELECT origin, measure, subject, place, value, low, high, n_rows, n_won, verdict, protocol
    FROM scoring.evidence
    WHERE model_key = %(model_key)s
      AND (origin = 'newest' AND model_version = %(model_version)s
           OR origin <> 'newest' AND model_version IN (SELECT model_version FROM rolling))
    ORDER BY origin = 'newest' DESC, origin, measure, place, subject
"""


def replace_evidence(
    database: Database,
    model_key: str,
    model_version: str,
    as_of: date,
    protocol: str,
    by_origin: Mapping[str, Iterable[Evidence]],
) -> None:
    """Write the evidence on a model version, in place of what was said of it before.

    Parameters
    ----------
    by_origin : what was measured on the newest cohort, under `newest`, or over rolling origins: `all` and
        their dates, as `flows.rolling_evidence.rolling_evidence` returns them; one leaves the other as it is.
    """
    about = {"model_key": model_key, "model_version": model_version, "as_of": as_of, "protocol": protocol}
    written = [about | {"origin": origin} | asdict(row) for origin, rows in by_origin.items() for row in rows]
    with database.connect(ROLE) as connection, connection.cursor() as cursor:
        cursor.execute(_DELETE, [model_key, model_version, NEWEST in by_origin])
        cursor.executemany(_INSERT, written)


def evidence_on(database: Database, model_key: str, model_version: str) -> list[dict[str, Any]]:
    """Return the evidence on a model version, then the newest over rolling origins, by measure and place.

    Nothing where none was measured. The rolling one may be of an earlier version: it is measured more rarely.
    """
    asked = {"model_key": model_key, "model_version": model_version}
    with database.connect(ROLE) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_SELECT, asked).fetchall()
