"""Erase a subject from databases: every text column of every table, Postgres and SQLite."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Json, Jsonb

from flows.adapters.database import Database
from flows.redaction import Subject, without_in_json, without_in_text

OWN_SCHEMAS = ("scoring", "sales", "leadscore")
ID_COLUMNS = ("lead_id", "subject_id")
_COLUMNS = """
    SELECT space.nspname, relation.relname, field.attname, kind.typname, field.attname = ANY(%(ids)s)
    FROM pg_class AS relation
    JOIN pg_namespace AS space ON space.oid = relation.relnamespace
    JOIN pg_attribute AS field ON field.attrelid = relation.oid
        AND field.attnum > 0 AND NOT field.attisdropped
    JOIN pg_type AS kind ON kind.oid = field.atttypid
    WHERE relation.relkind = 'r' AND space.nspname = ANY(%(schemas)s)
      AND kind.typname IN ('text', 'varchar', 'bpchar', 'json', 'jsonb', '_text', '_varchar')
    ORDER BY 5 DESC, 1, 2, 3
"""
_WAIT_SECONDS = 30.0


def erase_from_postgres(
    database: Database, subject: Subject, schemas: tuple[str, ...] = OWN_SCHEMAS
) -> Counter[str]:
    """Delete the rows about a subject, and take its mentions out of all other rows, in one transaction.

    Rows of a table with a lead's id go; of other tables the values are pruned. The space of what went is
    freed afterwards.

    Parameters
    ----------
    schemas : whose tables are ours; a CRM's are only read.

    Returns
    -------
    Counter : rows deleted or changed, by table.
    """
    counts: Counter[str] = Counter()
    with database.connect() as connection:
        names = {"ids": list(ID_COLUMNS), "schemas": list(schemas)}
        for schema, table, column, kind, is_id in connection.execute(_COLUMNS, names).fetchall():
            place = sql.Identifier(schema, table)
            erase = _delete if is_id else _prune
            counts[f"{schema}.{table}"] += erase(connection, place, column, kind, subject)
    counts = +counts
    with database.connect(autocommit=True) as connection:
        for name in counts:
            connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(*name.split(".", 1))))
    return counts


def _delete(
    connection: psycopg.Connection[Any], place: sql.Identifier, column: str, _kind: str, subject: Subject
) -> int:
    query = sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(place, sql.Identifier(column))
    return connection.execute(query, [list(subject.ids)]).rowcount


def _prune(
    connection: psycopg.Connection[Any], place: sql.Identifier, column: str, kind: str, subject: Subject
) -> int:
    name = sql.Identifier(column)
    found = connection.execute(
        sql.SQL(
            "SELECT ctid::text, {column} FROM {place} WHERE EXISTS"
            " (SELECT FROM unnest(%s::text[]) AS id WHERE position(id IN {column}::text) > 0) FOR UPDATE"
        ).format(column=name, place=place),
        [subject.spellings],
    ).fetchall()
    update = sql.SQL("UPDATE {} SET {} = %s WHERE ctid = %s::tid").format(place, name)
    changed = [(_without(value, kind, subject), row, value) for row, value in found]
    changes = [(new, row) for new, row, value in changed if _raw(new) != value]
    for new, row in changes:
        connection.execute(update, [new, row])
    return len(changes)


def _without(value: Any, kind: str, subject: Subject) -> Any:
    if kind in ("json", "jsonb"):
        return (Jsonb if kind == "jsonb" else Json)(without_in_json(value, subject))
    return without_in_json(value, subject) if isinstance(value, list) else without_in_text(value, subject)


def _raw(value: Any) -> Any:
    return value.obj if isinstance(value, Json | Jsonb) else value


def erase_from_sqlite(path: Path, subject: Subject) -> int:
    """Take a subject out of every text of a SQLite file, and out of its free pages; returns texts changed."""
    with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        n_changed = sum(
            _prune_sqlite(connection, table, column, subject) for table, column in _columns(connection)
        )
        connection.execute("COMMIT")
        if n_changed:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return n_changed


def _columns(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        " AND sql NOT LIKE '%WITHOUT ROWID%' AND sql NOT LIKE 'CREATE VIRTUAL%'"
    ).fetchall()
    return [
        (table, column)
        for (table,) in tables
        for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", [table]).fetchall()
    ]


def _prune_sqlite(connection: sqlite3.Connection, table: str, column: str, subject: Subject) -> int:
    place, name = _quoted(table), _quoted(column)
    holds = " OR ".join([f"instr({name}, ?)"] * len(subject.spellings))
    found = connection.execute(
        f"SELECT rowid, {name} FROM {place} WHERE typeof({name}) = 'text' AND ({holds})",  # noqa: S608 - quoted
        subject.spellings,
    ).fetchall()
    changes = [(new, row) for row, text in found if (new := without_in_text(text, subject)) != text]
    for new, row in changes:
        connection.execute(f"UPDATE {place} SET {name} = ? WHERE rowid = ?", [new, row])  # noqa: S608 - quoted
    return len(changes)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
