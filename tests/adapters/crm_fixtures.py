"""Small CRMs as a replication tool lands them, and what a test does with every one of them."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from features.build import build
from features.sources import Sources
from features.spine import spine
from flows.adapters.database import Database
from flows.adapters.migrations import install_source
from flows.adapters.source_reader import SetAside, check_contract, read_sources

FOLDER = Path(__file__).parent / "fixtures"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def land(database: Database, crm: str) -> None:
    """Run the fixture of a CRM, which makes a schema of its name."""
    with database.connect() as connection:
        connection.execute((FOLDER / f"{crm}.sql").read_bytes())


def installed(database: Database, crm: str, schema: str | None = None) -> Database:
    """The database with the views over the fixture, their contract checked under the reader's role."""
    install_source(database, crm, schema or crm)
    with database.connect("crm_reader") as connection:
        check_contract(connection)
    return database


def read(database: Database, as_of: date) -> tuple[Sources, SetAside]:
    return read_sources(database, as_of)


def features_of(sources: Sources, day: date) -> pl.DataFrame:
    """One row of features per lead that was open on the day."""
    return build(sources, spine(sources, [day], max_age_days=365))


def view(database: Database, name: str) -> set[tuple[Any, ...]]:
    with database.connect("crm_reader") as connection:
        statement = sql.SQL("SELECT v::text FROM {} AS v").format(sql.Identifier("source", name))
        return set(connection.execute(statement).fetchall())


def respell(connection: psycopg.Connection[Any], schema: str, new_schema: str) -> None:
    """Give a schema and all its tables and columns the CamelCase of the CRM's own API."""
    rows = connection.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s", [schema]
    ).fetchall()
    for table, column in rows:
        connection.execute(
            sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(
                sql.Identifier(schema, table), sql.Identifier(column), sql.Identifier(camel(column))
            )
        )
    for table in sorted({table for table, _ in rows}):
        connection.execute(
            sql.SQL("ALTER TABLE {} RENAME TO {}").format(
                sql.Identifier(schema, table), sql.Identifier(camel(table))
            )
        )
    connection.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(schema), sql.Identifier(new_schema))
    )


def camel(name: str) -> str:
    if name.startswith("_"):
        return name.upper()
    stem, is_custom = name.removesuffix("_c"), name.endswith("_c")
    return "".join(word.capitalize() for word in stem.split("_")) + ("__c" if is_custom else "")
