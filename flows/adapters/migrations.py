"""Bring the database to this version's shape, and put the chosen source views in place."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import Any

import psycopg
from psycopg import sql

import sql as sql_files
from flows.adapters.database import Database
from flows.adapters.replica_schema import Missing, ReplicaError
from flows.adapters.source_replica import replica_files, replicated_adapters

RECORD = """
CREATE SCHEMA IF NOT EXISTS leadscore;
CREATE TABLE IF NOT EXISTS leadscore.migration (
    name        text PRIMARY KEY,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""


class MigrationError(RuntimeError):
    """The database's history and this version's files do not fit together."""


class SourceError(RuntimeError):
    """The source views cannot be put in place; the old ones are untouched."""


@dataclass(frozen=True)
class Source:
    """Which adapter is installed, the data's clock (None: today's date), and a replicated CRM's schema."""

    adapter: str
    clock: date | None
    schema: str | None = None


def migrate(database: Database) -> list[str]:
    """Apply the migrations of `sql/migrations` that are new, each in its own transaction.

    Concurrent calls wait for each other; a second call does nothing.

    Returns
    -------
    list of str : names of the migrations applied now.

    Raises
    ------
    MigrationError : an applied file was changed since, or the database is newer than this version.
    """
    files = {PurePosixPath(path).stem: sql_files.load(path) for path in sql_files.names("migrations")}
    with database.connect(autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended('leadscore migrate', 0))")
        connection.execute(RECORD)
        applied = dict(connection.execute("SELECT name, checksum FROM leadscore.migration").fetchall())
        _check_history(applied, files)
        new = [name for name in files if name not in applied]
        for name in new:
            _apply(connection, name, files[name])
    return new


def _check_history(applied: dict[str, str], files: dict[str, str]) -> None:
    unknown = sorted(applied.keys() - files.keys())
    if unknown:
        raise MigrationError(
            f"the database has migration {unknown[0]}, which this version lacks: update leadscore"
        )
    for name, checksum in sorted(applied.items()):
        if checksum != _checksum(files[name]):
            raise MigrationError(
                f"sql/migrations/{name}.sql was changed after it was applied:"
                " restore it and write the change as a new migration"
            )


def _apply(connection: psycopg.Connection[Any], name: str, text: str) -> None:
    try:
        with connection.transaction():
            connection.execute(text.encode())
            connection.execute(
                "INSERT INTO leadscore.migration (name, checksum) VALUES (%s, %s)", [name, _checksum(text)]
            )
    except psycopg.Error as error:
        raise MigrationError(f"migration {name} failed, nothing of it remains: {error}") from error


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def install_source(database: Database, adapter: str, schema: str | None = None) -> None:
    """Replace the views of schema `source` by those of `sql/source/<adapter>/` and `sql/intermediate/`.

    Files run in order of name, in one transaction. When the same text is already installed and every view is
    there nothing is touched, so that views users built on top stay. Another adapter takes the clock back to
    the calendar.

    Parameters
    ----------
    schema : where a replicated CRM lies (one of `replicated_adapters()`); None for the others.

    Raises
    ------
    SourceError : no such adapter, the schema is not that CRM's, a file fails, or another view stands on one
        of the old ones.
    """
    files = {path: sql_files.load(path) for path in sql_files.names(f"source/{adapter}")}
    if not files:
        raise SourceError(f"no source adapter {adapter}: there is no folder sql/source/{adapter} with views")
    files |= {path: sql_files.load(path) for path in sql_files.names("intermediate")}
    if (schema is None) == (adapter in replicated_adapters()):
        raise SourceError(
            f"adapter {adapter} {'needs' if schema is None else 'knows no'} schema of a replicated CRM"
        )
    with database.connect() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('leadscore install source', 0))")
        missing: list[Missing] = []
        if schema is not None:
            replica, missing = _look_at_replica(connection, adapter, schema)
            files = replica | files
        checksum = _checksum("".join(files.values()))
        if _installed(connection) == (adapter, checksum) and _all_there(connection, files.values()):
            return
        _drop_views(connection)
        for path, text in files.items():
            _run_view(connection, path, text)
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA source TO crm_reader")
        _record_source(connection, adapter, checksum, schema, missing)


def _look_at_replica(
    connection: psycopg.Connection[Any], adapter: str, schema: str
) -> tuple[dict[str, str], list[Missing]]:
    try:
        return replica_files(connection, adapter, schema)
    except ReplicaError as error:
        raise SourceError(str(error)) from None


def _record_source(
    connection: psycopg.Connection[Any],
    adapter: str,
    checksum: str,
    schema: str | None,
    missing: Sequence[Missing],
) -> None:
    connection.execute(
        """
        INSERT INTO leadscore.source (adapter, checksum, physical_schema, missing) VALUES (%s, %s, %s, %s)
        ON CONFLICT (is_only_row) DO UPDATE
        SET adapter = EXCLUDED.adapter, checksum = EXCLUDED.checksum, installed_at = now(),
            physical_schema = EXCLUDED.physical_schema, missing = EXCLUDED.missing,
            clock = CASE WHEN leadscore.source.adapter = EXCLUDED.adapter THEN leadscore.source.clock END
        """,
        [adapter, checksum, schema, json.dumps([entry._asdict() for entry in missing])],
    )


def set_clock(database: Database, clock: date | None) -> None:
    """Record the date at which old data counts as today's; None goes back to the calendar.

    Raises
    ------
    SourceError : no adapter is installed yet.
    """
    with database.connect() as connection:
        if connection.execute("UPDATE leadscore.source SET clock = %s", [clock]).rowcount == 0:
            raise SourceError("no source is installed: run `leadscore simulate` or `leadscore import` first")


def installed_source(database: Database) -> Source | None:
    """Which source is installed, or None."""
    with database.connect() as connection:
        row = connection.execute("SELECT adapter, clock, physical_schema FROM leadscore.source").fetchone()
    return Source(*row) if row else None


def today(database: Database) -> date:
    """Return the data's clock, else the calendar's day (UTC).

    Raises
    ------
    SourceError : no adapter is installed yet.
    """
    source = installed_source(database)
    if source is None:
        raise SourceError(
            "no source is installed: run `leadscore simulate`, `leadscore import`, or install an adapter"
        )
    return source.clock or datetime.now(UTC).date()


BEGIN_ANEW = (
    "begin anew by `leadscore db reset`, or give this source a LEADSCORE_MODEL_KEY and a LEADSCORE_MODEL_NAME"
    " of its own"
)
"""What to do where published scores are of another source, or of a day that this one has not reached."""


def night_date(database: Database, as_of: date | None) -> date:
    """Return the date asked for, else today by the data's own clock or the calendar.

    Raises
    ------
    ValueError : the date is still to come by both. Once published, it would make every night until then
        one of the past, which is only filed.
    SourceError : none is asked for, and no adapter is installed yet.
    """
    if as_of is None:
        return today(database)
    source, calendar = installed_source(database), datetime.now(UTC).date()
    clock = None if source is None else source.clock
    if as_of > max(calendar, clock or calendar):
        data = "" if clock is None else f" and {clock} by the data's own clock"
        raise ValueError(
            f"{as_of} is still to come: today is {calendar} (UTC){data}; give an earlier date, or none"
        )
    return as_of


def missing_columns(database: Database) -> list[Missing]:
    """What of a replicated CRM was not found when its views were made."""
    with database.connect() as connection:
        row = connection.execute("SELECT missing FROM leadscore.source").fetchone()
    return [Missing(**entry) for entry in row[0]] if row else []


def _installed(connection: psycopg.Connection[Any]) -> tuple[str, str] | None:
    return connection.execute("SELECT adapter, checksum FROM leadscore.source").fetchone()


def _all_there(connection: psycopg.Connection[Any], texts: Iterable[str]) -> bool:
    """Tell whether no view went since: a replication tool that alters a table may take its views along."""
    n_made = sum(len(re.findall(r"^CREATE (?:OR REPLACE )?VIEW ", text, re.MULTILINE)) for text in texts)
    row = connection.execute(
        "SELECT count(*) FROM pg_views WHERE schemaname IN ('source', 'replica')"
    ).fetchone()
    return row is not None and row[0] >= n_made


def _drop_views(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE SCHEMA IF NOT EXISTS replica")
    for schema in ("source", "replica"):  # the first stands on the second
        views = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = %s", [schema]).fetchall()
        if not views:
            continue
        names = sql.SQL(", ").join(sql.Identifier(schema, name) for (name,) in views)
        try:
            connection.execute(sql.SQL("DROP VIEW {}").format(names))
        except psycopg.errors.DependentObjectsStillExist as error:
            raise SourceError(
                f"other views stand on the {schema} views, drop them first: {error.diag.message_detail}"
            ) from None


def _run_view(connection: psycopg.Connection[Any], path: str, text: str) -> None:
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        raise SourceError(f"sql/{path}: {error.diag.message_primary or error}") from error
