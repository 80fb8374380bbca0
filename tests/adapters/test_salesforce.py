"""Salesforce as Fivetran lands it: every trap of the fixture, end to end."""

from datetime import date

import pytest

from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.migrations import SourceError, install_source, installed_source, missing_columns
from flows.adapters.source_contract import SourceContractError, check_contract
from tests.adapters.crm_fixtures import at, features_of, installed, land, read, respell, view

AS_OF = date(2024, 4, 1)
VIEWS = (
    "lead",
    "stage_history",
    "field_history",
    "activity",
    "account",
    "outcome",
    "owner",
    "consent",
    "identity_map",
)


@pytest.fixture(scope="module")
def crm(database: Database) -> Database:
    land(database, "salesforce")
    return installed(database, "salesforce")


@pytest.fixture(scope="module")
def sources(crm: Database) -> Sources:
    sources, set_aside = read(crm, AS_OF)
    assert set_aside.n_rows == 0
    return sources


def test_it_is_remembered_which_schema_is_read_and_that_nothing_is_missing(crm: Database) -> None:
    assert installed_source(crm).schema == "salesforce"
    assert missing_columns(crm) == []


def test_deleted_and_merged_leads_stay_with_the_date_they_left(sources: Sources) -> None:
    assert dict(sources.lead.select("lead_id", "removed_at").rows()) == {
        "open": None, "won": None, "won alone": None, "won twin": None, "lost": None,
        "binned": at("2024-01-26"),
        "purged": at("2024-02-14"),  # gone from the recycle bin: the copy says when
        "merged": at("2024-02-01"),
    }  # fmt: skip


def test_a_conversion_has_the_second_of_the_change_log_else_the_whole_day(sources: Sources) -> None:
    won = sources.outcome.filter("is_conversion").sort("lead_id")
    assert won.select("lead_id", "outcome_at", "known_at", "opportunity_id", "amount", "currency").rows() == [
        ("won", at("2024-02-10 01:30"), at("2024-02-10 02:00"), "O1", 50_000.0, "EUR"),
        ("won alone", at("2024-02-11"), at("2024-02-12"), None, None, None),
        ("won twin", at("2024-02-21"), at("2024-02-22"), "O2", None, None),
    ]


def test_a_closing_status_is_a_loss_and_an_unconverted_lead_stays_open(sources: Sources) -> None:
    lost = sources.outcome.filter(~sources.outcome["is_conversion"])
    assert lost.select("lead_id", "outcome", "outcome_at").rows() == [("lost", "lost", at("2024-01-25"))]


def test_activities_follow_the_lead_that_became_a_contact_and_never_fan_out(sources: Sources) -> None:
    touches = dict(
        sources.activity.filter(sources.activity["lead_id"] != "merged")
        .select("activity_id", "lead_id")
        .rows()
    )
    assert touches == {
        "call": "open", "logged late": "open", "no time": "open", "demo": "open", "m1": "open",
        "of merged": "open",
        "moved": "won", "moved to twin": "won twin",  # one contact, two leads: to each its time
        "moved twice": "won alone", "m3": "won alone",  # the contact was merged after the conversion
    }  # fmt: skip
    assert sources.activity["activity_id"].is_duplicated().sum() == 2  # `of merged`, for both leads


def test_touches_count_from_when_they_were_done_and_logged_not_from_when_they_were_due(
    sources: Sources,
) -> None:
    of_open = sources.activity.filter(sources.activity["lead_id"] == "open")
    times = {
        name: (occurred, known)
        for name, occurred, known in of_open.select("activity_id", "occurred_at", "known_at").rows()
    }
    assert times["call"] == (
        at("2024-01-12 10:00"),
        at("2024-01-12 10:00"),
    )  # the re-sync of March is no arrival
    assert times["logged late"] == (at("2024-01-13 10:00"), at("2024-01-20 04:00"))
    assert times["no time"] == (at("2024-02-05"), at("2024-02-05"))
    assert times["m1"] == (at("2024-01-16"), at("2024-01-17"))  # day-precise: known from the next day on
    assert times["of merged"] == (
        at("2024-01-22 10:00"),
        at("2024-02-01"),
    )  # known to the winner since the merge
    kinds = dict(of_open.select("activity_id", "activity_type").rows())
    assert kinds == {
        "call": "call", "logged late": "email_sent", "no time": "meeting", "demo": "meeting", "m1": "webinar",
        "of merged": "call",
    }  # fmt: skip


def test_values_are_taken_back_to_what_they_were(sources: Sources) -> None:
    early = features_of(sources, date(2024, 2, 10)).filter(lead_id="open").to_dicts()[0]
    late = features_of(sources, date(2024, 2, 20)).filter(lead_id="open").to_dicts()[0]
    assert (early["lead_department"], late["lead_seniority"]) == ("engineering", "c_level")
    assert (early["owner_id"], late["owner_id"]) == ("005000000000001AAA", "005000000000002AAA")


def test_every_lead_since_tracking_began_has_its_first_status(sources: Sources) -> None:
    assert set(sources.stage.select("lead_id", "stage", "entered_at").rows()) >= {
        ("open", "Open", at("2024-01-02 09:00")),
        ("open", "Working", at("2024-01-10")),
        ("won alone", "Qualified", at("2024-01-04 09:00")),
    }
    assert sources.stage["lead_id"].n_unique() == 8 + 1  # and the change of a lead that is not replicated


def test_objections_and_owners_and_accounts(sources: Sources) -> None:
    assert sources.consent.rows() == [("lost", True, True, False)]
    assert dict(sources.owner.select("owner_id", "is_active").rows()) == {
        "005000000000001AAA": True,
        "005000000000002AAA": False,
    }
    assert set(sources.account.select("account_id", "is_customer", "is_competitor").rows()) == {
        ("A1", True, False),
        ("A2", False, True),
    }


def test_custom_columns_become_features_but_not_those_with_the_name_of_a_leak(
    crm: Database, sources: Sources
) -> None:
    frame = features_of(sources, date(2024, 2, 5))
    assert {"attrs_budget_c", "attrs_preferred_language_c"} <= set(frame.columns)
    assert not {"attrs_converted_revenue_c", "attrs_demo_date_c", "attrs_phone"} & set(frame.columns)
    assert sorted(frame["lead_id"]) == ["open", "purged", "won", "won alone"]
    with crm.connect("score_writer") as connection:
        ruled = connection.execute(
            "SELECT column_name, verdict, reviewer FROM scoring.leak_verdict"
        ).fetchall()
    assert ruled == [("attrs_converted_revenue_c", "suspect", "leadscore")]


def test_names_may_be_spelled_as_salesforce_does(crm: Database) -> None:
    before = {name: view(crm, name) for name in VIEWS}
    with crm.connect() as connection:
        respell(connection, "salesforce", "SF Prod")
    try:
        installed(crm, "salesforce", "SF Prod")
        assert {name: view(crm, name) for name in VIEWS} == before
    finally:
        install_source_back(crm)


def install_source_back(crm: Database) -> None:
    with crm.connect() as connection:
        connection.execute('DROP SCHEMA IF EXISTS "SF Prod" CASCADE')
    land(crm, "salesforce")
    install_source(crm, "salesforce", "salesforce")


def test_a_schema_that_is_not_there_and_one_that_is_no_salesforce_are_refused(crm: Database) -> None:
    with pytest.raises(
        SourceError, match=r"schema elsewhere has no table that this user may read: .* GRANT USAGE"
    ):
        install_source(crm, "salesforce", "elsewhere")
    with pytest.raises(SourceError, match=r"schema leadscore lacks .*\n- table lead"):
        install_source(crm, "salesforce", "leadscore")
    with pytest.raises(SourceError, match="adapter salesforce needs schema"):
        install_source(crm, "salesforce")
    assert installed_source(crm).schema == "salesforce"


def test_views_that_went_with_an_altered_table_are_made_again(crm: Database) -> None:
    with crm.connect() as connection:
        connection.execute("ALTER TABLE salesforce.task DROP COLUMN call_type CASCADE")
        connection.execute("ALTER TABLE salesforce.task ADD COLUMN call_type text")
    with (
        crm.connect("crm_reader") as connection,
        pytest.raises(SourceContractError, match="db install-source"),
    ):
        check_contract(connection)
    installed(crm, "salesforce")
    assert read(crm, AS_OF)[0].activity.height == 11


def test_what_is_not_replicated_is_empty_and_said(crm: Database) -> None:
    with crm.connect() as connection:
        connection.execute("ALTER TABLE salesforce.task DROP COLUMN completed_date_time CASCADE")
        connection.execute("DROP TABLE salesforce.campaign_member, salesforce.individual CASCADE")
    installed(crm, "salesforce")
    assert {(gap.table, gap.column) for gap in missing_columns(crm)} == {
        ("task", "completed_date_time"), ("campaign_member", None), ("individual", None)
    }  # fmt: skip
    sources, _ = read(crm, AS_OF)
    assert "m1" not in sources.activity["activity_id"]
    assert sources.activity.filter(activity_id="call")["occurred_at"].to_list() == [at("2024-01-12")]


HISTORY = """
DROP TABLE salesforce.lead_history CASCADE;
ALTER TABLE salesforce.lead DROP CONSTRAINT lead_pkey, ADD COLUMN _fivetran_active boolean,
    ADD COLUMN _fivetran_start timestamptz, ADD COLUMN _fivetran_end timestamptz;
UPDATE salesforce.lead
SET _fivetran_active = TRUE, _fivetran_start = created_date, _fivetran_end = '9999-12-31 23:59:59Z';
UPDATE salesforce.lead SET _fivetran_active = FALSE, _fivetran_end = '2024-02-14Z' WHERE id = 'purged';
INSERT INTO salesforce.lead (
    id, created_date, is_converted, title, status, _fivetran_active, _fivetran_start, _fivetran_end
) VALUES (
    'open', '2024-01-02 09:00Z', FALSE, 'Engineer', 'Open', FALSE, '2024-01-02 09:00Z', '2024-02-14 23:59:59Z'
);
UPDATE salesforce.lead SET _fivetran_start = '2024-02-15Z' WHERE id = 'open' AND _fivetran_active;
"""


def test_in_history_mode_a_record_is_one_lead_and_its_versions_are_its_past(crm: Database) -> None:
    with crm.connect() as connection:
        connection.execute(HISTORY)
    installed(crm, "salesforce")
    sources, set_aside = read(crm, AS_OF)
    assert set_aside.n_rows == 0
    assert sources.lead.filter(lead_id="open")["title"].to_list() == ["CTO"]
    assert sources.lead.filter(lead_id="purged")["removed_at"].to_list() == [at("2024-02-14")]
    assert sources.stage.filter(lead_id="open").select("stage", "entered_at").rows() == [
        ("Open", at("2024-01-02 09:00")),
        ("Working", at("2024-02-15")),
    ]
    early = features_of(sources, date(2024, 2, 10)).filter(lead_id="open")
    assert early["lead_department"].to_list() == ["engineering"]
