"""HubSpot as Fivetran lands it: every trap of the fixture, end to end."""

from datetime import date

import pytest

from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.migrations import missing_columns
from tests.adapters.crm_fixtures import at, features_of, installed, land, read

AS_OF = date(2024, 4, 1)


@pytest.fixture(scope="module")
def crm(database: Database) -> Database:
    land(database, "hubspot")
    return installed(database, "hubspot")


@pytest.fixture(scope="module")
def sources(crm: Database) -> Sources:
    sources, set_aside = read(crm, AS_OF)
    assert [finding.rule for finding in set_aside.findings] == ["an earlier outcome of this lead counts"]
    return sources


def touches(sources: Sources, lead_id: str) -> dict[str, tuple]:
    rows = sources.activity.filter(lead_id=lead_id).select(
        "activity_id", "activity_type", "occurred_at", "known_at"
    )
    return {name: tuple(rest) for name, *rest in rows.rows()}


def test_contacts_stay_when_they_are_deleted_or_merged(sources: Sources) -> None:
    assert dict(sources.lead.select("lead_id", "removed_at").rows()) == {
        "1": None, "2": None, "3": None, "4": None,
        "5": at("2024-02-14"),
        "6": at("2024-02-01"),  # the calculated list has the time of the merge
        "7": at("2024-01-20"),  # the plain list has none: the merged record went then
    }  # fmt: skip


def test_won_and_lost_are_what_the_pipeline_says_whatever_it_calls_its_stages(sources: Sources) -> None:
    rows = sources.outcome.select(
        "lead_id", "outcome", "outcome_at", "known_at", "opportunity_id", "amount"
    ).sort("lead_id")
    assert rows.rows() == [
        ("2", "converted", at("2024-02-10 01:30"), at("2024-02-10 03:00"), "21", 50_000.0),
        ("3", "converted", at("2024-02-11"), at("2024-02-11"), None, None),  # a customer without a deal
        ("4", "lost", at("2024-01-25"), at("2024-01-25"), None, None),
    ]  # deals that were deleted (22) or merged (23) convert nobody


def test_email_events_find_their_contact_by_address_and_only_one(sources: Sources) -> None:
    of_ann = touches(sources, "1")
    assert of_ann["e2"] == ("email_open", at("2024-01-09 10:00"), at("2024-01-09 10:00"))
    assert of_ann["e1"][2] == at("2024-01-09 09:00")
    assert "e4" not in of_ann
    assert "e5" in touches(sources, "6")  # whose address it was at the time
    assert of_ann["e5"] == ("email_open", at("2024-01-10 10:00"), at("2024-02-01"))  # and since the merge
    assert touches(sources, "2")["e7"][2] == at("2024-01-20")
    assert "e6" not in sources.activity["activity_id"]
    click = sources.activity.filter(activity_id="e3").select("is_bot", "url_class", "campaign_id").rows()
    assert click == [(True, "pricing", "5")]


def test_engagements_reach_each_contact_once_old_and_new_connectors_alike(sources: Sources) -> None:
    of_ann = touches(sources, "1")
    assert of_ann["31"] == ("call", at("2024-01-12 10:00"), at("2024-01-20"))  # logged a week later
    assert of_ann["35"] == ("call", at("2024-01-14 10:00"), at("2024-01-14 11:00"))  # times in `engagement`
    assert (of_ann["32"][0], of_ann["33"][0], of_ann["f1"][0]) == ("email_reply", "meeting", "form_submit")
    assert "34" not in of_ann  # cancelled
    assert touches(sources, "2").keys() == {"31", "e7"}
    assert sources.activity.filter(activity_id="36")["lead_id"].sort().to_list() == [
        "1",
        "6",
    ]  # a merge doubles nothing


def test_stages_and_values_come_from_the_history_of_properties(sources: Sources) -> None:
    assert sources.stage.filter(lead_id="1").sort("entered_at").select("stage", "known_at").rows() == [
        ("subscriber", at("2024-01-02 10:00")),
        ("opportunity", at("2024-01-20 02:00")),
        ("lead", at("2024-02-01")),  # moved back: the CRM's own "became" dates would be gone
    ]
    early = features_of(sources, date(2024, 2, 10)).filter(lead_id="1").to_dicts()[0]
    late = features_of(sources, date(2024, 2, 20)).filter(lead_id="1").to_dicts()[0]
    assert (early["lead_department"], early["owner_id"]) == ("engineering", "72")
    assert (late["lead_seniority"], late["owner_id"], late["account_id"]) == ("c_level", "71", "11")


def test_the_rest_of_the_record(sources: Sources) -> None:
    ann = sources.lead.filter(lead_id="1").to_dicts()[0]
    assert (ann["employee_count"], ann["email_domain"]) == (1000.0, "acme.example")
    assert sources.consent.rows() == [("4", True, False, False)]
    assert set(sources.account.select("account_id", "parent_id", "is_competitor").rows()) == {
        ("11", None, False),
        ("12", "11", True),
    }


def test_properties_of_your_own_become_features_counters_and_personal_data_do_not(
    crm: Database, sources: Sources
) -> None:
    frame = features_of(sources, date(2024, 2, 5))
    assert {name for name in frame.columns if name.startswith("attrs_")} == {
        "attrs_plan_interest",
        "attrs_seats",
    }
    assert sorted(frame["lead_id"]) == ["1", "2", "3", "5"]
    with crm.connect("score_writer") as connection:
        ruled = connection.execute("SELECT column_name, verdict FROM scoring.leak_verdict").fetchall()
    assert sorted(ruled) == [("attrs_closed_deal_reason", "suspect"), ("attrs_lifecyclestage", "suspect")]


def test_without_deals_customers_still_count_and_the_cost_is_told(crm: Database) -> None:
    with crm.connect() as connection:
        connection.execute("DROP TABLE hubspot.deal, hubspot.engagement, hubspot.email_event CASCADE")
    installed(crm, "hubspot")
    sources, _ = read(crm, AS_OF)
    assert sources.outcome.filter("is_conversion")["lead_id"].sort().to_list() == ["2", "3"]
    costs = {gap.table: gap.costs for gap in missing_columns(crm) if gap.column is None}
    assert costs == {
        "deal": "conversions: only contacts of lifecycle stage customer count",
        "engagement": "calls, meetings and one-to-one e-mails of connectors before HubSpot's v3",
        "email_event": "opens and clicks of marketing e-mails",
    }
