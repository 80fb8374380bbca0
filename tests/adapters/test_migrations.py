import threading
from datetime import date

import psycopg
import pytest

import sql as sql_files
from flows.adapters.database import Database
from flows.adapters.migrations import (
    MigrationError,
    Source,
    SourceError,
    install_source,
    installed_source,
    migrate,
    set_clock,
)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """SQL files that a test may change, in place of those of the package: path to text."""
    folders = ("migrations", "intermediate", "source/simulated")
    texts = {path: sql_files.load(path) for folder in folders for path in sql_files.names(folder)}
    monkeypatch.setattr(
        sql_files, "names", lambda folder: sorted(path for path in texts if path.rpartition("/")[0] == folder)
    )
    monkeypatch.setattr(sql_files, "load", texts.__getitem__)
    return texts


@pytest.fixture
def adapters(files: dict[str, str]) -> dict[str, str]:
    """Two small adapters, `one` and `two`, and no intermediate views."""
    for path in [path for path in files if path.startswith(("intermediate/", "source/"))]:
        del files[path]
    files["source/one/lead.sql"] = "CREATE VIEW source.lead AS SELECT 'L1'::text AS lead_id"
    files["source/one/owner.sql"] = "CREATE VIEW source.owner AS SELECT lead_id AS owner_id FROM source.lead"
    files["source/two/lead.sql"] = "CREATE VIEW source.lead AS SELECT 2 AS lead_id, 'x'::text AS title"
    return files


@pytest.fixture(autouse=True)
def _no_source(database: Database):
    yield
    with database.connect(autocommit=True) as connection:
        connection.execute("TRUNCATE leadscore.source")
        for name in ("owner", "lead"):
            connection.execute(f"DROP VIEW IF EXISTS source.{name} CASCADE")


def views(owner: psycopg.Connection) -> set[str]:
    return {name for (name,) in owner.execute("SELECT viewname FROM pg_views WHERE schemaname = 'source'")}


def test_a_second_call_does_nothing(database: Database):
    assert migrate(database) == []


def test_concurrent_calls_apply_each_migration_once(server: Database):
    fresh = server.ensure_database("migrated_at_once")
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate(fresh))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, applied)) == [0, 0, 0, len(sql_files.names("migrations"))]
    with server.connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE migrated_at_once WITH (FORCE)")


def test_changed_history_is_refused(database: Database, files: dict[str, str]):
    files["migrations/0001_ground.sql"] += "-- a harmless comment"
    with pytest.raises(MigrationError, match=r"0001_ground.sql was changed after it was applied: restore it"):
        migrate(database)


def test_a_newer_database_is_refused(database: Database, files: dict[str, str]):
    del files["migrations/0002_scores.sql"]
    with pytest.raises(MigrationError, match="has migration 0002_scores, which this version lacks: update"):
        migrate(database)


def test_a_failed_migration_leaves_nothing(
    database: Database, files: dict[str, str], owner: psycopg.Connection
):
    files["migrations/9999_bad.sql"] = "CREATE TABLE public.half (n int); SELECT 1 / 0;"
    with pytest.raises(MigrationError, match="9999_bad failed, nothing of it remains: division by zero"):
        migrate(database)
    assert owner.execute("SELECT to_regclass('public.half')").fetchone() == (None,)
    files["migrations/9999_bad.sql"] = "SELECT 1"
    assert migrate(database) == ["9999_bad"]
    owner.execute("DELETE FROM leadscore.migration WHERE name = '9999_bad'")


def test_no_source_at_first(database: Database):
    assert installed_source(database) is None
    with pytest.raises(SourceError, match="no source is installed: run `leadscore simulate`"):
        set_clock(database, date(2026, 5, 1))


def test_a_source_replaces_the_one_before(
    database: Database, adapters: dict[str, str], owner: psycopg.Connection
):
    install_source(database, "one")
    set_clock(database, date(2018, 9, 30))
    assert installed_source(database) == Source("one", date(2018, 9, 30))
    install_source(database, "two")
    assert installed_source(database) == Source("two", None)
    assert views(owner) == {"lead"}
    with database.connect("crm_reader") as reader:
        assert reader.execute("SELECT * FROM source.lead").fetchall() == [(2, "x")]


def test_the_same_source_again_leaves_users_views_alone(database, adapters, owner):
    install_source(database, "one")
    set_clock(database, date(2018, 9, 30))
    owner.execute("CREATE VIEW public.mine AS SELECT * FROM source.lead")
    install_source(database, "one")
    assert installed_source(database) == Source("one", date(2018, 9, 30))
    with pytest.raises(
        SourceError, match="other views stand on the source views, drop them first: view mine"
    ):
        install_source(database, "two")
    assert owner.execute("SELECT * FROM public.mine").fetchall() == [("L1",)]


def test_a_changed_file_keeps_the_clock(database, adapters):
    install_source(database, "one")
    set_clock(database, date(2018, 9, 30))
    adapters["source/one/lead.sql"] = "CREATE OR REPLACE VIEW source.lead AS SELECT 'L9'::text AS lead_id"
    install_source(database, "one")
    assert installed_source(database) == Source("one", date(2018, 9, 30))
    with database.connect("crm_reader") as reader:
        assert reader.execute("SELECT lead_id FROM source.lead").fetchall() == [("L9",)]


def test_a_bad_view_is_named_and_the_old_ones_stay(database, adapters, owner):
    install_source(database, "one")
    adapters["source/two/owner.sql"] = "CREATE VIEW source.owner AS SELECT owner_name FROM source.lead"
    with pytest.raises(SourceError, match=r'sql/source/two/owner.sql: column "owner_name" does not exist'):
        install_source(database, "two")
    assert installed_source(database).adapter == "one"
    assert views(owner) == {"lead", "owner"}


def test_an_unknown_adapter_is_named(database: Database):
    with pytest.raises(SourceError, match="no source adapter siebel: there is no folder sql/source/siebel"):
        install_source(database, "siebel")


def test_the_clock_can_be_given_back(database: Database, adapters: dict[str, str]):
    install_source(database, "one")
    set_clock(database, date(2018, 9, 30))
    set_clock(database, None)
    assert installed_source(database) == Source("one", None)
