"""`db`: the embedded Postgres and the shape of the database."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError, database_of, opened

if TYPE_CHECKING:
    from flows.adapters.database import Database
    from flows.adapters.settings import Settings

log = logging.getLogger(__name__)

app = App(
    name="db",
    help="The database: start, stop, reach, migrate, reset.\n\nExample: leadscore db up",
    sort_key=9,
)


@app.command
def up(*, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Start the embedded Postgres and keep it running, for psql and BI tools, until `leadscore db down`.

    Example: leadscore db up && psql "$(leadscore db url)"
    """
    with opened(output) as (settings, progress):
        _embedded_only(settings, "up")
        from flows.adapters import embedded_postgres

        embedded_postgres.keep_running(settings.root, True)
        with database_of(settings, progress) as database:
            url = _without_password(settings, database)
    return Answer({"status": "running", "url": url}, lambda: f"Postgres runs: {url}")


@app.command
def down(*, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Stop the embedded Postgres as soon as no command uses it.

    Example: leadscore db down
    """
    with opened(output) as (settings, _):
        _embedded_only(settings, "down")
        from flows.adapters import embedded_postgres

        embedded_postgres.keep_running(settings.root, False)
        if embedded_postgres.server_pid(settings.root) is not None:
            with embedded_postgres.running(settings.root):
                pass  # the last to leave stops it
        pid = embedded_postgres.server_pid(settings.root)
    if pid is not None:
        text = f"Postgres (process {pid}) stops when the command that uses it ends"
        return Answer({"status": "in use", "pid": pid}, lambda: text)
    return Answer({"status": "stopped"}, lambda: "Postgres is stopped")


@app.command
def url(
    *,
    mlflow: Annotated[
        bool, Parameter(negative="", help="MLflow's database, spelled for SQLAlchemy.")
    ] = False,
    show_password: Annotated[bool, Parameter(negative="", help="Print the password in the URL.")] = False,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Print the database's address for psql and other tools.

    The password is left out; for the embedded Postgres the address names a file, readable by you alone,
    where libpq finds it.

    Example: psql "$(leadscore db url)" -c "SELECT * FROM sales.prioritized_leads LIMIT 20"
    """
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.database import MLFLOW_DATABASE

        chosen = database.ensure_database(MLFLOW_DATABASE) if mlflow else database
        address = chosen.uri() if show_password else _without_password(settings, chosen)
        _warn_unless_running(settings)
    if mlflow:
        address = address.replace("postgresql://", "postgresql+psycopg://", 1)
    return Answer({"url": address}, lambda: address)


@app.command
def migrate(*, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Bring the database to this version's shape; every other command does so by itself.

    Example: LEADSCORE_DATABASE_URL=postgresql://me@crm-replica/sales leadscore db migrate
    """
    with opened(output) as (settings, _):
        from flows.adapters.database import open_database
        from flows.adapters.migrations import migrate as apply

        with open_database(settings) as database:
            applied = apply(database)
    text = "applied: " + ", ".join(applied) if applied else "nothing to do"
    return Answer({"status": "migrated", "applied": applied}, lambda: text)


@app.command
def install_source(
    adapter: Annotated[str, Parameter(help="salesforce, hubspot or dynamics.")],
    *,
    schema: Annotated[str, Parameter(help="The schema into which the CRM is replicated.")],
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Read leads from a CRM that Fivetran or the like replicates into this database, from now on.

    Tables and columns are found whatever their case and underscores. What is missing, and what that costs, is
    said; run this again after the CRM's columns have changed.

    Example: leadscore db install-source salesforce --schema salesforce
    """
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.migrations import install_source as install
        from flows.adapters.migrations import missing_columns
        from flows.adapters.source_contract import check_contract
        from flows.commands.data import published_scores_told

        with progress.stage(f"read {adapter} in schema {schema}"), published_scores_told(settings, database):
            install(database, adapter, schema)
            with database.connect("crm_reader") as connection:
                check_contract(connection)
        missing = [gap._asdict() for gap in missing_columns(database)]
    payload = {"status": "installed", "adapter": adapter, "schema": schema, "missing": missing}
    return Answer(payload, lambda: "\n".join(_installed_lines(adapter, schema, missing)))


@app.command
def reset(
    *,
    yes: Annotated[bool, Parameter(negative="", help="Really: leads, scores and models are lost.")] = False,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Throw away everything in the embedded Postgres, and the models, and begin anew.

    Example: leadscore db reset --yes
    """
    with opened(output) as (settings, progress):
        _embedded_only(settings, "reset")
        if not yes:
            raise UsageError(
                f"this deletes all leads, scores and models of {settings.root}; repeat with --yes"
            )
        from flows.adapters.database import open_database
        from flows.adapters.migrations import migrate as apply

        with progress.stage("reset"), open_database(settings) as database:
            _drop(database)
            apply(database.at("postgres").ensure_database(database.name))
            shutil.rmtree(settings.root / "mlflow", ignore_errors=True)
    return Answer({"status": "reset"}, lambda: "the database is empty; next: leadscore run")


def _installed_lines(adapter: str, schema: str, missing: list[dict[str, str | None]]) -> Iterator[str]:
    yield f"leads are read from {adapter} in schema {schema}"
    for gap in missing:
        name = gap["table"] if gap["column"] is None else f"{gap['table']}.{gap['column']}"
        yield f"  not found: {name}; it costs: {gap['costs']}"
    yield "next: leadscore doctor, then leadscore nightly"


def _embedded_only(settings: Settings, verb: str) -> None:
    if settings.database_url is not None:
        raise ValueError(
            f"`leadscore db {verb}` is about the embedded Postgres, but LEADSCORE_DATABASE_URL names a "
            "server of yours, which leadscore neither starts, stops nor empties"
        )


def _warn_unless_running(settings: Settings) -> None:
    from flows.adapters import embedded_postgres

    if settings.database_url is None and not embedded_postgres.keeps_running(settings.root):
        log.warning("the embedded Postgres runs only while a command uses it: `leadscore db up` keeps it")


def _drop(database: Database) -> None:
    from psycopg import sql

    from flows.adapters.database import MLFLOW_DATABASE

    with database.at("postgres").connect(autocommit=True) as connection:
        for name in (database.name, MLFLOW_DATABASE):
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(statement)


def _without_password(settings: Settings, database: Database) -> str:
    """The embedded server's address is by TCP, for tools that know no Unix sockets."""
    parameters = dict(database.parameters)
    password = parameters.pop("password", None)
    if settings.database_url is not None:
        return replace(database, parameters=parameters).uri()
    passfile = quote(str(_password_file(settings.root, password or "")), safe="/")
    user, port, name = (parameters[key] for key in ("user", "port", "dbname"))
    return f"postgresql://{user}@127.0.0.1:{port}/{name}?passfile={passfile}"


def _password_file(home: Path, password: str) -> Path:
    """The embedded server's password as libpq wants it; mode 600, else libpq ignores it."""
    path = home / "postgres" / "pgpass"
    path.touch(mode=0o600)
    path.write_text(f"*:*:*:*:{password}\n")
    return path
