"""Scores on demand in SQL: `scoring.lead_rescore`, each beside the score in force."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

import polars as pl
from psycopg import sql
from psycopg.rows import dict_row

from flows.adapters.database import Database
from flows.adapters.model_in_force import InForce
from flows.adapters.score_runs import ROLE
from flows.rescore import UNKNOWN

COMPARED = ("status", "probability", "score", "grade")
_PUBLISHED = """
    SELECT lead_id, status, probability, score, grade FROM scoring.lead_score_published
    WHERE run_id = %s AND model_key = %s AND lead_id = ANY(%s)
"""


def published(database: Database, model_key: str, run: InForce, lead_ids: Sequence[str]) -> dict[str, Any]:
    """Return lead_id -> status, probability, score and grade in force."""
    with database.connect(ROLE) as connection, connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_PUBLISHED, [run.run_id, model_key, list(lead_ids)]).fetchall()
    return {row.pop("lead_id"): row for row in rows}


def record(
    database: Database,
    model_key: str,
    run: InForce,
    mapping_version: str,
    known_before: datetime,
    now: datetime,
    scores: pl.DataFrame,
    before: dict[str, Any],
) -> None:
    """Write one row per lead that the CRM has: who is unknown, or was erased, leaves no trace."""
    shared = {
        "model_key": model_key,
        "published_run_id": run.run_id,
        "model_version": run.model_version,
        "mapping_version": mapping_version,
        "data_as_of": known_before,
        "scored_at": now,
    }
    rows = [
        score
        | {f"published_{name}": before.get(score["lead_id"], {}).get(name) for name in COMPARED}
        | shared
        for score in scores.filter(pl.col("status") != UNKNOWN).to_dicts()
    ]
    if not rows:
        return
    with database.connect(ROLE) as connection, connection.cursor() as cursor:
        cursor.executemany(_insert(list(rows[0])), [list(row.values()) for row in rows])


def _insert(columns: list[str]) -> sql.Composed:
    text: LiteralString = "INSERT INTO scoring.lead_rescore ({}) VALUES ({})"
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL(text).format(names, sql.SQL(", ").join([sql.Placeholder()] * len(columns)))
