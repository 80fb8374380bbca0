"""Put a replicated CRM's tables under fixed names, and keep what looks like a leak out of the features."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

import sql as sql_files
from features.banned import is_suspect_name
from flows.adapters.replica_schema import (
    FoundTable,
    Missing,
    WantedTable,
    check_tables,
    custom_columns,
    find_tables,
    fold,
    read_declaration,
)
from flows.adapters.replica_views import replica_views


def replicated_adapters() -> tuple[str, ...]:
    """Names of the adapters that read a CRM as a replication tool lands it."""
    return ("dynamics", "hubspot", "salesforce")


def replica_files(
    connection: psycopg.Connection[Any], adapter: str, schema: str
) -> tuple[dict[str, str], list[Missing]]:
    """Statements that make the views of schema `replica`, by file, and what of the CRM is missing.

    Custom columns of leads with the names of leaks become suspects of the leak court.

    Raises
    ------
    ReplicaError : the schema is not that CRM's, or cannot be read.
    """
    wanted = read_declaration(sql_files.load(f"replica/{adapter}.toml"))
    found = find_tables(connection, schema)
    missing = check_tables(wanted, found, schema)
    _deny_suspects(connection, wanted, found)
    views = [statement.as_string(connection) for statement in replica_views(wanted, found, schema)]
    files = {f"replica/{adapter}.toml": ";\n".join(views)}
    return files | {path: sql_files.load(path) for path in sql_files.names(f"replica/{adapter}")}, missing


def _deny_suspects(
    connection: psycopg.Connection[Any], wanted: Sequence[WantedTable], found: Mapping[str, FoundTable]
) -> None:
    names = [
        f"attrs_{name}"
        for table in wanted
        for name in custom_columns(table, found.get(fold(table.name)) or FoundTable(table.name))
    ]
    connection.execute(
        """
        INSERT INTO scoring.leak_ruling (column_name, verdict, reason, reviewer, is_automatic)
        SELECT suspect, 'suspect', 'named like a value that is overwritten in place', 'leadscore', TRUE
        FROM unnest(%s::text[]) AS suspect
        WHERE suspect NOT IN (SELECT column_name FROM scoring.leak_ruling)
        """,
        [[name for name in names if is_suspect_name(name)]],
    )
