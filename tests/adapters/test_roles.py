"""Each role can do its part and nothing else; an owner that is no superuser is enough."""

from collections.abc import Iterator
from datetime import date

import pytest
from psycopg.errors import InsufficientPrivilege

import sql as sql_files
from flows.adapters.database import ROLES, Database
from flows.adapters.migrations import MigrationError, install_source, migrate
from flows.adapters.score_runs import start_run

SCHEMAS = """
CREATE SCHEMA crm;
CREATE TABLE crm.lead (id text);
INSERT INTO crm.lead VALUES ('L1');
CREATE SCHEMA truth;
CREATE TABLE truth.lead_truth (lead_id text);
"""


@pytest.fixture(scope="module")
def stocked(database: Database) -> Database:
    """A CRM, a truth, and a source view over the CRM."""
    texts = {"source/tiny/lead.sql": "CREATE VIEW source.lead AS SELECT id AS lead_id FROM crm.lead"}
    with database.connect(autocommit=True) as connection:
        connection.execute(SCHEMAS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_files, "names", lambda folder: [p for p in texts if p.startswith(folder + "/")])
        patch.setattr(sql_files, "load", texts.__getitem__)
        install_source(database, "tiny")
    start_run(database, "lead-conversion", date(2026, 5, 1))
    return database


ALLOWED = [
    ("crm_reader", "SELECT * FROM source.lead"),
    ("score_writer", "SELECT * FROM scoring.lead_score"),
    ("score_writer", "INSERT INTO scoring.score_run (model_key, as_of_date) VALUES ('m', '2026-05-01')"),
    ("score_writer", "CREATE TABLE scoring.scratch (n int)"),
    ("score_writer", "CREATE TEMP TABLE staging (n int)"),
    ("sales_reader", "SELECT * FROM sales.prioritized_leads"),
]
FORBIDDEN = [
    ("crm_reader", "SELECT * FROM crm.lead"),
    ("crm_reader", "SELECT * FROM truth.lead_truth"),
    ("crm_reader", "SELECT * FROM scoring.lead_score"),
    ("crm_reader", "SELECT * FROM sales.prioritized_leads"),
    ("crm_reader", "INSERT INTO source.lead VALUES ('L2')"),
    ("crm_reader", "CREATE TABLE source.mine (n int)"),
    ("score_writer", "SELECT * FROM source.lead"),
    ("score_writer", "SELECT * FROM crm.lead"),
    ("score_writer", "SELECT * FROM truth.lead_truth"),
    ("score_writer", "SELECT * FROM leadscore.migration"),
    ("score_writer", "CREATE TABLE sales.mine (n int)"),
    ("sales_reader", "SELECT * FROM scoring.lead_score"),
    ("sales_reader", "SELECT * FROM scoring.score_run"),
    ("sales_reader", "SELECT * FROM source.lead"),
    ("sales_reader", "SELECT * FROM crm.lead"),
    ("sales_reader", "CREATE TABLE sales.mine (n int)"),
]


@pytest.mark.parametrize(("role", "statement"), ALLOWED)
def test_a_role_can_do_its_part(stocked: Database, role: str, statement: str):
    with stocked.connect(role) as connection:
        connection.execute(statement)
        connection.rollback()


@pytest.mark.parametrize(("role", "statement"), FORBIDDEN)
def test_and_nothing_else(stocked: Database, role: str, statement: str):
    with stocked.connect(role) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize("role", ROLES)
def test_nobody_logs_in_as_a_role(stocked: Database, role: str):
    with stocked.connect() as connection:
        assert connection.execute(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [role]
        ).fetchone() == (False,)


@pytest.fixture
def plain_owner(server: Database) -> Iterator[Database]:
    """A login that is no superuser and may not create roles, owning an empty database."""
    with server.connect(autocommit=True) as connection:
        connection.execute("CREATE ROLE plain_owner LOGIN PASSWORD 'plain'")
        connection.execute("CREATE DATABASE plain OWNER plain_owner")
    yield Database(server.parameters | {"user": "plain_owner", "password": "plain", "dbname": "plain"})
    with server.connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE plain WITH (FORCE)")
        connection.execute("DROP ROLE plain_owner")


def grant_roles(server: Database, options: str = "") -> None:
    with server.connect(autocommit=True) as connection:
        for role in ROLES:
            connection.execute(f"GRANT {role} TO plain_owner {options}")


def test_an_owner_without_the_roles_is_told_whom_to_ask(stocked: Database, plain_owner: Database):
    message = (
        "plain_owner is no member of crm_reader; let an administrator run: GRANT crm_reader TO plain_owner"
    )
    with pytest.raises(MigrationError, match=message):
        migrate(plain_owner)


def test_an_ordinary_owner_is_enough(stocked: Database, server: Database, plain_owner: Database):
    grant_roles(server)
    assert migrate(plain_owner)
    run = start_run(plain_owner, "lead-conversion", date(2026, 5, 1))
    with plain_owner.connect("score_writer") as connection:
        found = connection.execute("SELECT run_id FROM scoring.score_run").fetchall()
    assert found == [(run.run_id,)]
    with plain_owner.connect("sales_reader") as connection:
        assert connection.execute("SELECT count(*) FROM sales.prioritized_leads").fetchone() == (0,)


def test_an_administrator_of_the_roles_becomes_a_member(stocked, server: Database, plain_owner: Database):
    """As on Postgres 16 and later, where who creates a role may grant it but not act as it."""
    grant_roles(server, "WITH ADMIN TRUE, SET FALSE, INHERIT FALSE")
    migrate(plain_owner)
    with plain_owner.connect("crm_reader") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("crm_reader",)
