"""One Postgres database: how to reach it, as which role, and what to say when it cannot be reached."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import sqlalchemy as sa
from psycopg import conninfo, sql

from flows.adapters import embedded_postgres
from flows.adapters.postgres_binaries import OLDEST_SERVER, ServerUnavailableError
from flows.adapters.settings import Settings

ROLES = ("crm_reader", "score_writer", "sales_reader", "sales_writer")
APPLICATION = "leadscore"
LOCK_POLL_SECONDS = 1.0
MLFLOW_DATABASE = "leadscore_mlflow"


class DatabaseUnavailableError(RuntimeError):
    """The database cannot be used; the message says why and what to do, and never holds the password."""


class AlreadyRunningError(RuntimeError):
    """Another session holds the lock; the message names it."""


@dataclass(frozen=True)
class Database:
    """Where the database is and who connects.

    Attributes
    ----------
    parameters : libpq's connection parameters, the password among them; left out of `repr`.
    """

    parameters: dict[str, str] = field(repr=False, hash=False)

    @classmethod
    def from_url(cls, url: str) -> "Database":
        """Read a URL (`postgresql://`, `postgres://`, `postgresql+psycopg://`) or a libpq connection string.

        Raises
        ------
        DatabaseUnavailableError : it cannot be read.
        """
        scheme, separator, rest = url.partition("://")
        try:
            parameters = conninfo.conninfo_to_dict(scheme.partition("+")[0] + separator + rest)
        except psycopg.ProgrammingError:  # libpq's message quotes what it could not read: maybe the password
            raise DatabaseUnavailableError(
                "LEADSCORE_DATABASE_URL is not a Postgres URL;"
                " write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters %-encoded"
            ) from None
        return cls({name: str(value) for name, value in parameters.items() if value is not None})

    @property
    def name(self) -> str:
        """Name of the database; libpq falls back on the user's name."""
        return self.parameters.get("dbname") or self.parameters.get("user", "")

    def at(self, dbname: str) -> "Database":
        """Another database of the same server."""
        return Database(self.parameters | {"dbname": dbname})

    def connect(self, role: str | None = None, autocommit: bool = False) -> psycopg.Connection[Any]:
        """Open a connection whose time zone is UTC and which acts as `role`.

        Parameters
        ----------
        role : one of `ROLES`; None acts as the owner who logs in.

        Raises
        ------
        DatabaseUnavailableError : with the reason in plain words.
        """
        try:
            connection = psycopg.connect(**self._defaults(), autocommit=True)  # type: ignore[arg-type]
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(self._explain(error)) from None
        try:
            self._prepare(connection, role)
        except BaseException:
            connection.close()
            raise
        connection.autocommit = autocommit
        return connection

    def engine(self, role: str | None = None) -> sa.Engine:
        """A SQLAlchemy engine over the same connections; the caller disposes of it."""
        return sa.create_engine("postgresql+psycopg://", creator=lambda: self.connect(role))

    @contextlib.contextmanager
    def session(self, role: str | None = None) -> Iterator[sa.Connection]:
        """One SQLAlchemy connection, closed at the end; its transactions are begun by the caller."""
        engine = sa.create_engine(
            "postgresql+psycopg://", creator=lambda: self.connect(role), poolclass=sa.NullPool
        )
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    @contextlib.contextmanager
    def begin(self, role: str | None = None) -> Iterator[sa.Connection]:
        """A SQLAlchemy connection in one transaction: committed at the end, rolled back by an exception."""
        with self.session(role) as connection, connection.begin():
            yield connection

    def uri(self, dbname: str | None = None, hide_password: bool = False, role: str | None = None) -> str:
        """A `postgresql://` URI for other libpq clients (ADBC, psql); it acts as `role`, in UTC and UTF-8.

        For SQLAlchemy write `postgresql+psycopg` for the scheme.
        """
        rest = self._defaults() | ({"dbname": dbname} if dbname else {})
        user, password = rest.pop("user", ""), rest.pop("password", "")
        host, port, name = rest.pop("host", ""), rest.pop("port", ""), rest.pop("dbname", "")
        if role:
            # ADBC takes all text for UTF-8 without asking for it: a LATIN1 database made Polars crash
            ours = f"-c role={role} -c TimeZone=UTC -c client_encoding=UTF8"
            rest["options"] = f"{rest.get('options', '')} {ours}".strip()
        if host.startswith("/"):  # a socket's folder has no place in the authority of a URI
            rest, host, port = {"host": host, "port": port} | rest, "", ""
        secret = ":" + ("***" if hide_password else quote(password, safe="")) if password else ""
        place = f"{host}:{port}" if port else host
        who = f"{quote(user, safe='')}{secret}@" if user else ""
        query = "?" + urlencode(rest, quote_via=quote) if rest else ""
        return f"postgresql://{who}{place}/{quote(name, safe='')}{query}"

    def ensure_database(self, name: str) -> "Database":
        """Create a database of the same server unless it exists; returns its address."""
        other = self.at(name)
        with self.connect(autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return other

    def _defaults(self) -> dict[str, str]:
        return {"application_name": APPLICATION, "connect_timeout": "10"} | self.parameters

    def _prepare(self, connection: psycopg.Connection[Any], role: str | None) -> None:
        if connection.info.server_version < OLDEST_SERVER * 10_000:
            raise DatabaseUnavailableError(
                f"{self._where()} runs Postgres {connection.info.server_version // 10_000};"
                f" leadscore needs {OLDEST_SERVER} or newer"
            )
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            raise DatabaseUnavailableError(
                f"database {self.name} at {self._where()} has encoding SQL_ASCII, so nobody knows what the"
                " bytes of its texts mean: restore a dump of it into a database with ENCODING 'UTF8'"
            )
        connection.execute("SELECT set_config('TimeZone', 'UTC', false)")
        if role is not None:
            try:
                connection.execute("SELECT set_config('role', %s, false)", [role])
            except psycopg.Error as error:
                raise DatabaseUnavailableError(
                    f"cannot act as role {role}: {error.diag.message_primary}; run `leadscore db migrate`"
                ) from None

    def _where(self) -> str:
        host = self.parameters.get("host", "localhost")
        return f"{host}:{self.parameters.get('port', '5432')}"

    def _explain(self, error: psycopg.OperationalError) -> str:
        text = str(error)
        user = self.parameters.get("user", "the current user")
        if "authentication failed" in text or "no password supplied" in text or "pg_hba.conf" in text:
            return (
                f"{self._where()} refuses user {user}: check the user and password in LEADSCORE_DATABASE_URL"
            )
        if "does not exist" in text and "database" in text:
            return (
                f"{self._where()} has no database {self.name}: create it with `CREATE DATABASE {self.name}`"
            )
        if "role" in text and "does not exist" in text:
            return f"{self._where()} has no user {user}: check LEADSCORE_DATABASE_URL"
        reason = text.strip().splitlines()[-1] if text.strip() else "no answer"
        password = self.parameters.get("password")
        reason = reason.replace(password, "***") if password else reason
        return f"no Postgres answers at {self._where()}: check LEADSCORE_DATABASE_URL ({reason})"


@contextlib.contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database of these settings; an embedded server runs at least as long as this context.

    Raises
    ------
    DatabaseUnavailableError : no server, wrong credentials, missing database, or a server that is too old.
    """
    if settings.database_url is not None:
        database = Database.from_url(settings.database_url.get_secret_value())
        database.connect().close()
        yield database
        return
    with contextlib.ExitStack() as stack:
        try:
            parameters = stack.enter_context(embedded_postgres.running(settings.root))
        except ServerUnavailableError as error:
            raise DatabaseUnavailableError(str(error)) from error
        server = Database(parameters)
        yield server.at("postgres").ensure_database(server.name)


@contextlib.contextmanager
def exclusive(database: Database, name: str, patience_seconds: float = 0.0) -> Iterator[None]:
    """Hold a lock that the server frees by itself when this process dies.

    Raises
    ------
    AlreadyRunningError : another session holds it, and still does after `patience_seconds`.
    """
    deadline = time.monotonic() + patience_seconds
    with database.connect(autocommit=True) as connection:
        mine = f"{APPLICATION} {name} (process {os.getpid()})"
        connection.execute("SELECT set_config('application_name', %s, false)", [mine])
        key = "SELECT hashtextextended('leadscore ' || %s, 0)"
        while connection.execute(f"SELECT pg_try_advisory_lock(({key}))", [name]).fetchone() != (True,):
            if time.monotonic() >= deadline:
                raise AlreadyRunningError(_holder(connection, name))
            time.sleep(LOCK_POLL_SECONDS)
        yield


def _holder(connection: psycopg.Connection[Any], name: str) -> str:
    """Who holds the lock: its backend and since when, as far as we may see it."""
    row = connection.execute(
        """
        SELECT activity.pid, activity.application_name, activity.backend_start
        FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid),
             hashtextextended('leadscore ' || %s, 0) AS wanted
        WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
          AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (held.classid::bigint << 32 | held.objid::bigint) = wanted
        """,
        [name],
    ).fetchone()
    if row is None:
        return f"{name} was running a moment ago: try again"
    pid, application, since = row
    return f"{name} already runs: {application}, Postgres session {pid}, since {since:%Y-%m-%d %H:%M:%S} UTC"
