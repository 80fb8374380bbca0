"""One embedded Postgres for the whole test session, one fresh database per test module."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from flows.adapters.database import Database, open_database
from flows.adapters.migrations import migrate
from flows.adapters.settings import Settings


def pytest_configure() -> None:
    """Let Ctrl-C through to what tests start: a shell makes whatever it runs in the background ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server() -> Iterator[Database]:
    """The owner's address of a server of its own, in a short folder that its account can enter."""
    home = Path(tempfile.mkdtemp(prefix="ls-", dir="/tmp"))
    home.chmod(0o711)
    with open_database(Settings(home=home, database_url=None)) as database:
        yield database
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def database_url(server: Database, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL, with password, of an empty database that lives as long as the module."""
    name = request.module.__name__.rpartition(".")[2][:60]
    fresh = server.ensure_database(name)
    yield fresh.uri()
    with server.connect(autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def database(database_url: str) -> Database:
    """The module's database, migrated; no source installed."""
    database = Database.from_url(database_url)
    migrate(database)
    return database


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection]:
    """An autocommitting connection of the owner."""
    with database.connect(autocommit=True) as connection:
        yield connection


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: at the end, one of them would keep a single worker busy."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
