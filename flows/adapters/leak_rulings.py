"""What the leak court hears from the CRM, and its rulings in SQL."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import psycopg
from psycopg.types.json import Jsonb

import sql as sql_files
from features.attrs import attrs
from features.sources import Sources, empty_frame
from features.spine import EMPTY, KEYS
from flows.adapters.database import Database
from flows.leak_court import MIN_DATED_FILLS, Ruling, Verdict, rule_by_name

CONTRACT_COLUMNS = (
    "lead_source", "title", "industry", "country", "employee_count", "annual_revenue", "email_domain",
)  # fmt: skip

_CUSTOM_COLUMNS = """
    SELECT DISTINCT key
    FROM source.lead
    CROSS JOIN LATERAL jsonb_object_keys(
        CASE WHEN jsonb_typeof(attrs::jsonb) = 'object' THEN attrs::jsonb ELSE '{}' END
    ) AS key
"""


class UnknownColumnError(ValueError):
    """No lead has such a column; the message names near ones."""


@dataclass(frozen=True)
class Case:
    """What the court hears.

    Attributes
    ----------
    columns : every column of leads that is or may become a feature, n leads.
    is_won : bool (n,); lead_ids : n ids; filled_after : see `flows.leak_court.hear`.
    """

    columns: pl.DataFrame
    is_won: np.ndarray
    lead_ids: list[str]
    filled_after: dict[str, float]


def read_case(database: Database, created_before: datetime) -> Case:
    """Read today's values of all leads created before a time, whether denied or not."""
    with database.connect("crm_reader") as connection:
        cursor = connection.execute(sql_files.load("audit/court_leads.sql").encode(), [created_before])
        names = [column.name for column in cursor.description or ()]
        rows = pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)
        dated = connection.execute(sql_files.load("audit/filled_after.sql").encode()).fetchall()
    return Case(
        _columns(rows),
        rows["is_won"].cast(pl.Boolean).to_numpy(),
        rows["lead_id"].to_list(),
        {field: share for field, n_dated, share in dated if n_dated >= MIN_DATED_FILLS},
    )


def _columns(rows: pl.DataFrame) -> pl.DataFrame:
    own = rows.select(CONTRACT_COLUMNS).with_columns(
        pl.col("employee_count", "annual_revenue").cast(pl.Float64),
        pl.col("lead_source", "title", "industry", "country", "email_domain").cast(pl.String),
    )
    lead = rows.select(pl.col("lead_id", "attrs").cast(pl.String))
    sources = Sources.from_frames({"lead": pl.concat([empty_frame("lead"), lead], how="diagonal")})
    spine = pl.concat([EMPTY, lead.select("lead_id")], how="diagonal")
    return pl.concat([own, attrs(sources, spine).drop(KEYS)], how="horizontal")


def record(database: Database, rulings: Iterable[Ruling]) -> int:
    """Write automatic rulings that say something new; a person's stay in force. Returns how many."""
    with database.connect("score_writer") as connection:
        return sum(_record_one(connection, ruling) for ruling in rulings)


def _record_one(connection: psycopg.Connection[Any], ruling: Ruling) -> int:
    return connection.execute(
        """
        INSERT INTO scoring.leak_ruling (column_name, verdict, reason, reviewer, is_automatic, evidence)
        SELECT %(column)s, %(verdict)s, %(reason)s, 'leadscore', TRUE, %(evidence)s
        WHERE NOT EXISTS (
            SELECT 1
            FROM (
                SELECT verdict, reason FROM scoring.leak_ruling
                WHERE column_name = %(column)s AND is_automatic
                ORDER BY ruling_id DESC LIMIT 1
            ) AS newest
            WHERE newest.verdict = %(verdict)s AND newest.reason = %(reason)s
        )
        """,
        {
            "column": ruling.column,
            "verdict": ruling.verdict,
            "reason": ruling.reason,
            "evidence": Jsonb(ruling.evidence.as_dict()),
        },
    ).rowcount


def deny_sensitive(database: Database) -> int:
    """Record a ruling on every custom column that is sensitive by its name, new ones among them.

    The court need not have sat. A ruling by hand stays in force, whichever it is. Returns how many were new.
    """
    with database.connect("crm_reader") as connection:
        names = [f"attrs_{key}" for (key,) in connection.execute(_CUSTOM_COLUMNS).fetchall()]
    rulings = rule_by_name(names)
    return record(database, rulings) if rulings else 0


def rule_by_hand(database: Database, column: str, verdict: Verdict, reason: str, reviewer: str) -> None:
    """Write a person's ruling, which is in force until a person says otherwise.

    Raises
    ------
    UnknownColumnError : the court has not heard of the column.
    """
    with database.connect("score_writer") as connection:
        known = [
            row[0] for row in connection.execute("SELECT column_name FROM scoring.leak_verdict ORDER BY 1")
        ]
        if column not in known:
            raise UnknownColumnError(
                f"the court has not heard of column {column}; it knows {', '.join(known) or 'none yet'}:"
                " run `leadscore doctor court` first"
            )
        connection.execute(
            "INSERT INTO scoring.leak_ruling (column_name, verdict, reason, reviewer, is_automatic)"
            " VALUES (%s, %s, %s, %s, FALSE)",
            [column, verdict, reason, reviewer],
        )


def in_force(database: Database) -> list[dict[str, Any]]:
    """Rows of scoring.leak_verdict, the worst first."""
    with database.connect("score_writer") as connection:
        cursor = connection.execute(
            "SELECT * FROM scoring.leak_verdict"
            " ORDER BY array_position(ARRAY['banned', 'suspect', 'allowed'], verdict), column_name"
        )
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
