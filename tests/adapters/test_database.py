from flows.adapters.database import Database


def test_the_fixture_is_migrated(database: Database):
    with database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM leadscore.migration").fetchone()[0] >= 1
