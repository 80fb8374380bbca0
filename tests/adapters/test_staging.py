"""What the staging queries make of duplicates, merges, days and late arrivals."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg import sql

import sql as sql_files
from features.spine import spine
from flows.adapters.database import Database
from flows.adapters.migrations import install_source
from flows.adapters.source_reader import read_sources
from tests.features.window_labels import labelled

TABLES = """
CREATE SCHEMA crm_small;
CREATE TABLE crm_small.stage_history AS SELECT * FROM source.stage_history;
CREATE TABLE crm_small.field_history AS SELECT * FROM source.field_history;
CREATE TABLE crm_small.identity_map AS SELECT * FROM source.identity_map;
CREATE TABLE crm_small.lead AS SELECT * FROM source.lead;
CREATE TABLE crm_small.activity AS SELECT * FROM source.activity;
CREATE TABLE crm_small.outcome AS SELECT * FROM source.outcome;
CREATE TABLE crm_small.consent AS SELECT * FROM source.consent;
CREATE TABLE crm_small.account AS SELECT * FROM source.account;
CREATE TABLE crm_small.owner AS SELECT * FROM source.owner;
"""
VIEWS = (
    "lead",
    "activity",
    "outcome",
    "consent",
    "account",
    "owner",
    "stage_history",
    "field_history",
    "identity_map",
)
AS_OF = date(2024, 3, 1)


@pytest.fixture(scope="module")
def small_crm(database: Database) -> Database:
    """Schema `source` over small writable tables without constraints, as a careless replica would be."""
    with database.connect() as connection:
        connection.execute(sql_files.load("imported/tables.sql"))
    install_source(database, "imported")
    with database.connect() as connection:
        connection.execute(TABLES)
        for view in VIEWS:
            name = sql.Identifier(view)
            connection.execute(
                sql.SQL("CREATE OR REPLACE VIEW source.{} AS SELECT * FROM crm_small.{}").format(name, name)
            )
    return database


@pytest.fixture
def crm(small_crm: Database) -> Iterator["Crm"]:
    with small_crm.connect(autocommit=True) as connection:
        tables = sql.SQL(", ").join(sql.Identifier("crm_small", view) for view in VIEWS)
        connection.execute(sql.SQL("TRUNCATE {}").format(tables))
        yield Crm(small_crm, connection)


class Crm:
    """Rows in, staged frames out."""

    def __init__(self, database: Database, connection: psycopg.Connection[Any]) -> None:
        self.database = database
        self.connection = connection

    def add(self, table: str, **values: Any) -> None:
        self.connection.execute(
            sql.SQL("INSERT INTO crm_small.{} ({}) VALUES ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            ),
            list(values.values()),
        )

    def add_lead(self, lead_id: str | None, created_at: str = "2024-01-01", **values: Any) -> None:
        self.add("lead", lead_id=lead_id, created_at=created_at, updated_at=created_at, **values)

    def add_call(self, activity_id: str | None, lead_id: str | None, occurred_at: str, **values: Any) -> None:
        kind = values.pop("activity_type", "call")
        self.add(
            "activity",
            activity_id=activity_id,
            lead_id=lead_id,
            occurred_at=occurred_at,
            activity_type=kind,
            **values,
        )

    def add_outcome(self, lead_id: str | None, outcome: str | None, outcome_at: str, **values: Any) -> None:
        self.add("outcome", lead_id=lead_id, outcome=outcome, outcome_at=outcome_at, **values)

    def read(self, frame: str, as_of: date = AS_OF) -> pl.DataFrame:
        return getattr(read_sources(self.database, as_of)[0], frame)

    def findings(self, frame: str) -> dict[str, tuple[int, tuple[str, ...], str]]:
        _, set_aside = read_sources(self.database, AS_OF)
        return {
            f.rule: (f.n_rows, f.sample_ids, f.consequence) for f in set_aside.findings if f.frame == frame
        }


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_lead_is_seen_from_the_first_midnight_after_it_was_created(crm: Crm) -> None:
    crm.add_lead("early", "2024-02-28 23:59:59")
    crm.add_lead("on the day", "2024-03-01 00:00:00")
    assert crm.read("lead")["lead_id"].to_list() == ["early"]


def test_a_lead_dated_by_the_day_is_known_from_the_next_day_on(crm: Crm) -> None:
    crm.add_lead("exact", "2024-02-29 10:00", created_precision="second")
    crm.add_lead("by day", "2024-02-29", created_precision="day")
    assert dict(crm.read("lead", date(2024, 3, 2)).select("lead_id", "known_at").rows()) == {
        "exact": at("2024-02-29 10:00"),
        "by day": at("2024-03-01"),
    }
    assert crm.read("lead", date(2024, 3, 1))["lead_id"].to_list() == ["exact"]


def test_the_newest_record_of_a_repeated_lead_stays_and_the_other_is_counted(crm: Crm) -> None:
    crm.add("lead", lead_id="a", created_at="2024-01-01", updated_at="2024-01-02", title="old")
    crm.add("lead", lead_id="a", created_at="2024-01-01", updated_at="2024-01-03", title="new")
    assert crm.read("lead")["title"].to_list() == ["new"]
    assert crm.findings("lead") == {"lead_id occurs before": (1, ("a",), "row set aside")}


@pytest.mark.parametrize(
    ("values", "rule", "sample"),
    [
        ({"lead_id": None}, "lead_id is missing", "(null)"),
        ({"lead_id": ""}, "lead_id is missing", "(null)"),
        ({"lead_id": "b", "created_at": "infinity"}, "created_at is infinite", "b"),
        ({"lead_id": "b", "created_at": "-infinity"}, "created_at is infinite", "b"),
        ({"lead_id": "b", "created_at": None}, "created_at is missing", "b"),
        ({"lead_id": "b", "created_at": "1899-12-30"}, "created_at is before 1990", "b"),
    ],
)
def test_leads_that_cannot_be_right_are_set_aside_under_their_rule(
    crm: Crm, values: dict[str, Any], rule: str, sample: str
) -> None:
    crm.add_lead("fine")
    crm.add_lead(**values)
    assert crm.read("lead")["lead_id"].to_list() == ["fine"]
    assert crm.findings("lead") == {rule: (1, (sample,), "row set aside")}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_finite_costs_the_value_not_the_lead(crm: Crm, number: str) -> None:
    crm.add_lead("a", annual_revenue=number, employee_count=5)
    assert crm.read("lead").select("annual_revenue", "employee_count").rows() == [(None, 5.0)]
    assert crm.findings("lead") == {"annual_revenue is not finite": (1, ("a",), "value left out")}


def test_a_deletion_counts_only_once_it_is_known(crm: Crm) -> None:
    crm.add_lead("gone", is_deleted=True, deleted_at="2024-02-01")
    crm.add_lead("gone later", is_deleted=True, deleted_at="2024-03-05")
    crm.add_lead("gone, undated", is_deleted=True)
    crm.add_lead("here", is_deleted=False)
    assert dict(crm.read("lead").select("lead_id", "removed_at").rows()) == {
        "gone": at("2024-02-01"),
        "gone later": None,
        "gone, undated": at("2024-01-01"),
        "here": None,
    }


def test_a_merged_lead_leaves_and_its_activities_reach_the_canonical_lead_at_the_merge(crm: Crm) -> None:
    crm.add_lead("loser")
    crm.add_lead("winner")
    crm.add("identity_map", source_id="loser", canonical_id="winner", valid_from="2024-02-01")
    crm.add_call("before", "loser", "2024-01-10")
    crm.add_call("after", "loser", "2024-02-10")
    assert dict(crm.read("lead").select("lead_id", "removed_at").rows()) == {
        "loser": at("2024-02-01"),
        "winner": None,
    }
    rows = crm.read("activity").select("activity_id", "lead_id", "occurred_at", "known_at")
    assert set(rows.rows()) == {
        ("before", "loser", at("2024-01-10"), at("2024-01-10")),
        ("before", "winner", at("2024-01-10"), at("2024-02-01")),
        ("after", "loser", at("2024-02-10"), at("2024-02-10")),
        ("after", "winner", at("2024-02-10"), at("2024-02-10")),
    }


def test_a_chain_of_merges_reaches_the_last_lead_and_a_circle_ends(crm: Crm) -> None:
    for lead_id in "abc":
        crm.add_lead(lead_id)
    crm.add_call("call", "a", "2024-01-05")
    crm.add("identity_map", source_id="a", canonical_id="b", valid_from="2024-02-10")
    crm.add("identity_map", source_id="b", canonical_id="c", valid_from="2024-02-01")
    assert set(crm.read("activity").select("lead_id", "known_at").rows()) == {
        ("a", at("2024-01-05")),
        ("b", at("2024-02-10")),
        ("c", at("2024-02-10")),
    }
    crm.add("identity_map", source_id="c", canonical_id="a", valid_from="2024-02-20")
    assert crm.read("activity")["lead_id"].n_unique() == 3


def test_a_merge_after_as_of_has_not_happened_yet(crm: Crm) -> None:
    crm.add_lead("loser")
    crm.add_lead("winner")
    crm.add("identity_map", source_id="loser", canonical_id="winner", valid_from="2024-03-01")
    crm.add_call("call", "loser", "2024-01-10")
    assert crm.read("lead")["removed_at"].null_count() == 2
    assert crm.read("activity")["lead_id"].to_list() == ["loser"]


def test_merged_into_id_without_a_date_counts_from_the_last_change(crm: Crm) -> None:
    crm.add(
        "lead", lead_id="loser", created_at="2024-01-01", updated_at="2024-02-05", merged_into_id="winner"
    )
    crm.add_lead("winner")
    crm.add_call("call", "loser", "2024-01-10")
    assert crm.read("lead").filter(pl.col("lead_id") == "loser")["removed_at"].to_list() == [at("2024-02-05")]
    assert dict(crm.read("activity").select("lead_id", "known_at").rows())["winner"] == at("2024-02-05")


def test_becoming_a_contact_is_no_merge(crm: Crm) -> None:
    crm.add_lead("a")
    crm.add("identity_map", source_id="a", canonical_id="contact-1", valid_from="2024-02-01")
    crm.add_call("call", "a", "2024-01-10")
    assert crm.read("lead")["removed_at"].to_list() == [None]
    assert crm.read("activity")["lead_id"].to_list() == ["a"]


def test_an_activity_kept_under_both_merged_leads_counts_once_and_is_no_finding(crm: Crm) -> None:
    crm.add_lead("loser")
    crm.add_lead("winner")
    crm.add("identity_map", source_id="loser", canonical_id="winner", valid_from="2024-02-01")
    crm.add_call("call", "loser", "2024-01-10")
    crm.add_call("call", "winner", "2024-01-10")
    assert set(crm.read("activity").select("lead_id", "known_at").rows()) == {
        ("loser", at("2024-01-10")),
        ("winner", at("2024-01-10")),
    }
    assert crm.findings("activity") == {}


def test_a_late_activity_is_known_when_it_arrived(crm: Crm) -> None:
    crm.add_lead("a")
    crm.add_call("late", "a", "2024-02-01", ingested_at="2024-02-20")
    crm.add_call("later", "a", "2024-02-01", ingested_at="2024-03-01")
    crm.add_call("by day", "a", "2024-02-01", occurred_precision="day", ingested_at="2024-02-01 08:00")
    assert dict(crm.read("activity").select("activity_id", "known_at").rows()) == {
        "late": at("2024-02-20"),
        "by day": at("2024-02-02"),
    }


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        ((None, "a", "2024-01-02"), "activity_id is missing"),
        (("1", None, "2024-01-02"), "lead_id is missing"),
        (("1", "a", "infinity"), "occurred_at is infinite"),
        (("1", "a", "1970-01-01"), "occurred_at is before 1990"),
        (("0", "a", "2024-01-03"), "activity_id occurs before for this lead"),
    ],
)
def test_activities_that_cannot_be_right_are_set_aside(crm: Crm, call: tuple[Any, ...], rule: str) -> None:
    crm.add_lead("a")
    crm.add_call("0", "a", "2024-01-02")
    crm.add_call(*call)
    assert crm.read("activity").select("activity_id", "occurred_at").rows() == [("0", at("2024-01-02"))]
    assert [(name, found[0]) for name, found in crm.findings("activity").items()] == [(rule, 1)]


def test_an_activity_that_never_arrived_or_has_no_type_is_set_aside(crm: Crm) -> None:
    crm.add_lead("a")
    crm.add_call("1", "a", "2024-01-02", ingested_at="infinity")
    crm.add_call("2", "a", "2024-01-02", activity_type=None)
    assert crm.read("activity").is_empty()
    assert set(crm.findings("activity")) == {"ingested_at is infinite", "activity_type is missing"}


def test_the_first_outcome_of_each_kind_counts_and_the_others_are_counted(crm: Crm) -> None:
    crm.add_lead("a")
    crm.add_outcome("a", "disqualified", "2024-02-15")
    crm.add_outcome("a", "lost", "2024-01-10")
    crm.add_outcome("a", "converted", "2024-02-20", amount=7)
    crm.add_outcome("a", "converted", "2024-02-10", amount="12.50", opportunity_id="deal")
    columns = ("outcome", "outcome_at", "is_conversion", "amount", "opportunity_id")
    assert crm.read("outcome").sort("outcome_at").select(columns).rows() == [
        ("lost", at("2024-01-10"), False, None, None),
        ("converted", at("2024-02-10"), True, 12.5, "deal"),
    ]
    assert crm.findings("outcome") == {
        "an earlier outcome of this lead counts": (2, ("a", "a"), "row set aside")
    }


def test_a_lead_lost_before_it_converts_leaves_the_spine_like_one_that_stays_lost(crm: Crm) -> None:
    """Whether a row exists must not depend on its label."""
    for lead_id in ("stays lost", "comes back"):
        crm.add_lead(lead_id)
        crm.add_outcome(lead_id, "lost", "2024-01-10", ingested_at="2024-01-12")
    crm.add_outcome("comes back", "converted", "2024-02-20")
    sources, _ = read_sources(crm.database, AS_OF)
    days = [date(2024, 1, day) for day in (5, 10, 11, 12, 13, 31)]
    rows = spine(sources, days, max_age_days=365)
    labels = labelled(rows, sources, AS_OF, 30)
    open_on = {
        lead_id: rows.filter(lead_id=lead_id)["snapshot_date"].to_list()
        for lead_id in ("stays lost", "comes back")
    }
    assert open_on["stays lost"] == open_on["comes back"] == days[:4]
    assert labels.select("lead_id", "snapshot_date", "label").rows() == [
        ("comes back", days[0], 0),
        ("stays lost", days[0], 0),
        ("comes back", days[1], 0),
        ("stays lost", days[1], 0),
    ]
    won = labelled(rows, sources, date(2024, 3, 20), 60)
    assert won["label"].to_list() == [1, 0, 1, 0]


def test_a_conversion_after_as_of_does_not_hide_what_is_known(crm: Crm) -> None:
    crm.add_lead("a")
    crm.add_outcome("a", "lost", "2024-01-10")
    crm.add_outcome("a", "converted", "2024-03-10")
    crm.add_outcome("a", "converted", "2024-02-29", outcome_precision="day")
    crm.add_outcome("a", "converted", "2024-02-01", ingested_at="2024-03-02")
    assert crm.read("outcome")["outcome"].to_list() == ["lost"]
    later = crm.read("outcome", date(2024, 3, 2)).sort("outcome_at")
    assert later.select("outcome", "outcome_at", "known_at").rows() == [
        ("lost", at("2024-01-10"), at("2024-01-10")),
        ("converted", at("2024-02-29"), at("2024-03-01")),
    ]


def test_an_outcome_of_a_merged_lead_holds_for_the_canonical_one(crm: Crm) -> None:
    crm.add_lead("loser")
    crm.add_lead("winner")
    crm.add("identity_map", source_id="loser", canonical_id="winner", valid_from="2024-02-01")
    crm.add_outcome("loser", "converted", "2024-01-20")
    assert set(crm.read("outcome").select("lead_id", "outcome_at", "known_at").rows()) == {
        ("loser", at("2024-01-20"), at("2024-01-20")),
        ("winner", at("2024-01-20"), at("2024-02-01")),
    }
    assert crm.findings("outcome") == {}


def test_outcomes_without_name_or_time_are_set_aside_and_leave_the_good_one(crm: Crm) -> None:
    crm.add_lead("a")
    crm.add_outcome("a", None, "2024-01-01")
    crm.add_outcome("a", "converted", "-infinity")
    crm.add_outcome("a", "lost", "2024-01-10")
    assert crm.read("outcome")["outcome"].to_list() == ["lost"]
    assert {rule: found[0] for rule, found in crm.findings("outcome").items()} == {
        "outcome is missing": 1,
        "outcome_at is infinite": 1,
    }


def test_any_opt_out_counts_also_a_duplicates_or_a_merged_leads(crm: Crm) -> None:
    crm.add_lead("a")
    crm.add_lead("winner")
    crm.add_lead("loser")
    crm.add("consent", subject_id="a", opted_out_email=False, opted_out_profiling=True)
    crm.add("consent", subject_id="a", opted_out_email=True, opted_out_profiling=False)
    crm.add("consent", subject_id="loser", erase_requested_at="2024-01-05")
    crm.add("identity_map", source_id="loser", canonical_id="winner", valid_from="2024-02-01")
    rows = crm.read("consent").rows_by_key("lead_id", unique=True)
    assert rows == {"a": (True, True, False), "loser": (False, False, True), "winner": (False, False, True)}
    assert crm.findings("consent") == {"subject_id occurs before": (1, ("a",), "row set aside")}


def test_stages_are_known_when_entered_and_arrived(crm: Crm) -> None:
    crm.add_lead("a")
    crm.add("stage_history", lead_id="a", stage="new", entered_at="2024-01-01")
    crm.add("stage_history", lead_id="a", stage="new", entered_at="2024-01-01", ingested_at="2024-01-03")
    crm.add("stage_history", lead_id="a", stage="won", entered_at="2024-02-01", ingested_at="2024-03-03")
    crm.add("stage_history", lead_id="a", stage="open", entered_at="infinity")
    assert crm.read("stage").select("stage", "known_at").rows() == [("new", at("2024-01-01"))]
    assert set(crm.findings("stage")) == {
        "the lead entered this stage at this time before",
        "entered_at is infinite",
    }


def test_a_field_that_ends_later_is_still_open(crm: Crm) -> None:
    crm.add_lead("a")
    history = {"entity": "lead", "entity_id": "a", "field": "title"}
    crm.add("field_history", **history, value="CTO", valid_from="2024-01-01", valid_to="2024-02-01")
    crm.add("field_history", **history, value="CEO", valid_from="2024-02-01", valid_to="2024-03-20")
    crm.add("field_history", **history, value="Board", valid_from="2024-03-20", valid_to="infinity")
    assert crm.read("field_history").sort("valid_from").select("value", "valid_to").rows() == [
        ("CTO", at("2024-02-01")),
        ("CEO", None),
    ]
    assert crm.read("field_history", date(2024, 4, 1)).sort("valid_from")["valid_to"].to_list()[-1] is None


def test_accounts_and_owners_come_once(crm: Crm) -> None:
    crm.add_lead("a")
    for _ in range(2):
        crm.add("account", account_id="acme", employee_count=10)
        crm.add("owner", owner_id="o", daily_capacity=20, absent_until="infinity")
    crm.add("account", account_id=None)
    assert crm.read("account").height == 1
    assert crm.read("owner").select("daily_capacity", "absent_until").rows() == [(20, None)]
    assert {rule: found[0] for rule, found in crm.findings("account").items()} == {
        "account_id is missing": 1,
        "account_id occurs before": 1,
    }


def test_only_the_name_converted_is_a_conversion(crm: Crm) -> None:
    crm.add_lead("a")
    for outcome in ("converted", "lost", "Converted", "won"):
        crm.add_outcome("a", outcome, "2024-01-01")
    rows = crm.connection.execute("SELECT outcome FROM source.conversion WHERE is_conversion").fetchall()
    assert rows == [("converted",)]
