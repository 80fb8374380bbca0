"""Whatever types and spellings a CRM's columns landed with, the views over them are the same."""

from collections.abc import Iterator
from datetime import UTC, date

import psycopg
import pytest

from flows.adapters.database import Database
from flows.adapters.migrations import SourceError, install_source
from flows.adapters.replica_schema import fold, plain_name, read_declaration
from flows.adapters.source_reader import read_sources
from tests.adapters.crm_fixtures import at

AS_OF = date(2024, 4, 1)


@pytest.fixture
def landed(database: Database) -> Iterator[psycopg.Connection]:
    """An autocommitting connection with an empty schema `landed`."""
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE SCHEMA landed")
        yield connection
        connection.execute("DROP SCHEMA landed CASCADE")


def read_lead(database: Database) -> dict:
    install_source(database, "salesforce", "landed")
    return read_sources(database, AS_OF)[0].lead.to_dicts()[0]


@pytest.mark.parametrize(
    ("kind", "value", "known_at"),
    [
        ("timestamptz", "'2024-01-02 10:00+01'", "2024-01-02 09:00"),
        (
            "timestamp",
            "'2024-01-02 09:00'",
            "2024-01-02 09:00",
        ),  # without a zone it is UTC, as Fivetran writes it
        ("date", "'2024-01-02'", "2024-01-03"),  # a whole day is known from the next one on
        ("bigint", "1704186000000", "2024-01-02 09:00"),  # milliseconds
        ("text", "'2024-01-02T09:00:00Z'", "2024-01-02 09:00"),
    ],
)
def test_times_are_read_from_every_type(
    database: Database, landed: psycopg.Connection, kind: str, value: str, known_at: str
) -> None:
    landed.execute(f'CREATE TABLE landed."Lead" ("Id" text, "CreatedDate" {kind}, "IsConverted" boolean)')
    landed.execute(f"INSERT INTO landed.\"Lead\" VALUES ('L', {value}, FALSE)")
    assert read_lead(database)["known_at"].astimezone(UTC) == at(known_at)


def test_numbers_and_flags_are_read_from_text_and_nonsense_is_nothing(
    database: Database, landed: psycopg.Connection
) -> None:
    landed.execute(
        "CREATE TABLE landed.lead (id uuid, created_date timestamptz, is_converted text, is_deleted smallint,"
        " number_of_employees text, annual_revenue text, system_modstamp timestamptz)"
    )
    landed.execute(
        "INSERT INTO landed.lead VALUES"
        " ('00000000-0000-0000-0000-000000000001', '2024-01-02Z', 'No', 1, ' 12.5', 'a lot', '2024-02-01Z')"
    )
    lead = read_lead(database)
    assert lead["lead_id"] == "00000000-0000-0000-0000-000000000001"
    assert (lead["employee_count"], lead["annual_revenue"]) == (12.5, None)
    assert lead["removed_at"] == at("2024-02-01")


def test_hundreds_of_custom_columns_fit(database: Database, landed: psycopg.Connection) -> None:
    columns = ", ".join(f"field_{n}__c integer DEFAULT {n}" for n in range(329))
    landed.execute(
        f"CREATE TABLE landed.lead (id text, created_date timestamptz, is_converted boolean, {columns})"
    )
    landed.execute(
        "INSERT INTO landed.lead (id, created_date, is_converted) VALUES ('L', '2024-01-02Z', FALSE)"
    )
    attrs = read_lead(database)["attrs"]
    assert attrs.count('"field_') == 329
    assert '"field_328_c": 328' in attrs


def test_two_names_that_are_one_are_refused(database: Database, landed: psycopg.Connection) -> None:
    landed.execute('CREATE TABLE landed.lead (id text); CREATE TABLE landed."Lead" (id text)')
    with pytest.raises(SourceError, match=r"landed has both Lead and lead, which are one name without case"):
        install_source(database, "salesforce", "landed")
    landed.execute(
        'DROP TABLE landed."Lead"; ALTER TABLE landed.lead ADD created_date date, ADD "CreatedDate" date'
    )
    with pytest.raises(SourceError, match=r"landed\.lead has both created_date and CreatedDate"):
        install_source(database, "salesforce", "landed")


def test_needed_columns_are_asked_for_all_at_once(database: Database, landed: psycopg.Connection) -> None:
    landed.execute("CREATE TABLE landed.lead (id text); CREATE TABLE landed.task (id text, who_id text)")
    with pytest.raises(SourceError) as raised:
        install_source(database, "salesforce", "landed")
    assert str(raised.value).splitlines()[1:] == [
        "- column lead.created_date",
        "- column lead.is_converted",
        "- column task.created_date",
    ]


@pytest.mark.parametrize(
    ("name", "folded", "plain"),
    [
        ("LastModifiedDate", "lastmodifieddate", "last_modified_date"),
        ("Budget__c", "budgetc", "budget_c"),
        ("budget_c", "budgetc", "budget_c"),
        ("_FIVETRAN_SYNCED", "fivetransynced", "_fivetran_synced"),
    ],
)
def test_names_are_compared_without_case_and_underscores(name: str, folded: str, plain: str) -> None:
    assert (fold(name), plain_name(name)) == (folded, plain)


def test_a_declaration_with_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="size:numbre: numbre is no type; the types are text, number"):
        read_declaration('[lead]\nneeded = "id size:numbre"')
