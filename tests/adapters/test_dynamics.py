"""Dynamics 365 as Fivetran lands it: every trap of the fixture, end to end."""

from datetime import date

import pytest

from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.migrations import missing_columns
from tests.adapters.crm_fixtures import at, features_of, installed, land, read

AS_OF = date(2024, 4, 1)


@pytest.fixture(scope="module")
def crm(database: Database) -> Database:
    land(database, "dynamics")
    return installed(database, "dynamics")


@pytest.fixture(scope="module")
def sources(crm: Database) -> Sources:
    sources, set_aside = read(crm, AS_OF)
    assert set_aside.n_rows == 0
    return sources


def test_nothing_of_the_fixture_is_missed(crm: Database) -> None:
    assert missing_columns(crm) == []


def test_option_sets_are_read_by_label_in_one_language(sources: Sources) -> None:
    rows = sources.lead.select("lead_id", "lead_source", "industry", "attrs").sort("lead_id")
    assert dict(rows.select("lead_id", "lead_source").rows())["won"] == "Employee Referral"
    ann = rows.filter(lead_id="open").to_dicts()[0]
    assert (ann["lead_source"], ann["industry"]) == ("Web", "Software")
    assert ann["attrs"] == '{"new_partner": "yes", "new_budgetrange": "10-50k"}'


def test_deleted_and_merged_leads_stay_with_the_date_they_left(sources: Sources) -> None:
    removed = dict(sources.lead.select("lead_id", "removed_at").drop_nulls().rows())
    assert removed == {"deleted": at("2024-02-14"), "merged": at("2024-02-01")}
    assert sources.lead.height == 8


def test_a_qualification_is_dated_by_the_best_witness(sources: Sources) -> None:
    rows = sources.outcome.select(
        "lead_id", "outcome", "outcome_at", "known_at", "opportunity_id", "amount", "currency"
    )
    assert rows.sort("lead_id").rows() == [
        ("lost", "lost", at("2024-01-25"), at("2024-01-25"), None, None, None),
        (
            "won",
            "converted",
            at("2024-02-10 01:30"),
            at("2024-02-10 02:00"),
            "O1",
            50_000.0,
            "EUR",
        ),  # the audit log
        (
            "won bare",
            "converted",
            at("2024-03-14"),
            at("2024-03-14"),
            None,
            None,
            None,
        ),  # the record's last change
        ("won deal", "converted", at("2024-02-11 12:00"), at("2024-02-11 12:00"), "O2", 700.0, "EUR"),
    ]  # the loser of a merge is closed by it, and neither won nor lost


def test_completed_activities_reach_the_lead_also_through_its_opportunity(sources: Sources) -> None:
    rows = sources.activity.select(
        "activity_id", "lead_id", "activity_type", "direction", "occurred_at", "known_at"
    )
    assert set(rows.rows()) == {
        ("call", "open", "call", "inbound", at("2024-01-12 10:00"), at("2024-01-12 10:00")),
        ("logged late", "open", "email_reply", "inbound", at("2024-01-13 10:00"), at("2024-01-20 04:00")),
        ("no time", "open", "meeting", "outbound", at("2024-02-05"), at("2024-02-05")),
        ("on the deal", "won", "call", "outbound", at("2024-02-20 10:00"), at("2024-02-20 10:00")),
        ("of merged", "merged", "call", "outbound", at("2024-01-22 10:00"), at("2024-01-22 10:00")),
        ("of merged", "open", "call", "outbound", at("2024-01-22 10:00"), at("2024-02-01")),
    }


def test_the_audit_log_gives_stages_and_earlier_values(sources: Sources) -> None:
    assert sources.stage.filter(lead_id="open").sort("entered_at").select("stage", "known_at").rows() == [
        ("New", at("2024-01-02 09:00")),
        ("Contacted", at("2024-01-10 03:00")),
    ]
    assert sources.stage["lead_id"].n_unique() == 8  # who never moved has a first stage too
    early = features_of(sources, date(2024, 2, 10)).filter(lead_id="open").to_dicts()[0]
    late = features_of(sources, date(2024, 2, 20)).filter(lead_id="open").to_dicts()[0]
    assert (early["lead_department"], early["owner_id"]) == ("engineering", "u1")
    assert (late["lead_seniority"], late["owner_id"]) == ("c_level", "u2")


def test_the_rest_of_the_record(sources: Sources) -> None:
    assert sources.consent.rows() == [("lost", True, False, True)]
    assert dict(sources.owner.select("owner_id", "is_active").rows()) == {"u1": True, "u2": False}
    assert set(sources.account.select("account_id", "industry", "is_customer", "is_competitor").rows()) == {
        ("A1", "Retail", True, False),
        ("A2", None, False, True),
    }


def test_columns_of_your_publisher_become_features_but_not_those_with_the_name_of_a_leak(
    crm: Database, sources: Sources
) -> None:
    frame = features_of(sources, date(2024, 2, 5))
    assert {name for name in frame.columns if name.startswith("attrs_")} == {
        "attrs_new_budgetrange",
        "attrs_new_partner",
    }
    assert sorted(frame["lead_id"]) == ["deleted", "early", "open", "won", "won bare", "won deal"]
    with crm.connect("score_writer") as connection:
        ruled = connection.execute("SELECT column_name, verdict FROM scoring.leak_verdict").fetchall()
    assert ruled == [("attrs_new_probability", "suspect")]


HISTORY = """
DROP TABLE dynamics.audit CASCADE;
ALTER TABLE dynamics.lead DROP CONSTRAINT lead_pkey, ADD COLUMN _fivetran_active boolean,
    ADD COLUMN _fivetran_start timestamptz, ADD COLUMN _fivetran_end timestamptz;
UPDATE dynamics.lead SET _fivetran_active = leadid <> 'deleted', _fivetran_start = createdon,
    _fivetran_end = CASE leadid WHEN 'deleted' THEN timestamptz '2024-02-14Z' ELSE '9999-12-31 23:59:59Z' END;
INSERT INTO dynamics.lead (
    leadid, createdon, statecode, statuscode, jobtitle, _fivetran_active, _fivetran_start, _fivetran_end
) VALUES (
    'won', '2024-01-03 09:00Z', 0, 1, 'Sales Rep', FALSE, '2024-01-03 09:00Z', '2024-02-09 23:59:59.999Z'
);
UPDATE dynamics.lead SET _fivetran_start = '2024-02-10Z' WHERE leadid = 'won' AND _fivetran_active;
"""


def test_in_history_mode_versions_stand_for_the_audit_log(crm: Database) -> None:
    with crm.connect() as connection:
        connection.execute(HISTORY)
    installed(crm, "dynamics")
    sources, set_aside = read(crm, AS_OF)
    assert set_aside.n_rows == 0
    assert sources.lead.filter(lead_id="deleted")["removed_at"].to_list() == [at("2024-02-14")]
    assert sources.outcome.filter(lead_id="won")["outcome_at"].to_list() == [at("2024-02-10")]
    early = features_of(sources, date(2024, 2, 1)).filter(lead_id="won")
    assert early["lead_seniority"].to_list() != ["vp"]
    assert [gap.table for gap in missing_columns(crm)] == ["audit"]
