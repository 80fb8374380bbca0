"""Everything stored about one person: the CRM's rows as the pipeline reads them, and what it made of them."""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from flows.adapters import erased
from flows.adapters.database import Database
from flows.adapters.erasure_tables import ID_COLUMNS, OWN_SCHEMAS

_KEYED = """
    SELECT table_schema, table_name, column_name
    FROM information_schema.columns
    JOIN information_schema.tables USING (table_schema, table_name)
    WHERE (
        table_schema = 'source' AND table_type = 'VIEW'
        OR table_schema = ANY(%s) AND table_type = 'BASE TABLE'
    ) AND column_name = ANY(%s)
    ORDER BY 1, 2, 3
"""
_KEYS = (*ID_COLUMNS, "source_id", "canonical_id", "entity_id")
_PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits"


class UnknownSubjectError(LookupError):
    """Nothing is stored about the subject."""


def export(database: Database, subject_id: str) -> dict[str, Any]:
    """Return every row about a lead and whoever is merged with it, by relation; days of history in one list.

    Raises
    ------
    UnknownSubjectError : there is none.
    """
    with database.connect() as connection:
        ids = erased.ids_of_person(connection, subject_id)
        partitions = {name for (name,) in connection.execute(_PARTITIONS).fetchall()}
        keyed = connection.execute(_KEYED, [list(OWN_SCHEMAS), list(_KEYS)]).fetchall()
        found: dict[str, list[dict[str, Any]]] = {}
        for schema, table, column in keyed:
            name = f"{schema}.{table}"
            if name not in partitions:
                rows = _rows(connection, sql.Identifier(schema, table), column, ids)
                found[name] = _without_repeats([*found.get(name, []), *rows])
    stored = {name: rows for name, rows in found.items() if rows}
    if not stored:
        raise UnknownSubjectError("nothing is stored about this subject; is the id right?")
    return {"subject": subject_id, "ids": ids, "stored": stored}


def _rows(
    connection: psycopg.Connection[Any], place: sql.Identifier, column: str, ids: list[str]
) -> list[dict[str, Any]]:
    query = sql.SQL("SELECT * FROM {} WHERE {} = ANY(%s)").format(place, sql.Identifier(column))
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, [ids]).fetchall()


def _without_repeats(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row found by two of its columns is told once."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        if row not in kept:
            kept.append(row)
    return kept
