"""The guides to replicated CRMs: their grants are enough and no more, and they name every view."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from flows.adapters.database import ROLES, Database
from flows.adapters.migrations import install_source, migrate, missing_columns
from flows.adapters.source_contract import CONTRACT
from flows.adapters.source_reader import read_sources
from tests.adapters.crm_fixtures import land

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
CRMS = ("salesforce", "hubspot", "dynamics")


def grants(crm: str) -> str:
    text = (
        (GUIDES / f"{crm}.md")
        .read_text()
        .replace("dynamics_365.", "dynamics.")
        .replace("dynamics_365 ", "dynamics ")
    )
    return "\n".join(re.findall(r"^ +GRANT .*?;", text, re.MULTILINE | re.DOTALL)).replace(
        "TO leadscore", "TO crm_guest"
    )


def missing_tables(database: Database) -> list[str]:
    return [gap.table for gap in missing_columns(database) if gap.column is None]


@pytest.fixture
def guest(server: Database) -> Iterator[Database]:
    """A login that is no superuser, with an empty database of its own."""
    roles = ", ".join(ROLES)
    with server.connect(autocommit=True) as connection:
        migrate(server.ensure_database("makes_the_roles"))
        connection.execute("CREATE ROLE crm_guest LOGIN PASSWORD 'guest'")
        connection.execute(f"GRANT {roles} TO crm_guest")
        connection.execute("CREATE DATABASE crm_guest OWNER crm_guest")
    yield Database(server.parameters | {"user": "crm_guest", "password": "guest", "dbname": "crm_guest"})
    with server.connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE crm_guest WITH (FORCE)")
        connection.execute("DROP DATABASE makes_the_roles WITH (FORCE)")
        connection.execute("DROP ROLE crm_guest")


@pytest.mark.parametrize("crm", CRMS)
def test_the_grants_of_the_guide_are_enough(server: Database, guest: Database, crm: str) -> None:
    administrator = server.at("crm_guest")
    land(administrator, crm)
    with administrator.connect() as connection:
        connection.execute(grants(crm))
    migrate(guest)
    install_source(guest, crm, crm)
    assert missing_tables(guest) == []
    sources, _ = read_sources(guest, date(2024, 4, 1))
    assert sources.lead.height >= 7
    with administrator.connect() as connection:  # a table less is a gap, not a failure
        table = {"salesforce": "task", "hubspot": "deal", "dynamics": "audit"}[crm]
        connection.execute(f"REVOKE SELECT ON {crm}.{table} FROM crm_guest")
    install_source(guest, crm, crm)
    assert missing_tables(guest) == [table]
    assert read_sources(guest, date(2024, 4, 1))[0].lead.height == sources.lead.height


@pytest.mark.parametrize("crm", CRMS)
def test_the_guide_says_where_each_view_comes_from(crm: str) -> None:
    table = (GUIDES / f"{crm}.md").read_text().partition("## What becomes what")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(CONTRACT)
