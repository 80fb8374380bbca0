import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi
from psycopg import sql
from pydantic import SecretStr

from flows.adapters.database import (
    AlreadyRunningError,
    Database,
    DatabaseUnavailableError,
    exclusive,
    open_database,
)
from flows.adapters.migrations import migrate
from flows.adapters.settings import Settings

SECRET = "s3cret%-word"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(connection: psycopg.Connection, query: str = "SELECT current_database()") -> object:
    with connection:
        return connection.execute(query).fetchone()[0]


def open_url(url: str) -> None:
    with open_database(Settings(database_url=SecretStr(url))):
        pass


def test_a_url_starts_nothing_and_is_used_as_it_is(database_url: str, tmp_path):
    with open_database(Settings(home=tmp_path / "home", database_url=SecretStr(database_url))) as database:
        assert ask(database.connect(), "SELECT 1") == 1
    assert not (tmp_path / "home").exists()


def test_the_uri_leads_every_client_to_the_same_database(database: Database):
    engine = sa.create_engine(database.uri().replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        assert connection.scalar(sa.func.current_database()) == database.name
    engine.dispose()
    assert ask(psycopg.connect(database.uri())) == database.name
    assert ask(Database.from_url(database.uri()).connect()) == database.name


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_urls_are_read_with_their_special_characters(scheme: str):
    database = Database.from_url(
        f"{scheme}://ann%40home:s3cret%25-word@db.example:6432/le%20ads?sslmode=require"
    )
    assert database.parameters == {
        "user": "ann@home",
        "password": SECRET,
        "host": "db.example",
        "port": "6432",
        "dbname": "le ads",
        "sslmode": "require",
    }
    again = Database.from_url(database.uri()).parameters
    assert database.parameters.items() <= again.items()


def test_the_password_stays_hidden():
    database = Database.from_url(f"postgresql://ann:{SECRET.replace('%', '%25')}@db.example/leads")
    assert SECRET not in repr(database)
    shown = database.uri(hide_password=True)
    assert "ann:***@db.example" in shown
    assert "s3cret" not in shown


def test_connections_are_in_utc_and_named(database: Database):
    query = "SELECT current_setting('TimeZone'), current_setting('application_name')"
    with database.connect() as connection:
        assert connection.execute(query).fetchone() == ("UTC", "leadscore")
    with psycopg.connect(database.uri(role="crm_reader")) as connection:
        assert connection.execute(query).fetchone() == ("UTC", "leadscore")


@pytest.mark.parametrize("door", ["connect", "engine", "begin", "uri"])
def test_every_door_can_act_as_a_role(database: Database, door: str):
    query = "SELECT current_user"
    if door == "connect":
        user = ask(database.connect("sales_reader"), query)
    elif door == "engine":
        engine = database.engine("sales_reader")
        with engine.connect() as connection:
            user = connection.scalar(sa.text(query))
        engine.dispose()
    elif door == "begin":
        with database.begin("sales_reader") as connection:
            user = connection.scalar(sa.text(query))
    else:
        user = ask(psycopg.connect(database.uri(role="sales_reader")), query)
    assert user == "sales_reader"


def test_a_missing_role_says_what_to_run(database: Database):
    message = r"cannot act as role nobody_here: .*leadscore db migrate"
    with pytest.raises(DatabaseUnavailableError, match=message):
        database.connect("nobody_here")


def test_begin_rolls_back_on_an_error(database: Database, owner: psycopg.Connection):
    owner.execute("CREATE TABLE public.attempt (n int)")

    def fail_half_way() -> None:
        with database.begin() as connection:
            connection.exec_driver_sql("INSERT INTO public.attempt VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert owner.execute("SELECT count(*) FROM public.attempt").fetchone() == (0,)


def test_ensure_database_can_be_repeated(database: Database):
    first, second = (database.ensure_database("leadscore_extra") for _ in range(2))
    assert first == second
    with first.connect() as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("leadscore_extra",)
    with database.connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE leadscore_extra")


def test_nobody_answers(closed_port: int):
    url = f"postgresql://ann:{SECRET.replace('%', '%25')}@127.0.0.1:{closed_port}/leads"
    message = f"no Postgres answers at 127.0.0.1:{closed_port}: check"
    with pytest.raises(DatabaseUnavailableError, match=message) as error:
        open_url(url)
    assert SECRET not in str(error.value)


def test_the_wrong_password(database: Database):
    wrong = Database(database.parameters | {"password": SECRET})
    message = "refuses user leadscore: check the user and password"
    with pytest.raises(DatabaseUnavailableError, match=message) as error:
        open_url(wrong.uri())
    assert SECRET not in str(error.value)


def test_a_database_that_is_not_there(database: Database):
    with pytest.raises(DatabaseUnavailableError, match="has no database elsewhere: create it"):
        open_url(database.at("elsewhere").uri())


def test_what_is_no_url_at_all():
    with pytest.raises(DatabaseUnavailableError, match="is not a Postgres URL; write postgresql://") as error:
        open_url(f"mysql://ann:{SECRET}@db.example/leads")
    assert SECRET not in str(error.value)


def test_an_old_server_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flows.adapters.database.OLDEST_SERVER", 99)
    with pytest.raises(DatabaseUnavailableError, match="runs Postgres 18; leadscore needs 99 or newer"):
        database.connect()


def encoded(database: Database, name: str, encoding: str) -> Database:
    """A new database of this encoding on the same server."""
    with database.connect(autocommit=True) as connection:
        connection.execute(
            sql.SQL(
                "CREATE DATABASE {} ENCODING {} TEMPLATE template0 LOCALE_PROVIDER libc LC_COLLATE 'C'"
                " LC_CTYPE 'C'"
            ).format(sql.Identifier(name), sql.Literal(encoding))
        )
    return database.at(name)


def test_text_of_unknown_encoding_is_refused(database: Database):
    with pytest.raises(DatabaseUnavailableError, match=r"some_bytes .* SQL_ASCII.*ENCODING 'UTF8'"):
        open_url(encoded(database, "some_bytes", "SQL_ASCII").uri())


def test_text_in_another_encoding_is_read_as_text(database: Database):
    western = encoded(database, "western", "LATIN1")
    migrate(western)
    with western.connect("crm_reader") as connection:
        assert connection.execute("SELECT chr(252)").fetchone() == ("ü",)
    with dbapi.connect(western.uri(role="crm_reader")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT chr(252) AS letter")
        assert cursor.fetch_arrow_table().to_pydict() == {"letter": ["ü"]}


def test_the_lock_lets_one_in_and_names_the_holder(database: Database):
    message = r"nightly already runs: leadscore nightly \(process \d+\), Postgres session \d+, since 20.* UTC"
    with exclusive(database, "nightly"):
        with pytest.raises(AlreadyRunningError, match=message), exclusive(database, "nightly"):
            pass
        with exclusive(database, "train"):
            pass
    with exclusive(database, "nightly"):
        pass


HOLD = """
import sys
from flows.adapters.database import Database, exclusive
with exclusive(Database.from_url(sys.argv[1]), "nightly"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_lock_goes_with_a_killed_process(database: Database, database_url: str):
    command = [sys.executable, "-c", HOLD, database_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], **pipes) as holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(AlreadyRunningError, match=rf"process {holder.pid}"),
            exclusive(database, "nightly"),
        ):
            pass
        holder.kill()
    deadline = time.monotonic() + 20
    while True:
        try:
            with exclusive(database, "nightly"):
                break
        except AlreadyRunningError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
