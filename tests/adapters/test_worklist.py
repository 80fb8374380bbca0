"""The lists of sales: who is on them, in which order and why, and what people's word changes."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege
from psycopg.rows import dict_row

import sql as sql_files
from features.sources import Datetime, Sources, conform, empty_frame
from flows.adapters.database import Database
from flows.adapters.publisher import publish
from flows.adapters.score_runs import start_run
from flows.adapters.score_storage import drop_history
from flows.adapters.score_tables import ROLE, point_to
from flows.adapters.worklist import copy_facts

KEY = "lead-conversion"
DAY = date(2026, 5, 4)
NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
N = 400
TABLES = (
    "scoring.lead_score_published, scoring.lead_score_history, scoring.score_pointer, scoring.score_run,"
    " scoring.lead_queue, scoring.exploration, scoring.owner, scoring.lead_touch, scoring.pointer_move,"
    " sales.lead_override, sales.lead_feedback"
)


def make_scores(n: int = N, **columns: Any) -> pl.DataFrame:
    """Leads L0000, L0001, ... from the best to the last, all of owner ann."""
    probability = np.linspace(0.9, 0.01, n)
    return pl.DataFrame(
        {
            "lead_id": [f"L{i:04}" for i in range(n)],
            "owner_id": ["ann"] * n,
            "status": ["scored"] * n,
            "tier": ["own_model"] * n,
            "probability": probability,
            "score": np.rint(100 * probability).astype(np.int16),
            "grade": ["B"] * n,
            "reason_1": ["Opened the pricing page"] * n,
            "model_version": ["7"] * n,
            "data_as_of": [NOON] * n,
            "scored_at": [NOON] * n,
        }
    ).with_columns(**columns)


def frame(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of a staged frame; columns not given are null."""
    blank = empty_frame(name)
    times = {column: Datetime for column, dtype in blank.schema.items() if dtype == Datetime}
    given = pl.DataFrame(rows, schema_overrides={k: v for k, v in times.items() if rows and k in rows[0]})
    return conform(name, pl.concat([blank, given], how="diagonal_relaxed"))


def make_sources(**frames: list[dict[str, Any]]) -> Sources:
    return Sources.from_frames({name: frame(name, rows) for name, rows in frames.items()})


ANN = {"owner_id": "ann", "is_active": True, "daily_capacity": 10}


def put_in_force(database: Database, scores: pl.DataFrame, sources: Sources, day: date = DAY) -> int:
    copy_facts(database, sources, scores)
    run = start_run(database, KEY, day)
    publish(database, run, scores)
    return run.run_id


@pytest.fixture(autouse=True)
def _empty(database: Database) -> Iterator[None]:
    yield
    with database.connect(autocommit=True) as connection:
        connection.execute(f"TRUNCATE {TABLES}")
        connection.execute("DELETE FROM scoring.worklist_policy")
        connection.execute("INSERT INTO scoring.worklist_policy DEFAULT VALUES")
    drop_history(database, before=date.max)


def worklist(owner: psycopg.Connection, owner_id: str = "ann") -> list[dict[str, Any]]:
    with owner.cursor(row_factory=dict_row) as cursor:
        query = "SELECT * FROM sales.worklist WHERE owner_id = %s ORDER BY place"
        return cursor.execute(query, [owner_id]).fetchall()


def leads(owner: psycopg.Connection, owner_id: str = "ann", kind: str | None = None) -> list[str]:
    return [row["lead_id"] for row in worklist(owner, owner_id) if kind in (None, row["kind"])]


def policy(owner: psycopg.Connection, **values: float) -> None:
    for name, value in values.items():
        owner.execute(f"UPDATE scoring.worklist_policy SET {name} = %s", [value])


def only_the_best(owner: psycopg.Connection) -> None:
    """Nothing drawn at random: lists are what values say."""
    policy(owner, explore_share=0, holdout_share=0, recycle_share=0)


def test_the_list_is_the_best_that_fit_the_day(database: Database, owner: psycopg.Connection):
    only_the_best(owner)
    put_in_force(database, make_scores(), make_sources(owner=[ANN]))
    assert leads(owner) == [f"L{i:04}" for i in range(10)]
    first = worklist(owner)[0]
    assert (first["place"], first["why"], first["score"]) == (1, "high probability", 90)
    owner.execute("UPDATE scoring.owner SET daily_capacity = 3")
    assert len(leads(owner)) == 3
    owner.execute("UPDATE scoring.owner SET daily_capacity = NULL")
    assert len(leads(owner)) == 20


@pytest.mark.parametrize(("until", "n"), [(DAY, 0), (DAY - timedelta(days=1), 10), (None, 10)])
def test_who_is_absent_has_no_list(database, owner, until, n):
    put_in_force(database, make_scores(), make_sources(owner=[ANN | {"absent_until": until}]))
    assert len(leads(owner)) == n


def test_expected_value_decides_and_leads_without_an_amount_count_with_the_average(database, owner):
    only_the_best(owner)
    amount = (
        pl.when(pl.col("lead_id") == "L0300").then(1e6).when(pl.int_range(pl.len()) % 2 == 0).then(1000.0)
    )
    scores = make_scores(expected_value=pl.col("probability") * amount, currency=pl.lit("EUR"))
    put_in_force(database, scores, make_sources(owner=[ANN]))
    rows = worklist(owner)
    assert [row["lead_id"] for row in rows[:3]] == ["L0300", "L0001", "L0003"]
    assert (rows[0]["currency"], rows[0]["why"]) == ("EUR", "high expected value")
    assert (rows[1]["expected_value"], rows[1]["why"]) == (None, "high probability")


def test_an_account_takes_no_more_than_its_share(database, owner):
    only_the_best(owner)
    rows = [{"lead_id": f"L{i:04}", "account_id": "big" if i < 8 else None} for i in range(N)]
    put_in_force(database, make_scores(), make_sources(owner=[ANN], lead=rows))
    assert leads(owner) == ["L0000", "L0001", *(f"L{i:04}" for i in range(8, 16))]


def activity(lead: str, days_ago: float, **columns: Any) -> dict[str, Any]:
    at = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) - timedelta(days=days_ago)
    known = {"activity_id": f"{lead} {days_ago}", "lead_id": lead, "occurred_at": at, "known_at": at}
    return (
        known
        | {"activity_type": "call", "direction": "outbound", "campaign_id": None, "is_bot": None}
        | columns
    )


def test_a_touched_lead_rests_unless_a_machine_did_it(database, owner):
    only_the_best(owner)
    touches = [
        activity("L0000", 1), activity("L0001", 4), activity("L0002", 1, campaign_id="c"),
        activity("L0003", 1, is_bot=True), activity("L0004", 1, direction="inbound"),
        activity("L0005", 1, direction=None),
    ]  # fmt: skip
    put_in_force(database, make_scores(), make_sources(owner=[ANN], activity=touches))
    assert leads(owner)[:5] == ["L0001", "L0002", "L0003", "L0004", "L0006"]


def test_a_quiet_lead_comes_back_with_a_reason(database, owner):
    policy(owner, explore_share=0, holdout_share=0)
    touches = [activity(lead, 40) for lead in ("L0100", "L0200")]
    touches += [activity("L0300", 40), activity("L0300", 5, direction="inbound")]
    put_in_force(database, make_scores(), make_sources(owner=[ANN], activity=touches))
    recycled = [row for row in worklist(owner) if row["kind"] == "recycled"]
    assert [(row["lead_id"], row["why"]) for row in recycled] == [
        ("L0100", "worth another try: quiet for 40 days")
    ]
    assert recycled[0]["place"] == 10  # places are in order of value
    policy(owner, recycle_share=0)
    assert leads(owner, kind="recycled") == []


def test_unowned_leads_go_round_among_those_who_work(database, owner):
    only_the_best(owner)
    team = [
        {"owner_id": "bob", "team_id": "east", "is_active": True, "absent_until": None},
        {"owner_id": "cid", "team_id": "east", "is_active": True, "absent_until": None},
        {"owner_id": "dan", "team_id": "west", "is_active": True, "absent_until": None},
        {"owner_id": "eve", "team_id": "east", "is_active": False, "absent_until": None},
    ]
    given = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("eve"))
    put_in_force(database, make_scores(owner_id=given), make_sources(owner=team))
    dealt = dict(owner.execute("SELECT lead_id, owner_id FROM scoring.lead_queue WHERE is_routed").fetchall())
    assert len(dealt) == N
    of_eve = [dealt[f"L{i:04}"] for i in range(0, N, 2)]
    assert set(of_eve) == {"bob", "cid"}  # her team's
    assert 70 < of_eve.count("bob") < 130
    assert {dealt[f"L{i:04}"] for i in range(1, N, 2)} == {"bob", "cid", "dan"}
    team[0]["absent_until"] = DAY
    put_in_force(database, make_scores(owner_id=given), make_sources(owner=team))
    again = dict(owner.execute("SELECT lead_id, owner_id FROM scoring.lead_queue").fetchall())
    assert {again[lead] for lead, who in dealt.items() if who == "bob"} == {"cid", "dan"}
    assert all(again[lead] == who for lead, who in dealt.items() if who != "bob")
    assert len(leads(owner, "cid")) == 20


def test_an_owner_whom_only_leads_name_gets_a_list(database, owner):
    put_in_force(database, make_scores(), make_sources())
    assert len(leads(owner)) == 20


def test_arms_are_drawn_once_with_their_propensity(database, owner):
    scores = make_scores(4000)
    put_in_force(database, scores, make_sources(owner=[ANN]))
    query = "SELECT lead_id, arm, propensity FROM scoring.exploration ORDER BY lead_id"
    drawn = owner.execute(query).fetchall()
    arms = [arm for _, arm, _ in drawn]
    assert len(drawn) == 4000
    assert 150 < arms.count("explore") < 250
    assert 150 < arms.count("holdout") < 250
    assert {(arm, round(p, 9)) for _, arm, p in drawn} == {
        ("explore", 0.05), ("holdout", 0.05), ("exploit", 0.9),
    }  # fmt: skip
    policy(owner, holdout_share=0.5)
    put_in_force(database, scores, make_sources(owner=[ANN]), DAY + timedelta(days=1))
    assert owner.execute(query).fetchall() == drawn
    held_out = {lead for lead, arm, _ in drawn if arm == "holdout"}
    owner.execute("UPDATE scoring.owner SET daily_capacity = 5000")
    listed = leads(owner)
    assert not held_out & set(listed)
    assert 180 <= len(leads(owner, kind="explore")) <= arms.count("explore")


def test_exploration_takes_its_share_over_the_days(database, owner):
    scores, n_explored = make_scores(), []
    for days in range(8):
        put_in_force(database, scores, make_sources(owner=[ANN]), DAY + timedelta(days=days))
        n_explored.append(len(leads(owner, kind="explore")))
        assert len(leads(owner)) == 10
    assert set(n_explored) == {0, 1}


OVERRIDE = "INSERT INTO sales.lead_override (lead_id, position, hidden_until, reason, expires_on)"
LATER = DAY + timedelta(days=10)


def test_people_put_leads_at_a_place_or_hide_them_and_the_number_stays(database, owner):
    only_the_best(owner)
    put_in_force(database, make_scores(), make_sources(owner=[ANN], activity=[activity("L0399", 1)]))
    before = owner.execute("SELECT lead_id, probability, score FROM scoring.lead_score ORDER BY 1").fetchall()
    with database.connect("sales_writer") as writer:
        for row in [
            ("L0399", 2, None, "met at the fair", LATER),
            ("L0398", 3, None, "asked for a call", LATER),
            ("L0397", 1, None, "no longer so", DAY - timedelta(days=1)),
            ("L0001", None, LATER, "on parental leave", LATER),
            ("L0002", None, DAY, "back today", LATER),
        ]:
            writer.execute(f"{OVERRIDE} VALUES (%s, %s, %s, %s, %s)", row)
    rows = worklist(owner)
    assert [row["lead_id"] for row in rows[:5]] == ["L0000", "L0399", "L0398", "L0002", "L0003"]
    assert [row["place"] for row in rows] == list(range(1, 11))
    assert rows[1]["why"].endswith(": met at the fair")
    after = owner.execute("SELECT lead_id, probability, score FROM scoring.lead_score ORDER BY 1").fetchall()
    assert after == before


def test_a_lead_called_useless_rests(database, owner):
    only_the_best(owner)
    put_in_force(database, make_scores(), make_sources(owner=[ANN]))
    with database.connect("sales_writer") as writer:
        writer.execute(
            "INSERT INTO sales.lead_feedback (lead_id, is_useful) VALUES ('L0000', false), ('L0001', true)"
        )
    assert owner.execute("SELECT DISTINCT about_date FROM sales.lead_feedback").fetchall() == [(DAY,)]
    assert leads(owner)[0] == "L0001"
    put_in_force(database, make_scores(), make_sources(owner=[ANN]), DAY + timedelta(days=14))
    assert leads(owner)[0] == "L0000"


@pytest.mark.parametrize(
    "values", [("x", None, None, "why", LATER), ("x", 1, LATER, "why", LATER), ("x", 1, None, "", LATER)]
)
def test_an_override_says_one_thing_and_why(database, values):
    with database.connect("sales_writer") as writer, pytest.raises(CheckViolation):
        writer.execute(f"{OVERRIDE} VALUES (%s, %s, %s, %s, %s)", values)


FORBIDDEN = [
    ("sales_writer", "SELECT * FROM sales.worklist"),
    ("sales_writer", "SELECT * FROM scoring.lead_score"),
    ("sales_writer", "UPDATE scoring.lead_queue SET value = 1"),
    ("sales_writer", "DELETE FROM sales.lead_feedback"),
    ("sales_reader", "INSERT INTO sales.lead_feedback (lead_id, is_useful) VALUES ('L0', true)"),
    ("sales_reader", "SELECT * FROM scoring.exploration"),
    ("sales_reader", "UPDATE scoring.worklist_policy SET account_cap = 9"),
]


@pytest.mark.parametrize(("role", "statement"), FORBIDDEN)
def test_roles_do_no_more_than_their_part(database, role, statement):
    with database.connect(role) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement)


def test_a_reader_asks_for_a_list_of_its_own(database, owner):
    put_in_force(database, make_scores(), make_sources(owner=[ANN]))
    with database.connect("sales_reader") as reader:
        assert reader.execute("SELECT count(*) FROM sales.my_worklist").fetchone() == (0,)
        reader.execute("SET leadscore.owner_id = 'ann'")
        assert reader.execute("SELECT count(*) FROM sales.my_worklist").fetchone() == (10,)


def test_the_lists_follow_a_roll_back(database, owner):
    only_the_best(owner)
    first = put_in_force(database, make_scores(), make_sources(owner=[ANN]))
    worse = make_scores(probability=pl.col("probability").reverse(), score=pl.col("score").reverse())
    put_in_force(database, worse, make_sources(owner=[ANN]), DAY + timedelta(days=1))
    assert leads(owner)[0] == "L0399"
    with database.begin(ROLE) as connection:
        connection.execute(point_to(KEY, first, DAY))
    rows = worklist(owner)
    assert (rows[0]["lead_id"], rows[0]["run_id"], rows[0]["as_of_date"]) == ("L0000", first, DAY)


def test_leads_without_a_number_are_on_no_list(database, owner):
    only_the_best(owner)
    is_out = pl.col("lead_id") == "L0000"
    scores = make_scores(
        status=pl.when(is_out).then(pl.lit("excluded")).otherwise("status"),
        tier=pl.when(~is_out).then("tier"),
        probability=pl.when(~is_out).then("probability"),
        score=pl.when(~is_out).then("score"),
    )
    put_in_force(database, scores, make_sources(owner=[ANN]))
    assert leads(owner)[0] == "L0001"


GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "worklist.md").read_text()
COLUMNS = """
SELECT column_name, replace(data_type, 'timestamp with time zone', 'timestamptz')
FROM information_schema.columns WHERE table_schema = 'sales' AND table_name = %s ORDER BY ordinal_position
"""


@pytest.mark.parametrize("view", ["worklist", "my_worklist"])
def test_every_column_is_described(owner: psycopg.Connection, view: str):
    section = GUIDE.split("\n## sales.worklist")[1].split("\n## ")[0]
    described = re.findall(r"^\| (\w+) \| ((?:\w| )+) \|", section, flags=re.MULTILINE)[1:]
    assert described == owner.execute(COLUMNS, [view]).fetchall()


@pytest.mark.parametrize(
    ("section", "role"),
    [("Who is on it", None), ("People's word", "sales_writer"), ("Status before score", None)],
)
def test_the_statements_of_the_guide_run(database: Database, section: str, role: str | None):
    text = GUIDE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    statements = re.findall(r"^    .*?;$", text, re.MULTILINE | re.DOTALL)
    assert len(statements) >= 2
    with database.connect(role) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.rollback()


@pytest.mark.parametrize("path", sql_files.names("checks/worklist"))
def test_a_night_of_everything_passes_every_check(database: Database, owner: psycopg.Connection, path: str):
    team = [
        {
            "owner_id": f"O{i}",
            "team_id": f"T{i % 2}",
            "is_active": i != 3,
            "absent_until": DAY if i == 4 else None,
        }
        for i in range(6)
    ]
    given = pl.when(pl.int_range(pl.len()) % 9 != 0).then(pl.format("O{}", pl.int_range(pl.len()) % 6))
    accounts = [{"lead_id": f"L{i:04}", "account_id": f"A{i % 40}" if i % 2 else None} for i in range(N)]
    touches = [activity(f"L{i:04}", i % 60) for i in range(0, N, 3)]
    sources = make_sources(owner=team, lead=accounts, activity=touches)
    put_in_force(database, make_scores(owner_id=given), sources)
    for i, position in enumerate([1, 1, 4, None, None]):
        hidden = None if position else LATER
        owner.execute(f"{OVERRIDE} VALUES (%s, %s, %s, 'why', %s)", [f"L{7 * i:04}", position, hidden, LATER])
    assert owner.execute("SELECT count(*) > 50 FROM sales.worklist").fetchone() == (True,)
    assert owner.execute(sql_files.load(path).encode()).fetchall() == []
