"""Every lead has a status, and the first that holds decides; a missing score is never 0."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg.errors import CheckViolation

from features.sources import Datetime, Sources, conform, empty_frame
from flows.adapters.database import Database
from flows.adapters.publisher import PublicationRefusedError, publish
from flows.adapters.score_runs import start_run
from flows.adapters.worklist import exclusion_rules
from flows.exclusion import NO_RULES, excluded
from flows.status import standing, with_fallbacks

DAY = date(2026, 5, 4)
MIDNIGHT = datetime(2026, 5, 4, tzinfo=UTC)
LONG_AGO = MIDNIGHT - timedelta(days=20)


def frame(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of a staged frame; columns not given are null."""
    blank = empty_frame(name)
    times = {c: t for c, t in blank.schema.items() if t == Datetime and rows and c in rows[0]}
    return conform(
        name, pl.concat([blank, pl.DataFrame(rows, schema_overrides=times)], how="diagonal_relaxed")
    )


def make_sources(**frames: list[dict[str, Any]]) -> Sources:
    return Sources.from_frames({name: frame(name, rows) for name, rows in frames.items()})


def lead(lead_id: str, **columns: Any) -> dict[str, Any]:
    known = {"lead_id": lead_id, "created_at": LONG_AGO, "known_at": LONG_AGO, "owner_id": "ann"}
    blank = {
        "account_id": None,
        "title": None,
        "email_domain": None,
        "lead_source": "web",
        "removed_at": None,
    }
    return known | blank | columns


def open_leads(*lead_ids: str, account_id: str | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "lead_id": lead_ids,
            "owner_id": ["ann"] * len(lead_ids),
            "account_id": [account_id] * len(lead_ids),
        },
        schema_overrides={"account_id": pl.String},
    )


def activity(lead_id: str) -> dict[str, Any]:
    at = MIDNIGHT - timedelta(minutes=20)
    return {
        "activity_id": lead_id,
        "lead_id": lead_id,
        "occurred_at": at,
        "known_at": at,
        "activity_type": "call",
    }


def outcome(lead_id: str, days_ago: int) -> dict[str, Any]:
    at = MIDNIGHT - timedelta(days=days_ago)
    return {"lead_id": lead_id, "outcome": "lost", "outcome_at": at, "known_at": at, "is_conversion": False}


LATE = MIDNIGHT - timedelta(minutes=30)
STUDENT = pl.DataFrame([{"kind": "title_word", "pattern": "student", "reason": "student"}])


def test_the_first_status_that_holds_decides():
    sources = make_sources(
        lead=[
            lead("plain"), lead("out", title="student", created_at=LATE),
            lead("student", title="Student, Law"),
            lead("young", created_at=LATE, lead_source=None), lead("young but heard of", created_at=LATE),
            lead("blank", lead_source=None), lead("blank but heard of", lead_source=None),
            lead("lost"), lead("lost long ago"), lead("lost and removed", removed_at=MIDNIGHT),
            lead("lost and out"),
        ],
        consent=[
            {"lead_id": who, "opted_out_profiling": True, "opted_out_processing": False}
            for who in ("out", "lost and out")
        ],
        activity=[activity("young but heard of"), activity("blank but heard of")],
        outcome=[outcome("lost", 2), outcome("lost long ago", 9), outcome("lost and removed", 2),
            outcome("lost and out", 2)],
    )  # fmt: skip
    leads = open_leads(
        "plain", "out", "student", "young", "young but heard of", "blank", "blank but heard of"
    )
    rows = standing(leads, sources, STUDENT, DAY)
    assert dict(rows.select("lead_id", "status").rows()) == {
        "plain": "scored",
        "out": "opted_out",
        "student": "excluded",
        "young": "too_young",
        "young but heard of": "scored",
        "blank": "insufficient_data",
        "blank but heard of": "scored",
        "lost": "closed",
    }
    assert rows["lead_id"].to_list() == [*leads["lead_id"], "lost"]
    reasons = dict(rows.select("lead_id", "status_reason").rows())
    assert reasons["plain"] is None
    assert (reasons["student"], reasons["lost"]) == ("student", "lost on 2026-05-02")
    assert reasons["young"].startswith("created at 23:30 UTC")
    assert rows.filter(pl.col("status") != "scored")["status_reason"].null_count() == 0


@pytest.mark.parametrize(
    ("kind", "pattern", "columns", "fits"),
    [
        ("title_word", "student", {"title": "STUDENT"}, True),
        ("title_word", "student", {"title": "Head of student-affairs"}, True),
        ("title_word", "student", {"title": "Studentship director"}, False),
        ("title_word", "schüler", {"title": "Schüler, 11. Klasse"}, True),
        ("email_domain", "spam.com", {"email_domain": "Spam.com"}, True),
        ("email_domain", "spam.com", {"email_domain": "a.spam.com"}, True),
        ("email_domain", "spam.com", {"email_domain": "notspam.com"}, False),
        ("lead_source", "Purchased List", {"lead_source": "purchased list"}, True),
        ("account_id", "acme", {"account_id": "ACME"}, True),
        ("account_is", "customer", {"account_id": "ours"}, True),
        ("account_is", "competitor", {"account_id": "ours"}, False),
        ("lead_id", "L1", {}, True),
        ("lead_id", "L2", {}, False),
    ],
)
def test_a_rule_means_what_it_says(kind, pattern, columns, fits):
    accounts = frame("account", [{"account_id": "ours", "is_customer": True, "is_competitor": False}])
    rule = pl.DataFrame([{"kind": kind, "pattern": pattern, "reason": "because"}])
    leads = frame("lead", [lead("L1", **columns)])
    assert excluded(leads, accounts, rule).rows() == ([("L1", "because")] if fits else [])


def test_an_unknown_kind_of_rule_is_an_error():
    rule = pl.DataFrame([{"kind": "colour", "pattern": "red", "reason": "because"}])
    with pytest.raises(ValueError, match="kind 'colour', pattern 'red'"):
        excluded(frame("lead", [lead("L1")]), empty_frame("account"), rule)


def test_what_stands_in_for_a_number_is_said():
    nan = float("nan")
    numbers = pl.DataFrame(
        {
            "lead_id": ["fine", "failed", "failed and new", "blank", "out"],
            "status": ["scored", "scored", "scored", "insufficient_data", "opted_out"],
            "status_reason": [None, None, None, "no field filled", "opted out of profiling"],
            "probability": [0.3, nan, nan, None, None],
        }
    )
    last = pl.DataFrame({"lead_id": ["fine", "failed", "out"], "probability": [0.4, 0.2, 0.9]})
    rows = with_fallbacks(numbers, last, prior=0.05)
    assert rows.select("lead_id", "status", "probability", "tier").rows() == [
        ("fine", "scored", 0.3, "own_model"),
        ("failed", "kept_last_on_error", 0.2, "own_model"),
        ("failed and new", "insufficient_data", 0.05, "pooled_prior"),
        ("blank", "insufficient_data", 0.05, "pooled_prior"),
        ("out", "opted_out", None, None),
    ]
    assert rows["status_reason"].null_count() == 1


def test_rules_come_with_the_database_and_expire(database: Database, owner: psycopg.Connection):
    rules = exclusion_rules(database, DAY)
    assert {"competitor", "existing customer", "student"} < set(rules["reason"])
    owner.execute(
        "INSERT INTO scoring.exclusion_rule (kind, pattern, reason, expires_on)"
        " VALUES ('lead_source', 'fair', 'all fetched by hand', '2026-05-04')"
    )
    assert exclusion_rules(database, DAY).rows()[-1] == ("lead_source", "fair", "all fetched by hand")
    assert exclusion_rules(database, date(2026, 5, 5)).equals(rules)
    named = "SELECT author FROM scoring.exclusion_rule WHERE pattern = 'fair'"
    assert owner.execute(named).fetchone() != ("",)


@pytest.mark.parametrize(
    "values", [("colour", "red", "because"), ("title_word", "x", ""), ("account_is", "big", "y")]
)
def test_a_rule_that_cannot_be_is_refused(owner: psycopg.Connection, values):
    with pytest.raises(CheckViolation):
        owner.execute(
            "INSERT INTO scoring.exclusion_rule (kind, pattern, reason) VALUES (%s, %s, %s)", values
        )


@pytest.mark.parametrize(
    ("status", "tier", "probability"),
    [
        ("scored", "own_model", None),
        ("excluded", None, 0.1),
        ("closed", None, 0.1),
        ("too_young", "pooled_prior", None),
        ("insufficient_data", "own_model", 0.1),
        ("scored", "pooled_prior", 0.1),
        ("scored", "guess", 0.1),
        ("scored", "rule", 0.1),
        ("insufficient_data", "rule", 0.1),
        ("excluded", "rule", None),
    ],
)
def test_a_status_that_contradicts_its_number_is_not_published(database: Database, status, tier, probability):
    row = {
        "lead_id": "L1", "status": status, "tier": tier, "probability": probability,
        "score": None if probability is None else 50, "model_version": "1", "data_as_of": MIDNIGHT,
        "scored_at": MIDNIGHT,
    }  # fmt: skip
    run = start_run(database, "lead-conversion", DAY)
    with pytest.raises(PublicationRefusedError, match="status: 1 row"):
        publish(database, run, pl.DataFrame([row]))


def test_no_rule_excludes_nobody():
    assert excluded(frame("lead", [lead("L1")]), empty_frame("account"), NO_RULES).is_empty()
