"""Rulings of the leak court in SQL, and what they keep out of the features."""

from datetime import UTC, date, datetime

import psycopg
import pytest

import sql as sql_files
from flows.adapters.database import Database
from flows.adapters.leak_rulings import (
    UnknownColumnError,
    deny_sensitive,
    in_force,
    read_case,
    record,
    rule_by_hand,
)
from flows.adapters.migrations import install_source
from flows.adapters.source_reader import read_sources
from flows.leak_court import hear

AS_OF = date(2024, 6, 1)
# Every eighth lead is won after 20 days; `plan` is asked at the door, `signatory` known at the signature.
LEADS = """
INSERT INTO imported.lead (lead_id, created_at, created_precision, updated_at, title, country, attrs)
SELECT
    n::text, timestamptz '2024-01-01' + n * interval '1 hour', 'second', '2024-05-01', 'CTO',
    CASE n % 3 WHEN 0 THEN 'DE' ELSE 'FR' END,
    jsonb_build_object('plan', n % 5, 'signatory', CASE WHEN n % 8 = 0 THEN 'p' || n % 2 END)
FROM generate_series(1, 800) AS n;
INSERT INTO imported.outcome (lead_id, outcome, outcome_at, outcome_precision)
SELECT lead_id, 'converted', created_at + interval '20 days', 'second'
FROM imported.lead
WHERE lead_id::int % 8 = 0;
"""
# The titles of every other won lead were filled in at the signature.
HISTORY = """
CREATE OR REPLACE VIEW source.field_history AS
SELECT 'lead' AS entity, lead_id AS entity_id, 'title' AS field, 'CTO' AS value,
    created_at + CASE WHEN lead_id::int % 16 = 0 THEN interval '20 days' ELSE interval '0' END AS valid_from,
    NULL::timestamptz AS valid_to
FROM imported.lead
"""


@pytest.fixture(scope="module")
def crm(database: Database) -> Database:
    with database.connect() as connection:
        connection.execute(sql_files.load("imported/tables.sql"))
        connection.execute(LEADS)
    install_source(database, "imported")
    with database.connect() as connection:
        connection.execute(HISTORY)
    return database


def sit(crm: Database) -> int:
    case = read_case(crm, datetime(2024, 5, 1, tzinfo=UTC))
    return record(crm, hear(case.columns, case.is_won, case.lead_ids, case.filled_after))


def verdicts(crm: Database) -> dict[str, str]:
    return {row["column_name"]: row["verdict"] for row in in_force(crm)}


def staged_keys(crm: Database) -> set[str]:
    attrs = read_sources(crm, AS_OF)[0].lead["attrs"].str.json_path_match("$.signatory")
    plans = read_sources(crm, AS_OF)[0].lead["attrs"].str.json_path_match("$.plan")
    return {name for name, found in (("signatory", attrs), ("plan", plans)) if found.drop_nulls().len()}


def test_what_the_court_finds_is_kept_out_of_the_features(crm: Database) -> None:
    assert staged_keys(crm) == {"signatory", "plan"}
    assert sit(crm) == 9
    assert verdicts(crm) == {
        "title": "banned",
        "attrs_signatory": "suspect",
        **dict.fromkeys(
            (
                "attrs_plan",
                "lead_source",
                "industry",
                "country",
                "employee_count",
                "annual_revenue",
                "email_domain",
            ),
            "allowed",
        ),
    }
    assert staged_keys(crm) == {"plan"}
    sources, _ = read_sources(crm, AS_OF)
    assert sources.lead["title"].null_count() == 800
    assert sources.field_history.is_empty()  # its history would let the title in by the back door
    assert sources.lead["country"].null_count() == 0


def test_sitting_again_says_nothing_new(crm: Database) -> None:
    sit(crm)
    assert sit(crm) == 0


def test_a_person_has_the_last_word_until_a_person_changes_it(crm: Database) -> None:
    sit(crm)
    rule_by_hand(crm, "attrs_signatory", "allowed", "asked on the web form", "ann")
    rule_by_hand(crm, "country", "banned", "a proxy for nationality", "ann")
    with crm.connect("score_writer") as connection:
        connection.execute(
            "DELETE FROM scoring.leak_ruling WHERE is_automatic AND column_name = 'attrs_signatory'"
        )
    assert sit(crm) == 1
    row = next(row for row in in_force(crm) if row["column_name"] == "attrs_signatory")
    assert (row["verdict"], row["reviewer"], row["reason"]) == ("allowed", "ann", "asked on the web form")
    assert staged_keys(crm) == {"signatory", "plan"}
    assert read_sources(crm, AS_OF)[0].lead["country"].null_count() == 800
    rule_by_hand(crm, "attrs_signatory", "banned", "it is written at the signature after all", "bob")
    assert staged_keys(crm) == {"plan"}


def test_sensitive_columns_are_denied_before_the_court_ever_sits_until_a_person_allows_them(
    crm: Database,
) -> None:
    with crm.connect() as connection:
        connection.execute(
            """UPDATE imported.lead SET attrs = attrs || '{"gender__c": "f", "zip": "10115"}'"""
        )
        connection.execute("DELETE FROM scoring.leak_ruling WHERE column_name LIKE 'attrs%'")
    assert deny_sensitive(crm) == 2
    assert deny_sensitive(crm) == 0
    seen = read_sources(crm, AS_OF)[0].lead["attrs"]
    assert seen.str.json_path_match("$.zip").null_count() == 800
    assert seen.str.json_path_match("$.plan").null_count() == 0
    reasons = {row["column_name"]: row["reason"] for row in in_force(crm)}
    assert reasons["attrs_gender__c"] == "sensitive by its name: gender"
    sit(crm)
    assert verdicts(crm)["attrs_zip"] == "banned"
    rule_by_hand(crm, "attrs_zip", "allowed", "of the company's seat, not of a person", "ann")
    deny_sensitive(crm)
    sit(crm)
    seen = read_sources(crm, AS_OF)[0].lead["attrs"]
    assert seen.str.json_path_match("$.zip").null_count() == 0
    assert seen.str.json_path_match("$.gender__c").null_count() == 800


def test_a_column_nobody_has_heard_of_is_no_case(crm: Database) -> None:
    sit(crm)
    with pytest.raises(
        UnknownColumnError, match=r"has not heard of column attrs_plam; it knows .*attrs_plan"
    ):
        rule_by_hand(crm, "attrs_plam", "banned", "typed", "ann")


def test_the_reader_sees_what_is_denied_and_not_why(crm: Database) -> None:
    with crm.connect("crm_reader", autocommit=True) as connection:
        connection.execute("SELECT column_name FROM leadscore.denied_column")
        for forbidden in ("scoring.leak_ruling", "scoring.leak_verdict", "leadscore.source"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {forbidden}")
