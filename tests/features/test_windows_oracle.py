"""Windows, recency, bursts and decay against SQLite, which knows nothing of how Polars is told to do it."""

import math
import sqlite3
import statistics
from datetime import date

import pytest
from hypothesis import given, settings

from features.activity import activity
from features.engagement import engagement
from features.spine import spine
from features.touches import ACTIVITY_TYPES, INBOUND_TYPES
from tests.features.worlds import day, worlds

oracle = settings(max_examples=15, deadline=None, derandomize=True)
DAY = 86_400_000_000
SNAPSHOTS = [day(60), day(90), day(150)]

# every event that a snapshot may see, with whether a bot is known to have made it
SEEN = f"""
CREATE VIEW visible AS
SELECT s.row, s.at, a.* FROM spine AS s JOIN activity AS a ON a.lead_id = s.lead_id
WHERE a.occurred < s.at AND a.known < s.at;
CREATE VIEW click AS SELECT * FROM visible WHERE kind IN ('email_click', 'email_open');
CREATE VIEW burst AS
SELECT DISTINCT first.row, member.id
FROM click AS first
JOIN click AS member
  ON member.row = first.row AND member.occurred BETWEEN first.occurred AND first.occurred + 10000000
WHERE (SELECT COUNT(*) FROM click AS c
       WHERE c.row = first.row AND c.occurred BETWEEN first.occurred AND first.occurred + 10000000) >= 3;
CREATE VIEW seen AS
SELECT v.*, v.is_bot OR EXISTS (SELECT 1 FROM burst AS b WHERE b.row = v.row AND b.id = v.id) AS bot,
       (v.at / {DAY}) - (v.occurred / {DAY}) AS age
FROM visible AS v;
"""


def load(world, rows) -> sqlite3.Connection:
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE spine (row INT, lead_id TEXT, at INT)")
    base.execute(
        "CREATE TABLE activity "
        "(id TEXT, lead_id TEXT, occurred INT, known INT, kind TEXT, way TEXT, is_bot INT)"
    )
    marks = rows.with_row_index("row").select("row", "lead_id", "snapshot_date")
    at = [(row, lead_id, (d - date(1970, 1, 1)).days * DAY) for row, lead_id, d in marks.iter_rows()]
    base.executemany("INSERT INTO spine VALUES (?, ?, ?)", at)
    events = world.activity.select(
        "activity_id", "lead_id", "occurred_at", "known_at", "activity_type", "direction", "is_bot"
    )
    for column in ("occurred_at", "known_at"):
        events = events.with_columns(events[column].dt.epoch("us"))
    base.executemany("INSERT INTO activity VALUES (?, ?, ?, ?, ?, ?, ?)", events.iter_rows())
    base.execute("UPDATE activity SET is_bot = COALESCE(is_bot, 0)")
    inbound = ", ".join(f"'{kind}'" for kind in INBOUND_TYPES)
    base.execute(
        f"UPDATE activity SET way = CASE WHEN kind IN ({inbound}) THEN 'inbound' "
        "WHEN kind IN ('email_sent', 'call') THEN 'outbound' END WHERE way IS NULL"
    )
    kinds = ", ".join(f"'{kind}'" for kind in ACTIVITY_TYPES)
    base.execute(f"UPDATE activity SET kind = 'other' WHERE kind NOT IN ({kinds})")
    base.executescript(SEEN)
    return base


def per_row(base: sqlite3.Connection, n: int, value: str, where: str) -> list:
    found = dict(base.execute(f"SELECT row, {value} FROM seen WHERE {where} GROUP BY row").fetchall())
    return [found.get(row) for row in range(n)]


@given(world=worlds(n_leads=5, n_activities=80))
@oracle
def test_counts_recency_and_active_days_agree_with_sql(world):
    rows = spine(world, SNAPSHOTS, max_age_days=200)
    made, base, n = activity(world, rows), load(world, rows), rows.height
    cases = {kind: f"NOT bot AND kind = '{kind}'" for kind in ACTIVITY_TYPES}
    cases |= {way: f"NOT bot AND way = '{way}'" for way in ("inbound", "outbound")}
    cases |= {"": "NOT bot", "bot": "bot"}
    for name, where in cases.items():
        prefix = f"activity_{name}_" if name else "activity_"
        for window in (7, 30, 90):
            counted = per_row(base, n, "COUNT(*)", f"{where} AND occurred >= at - {window * DAY}")
            assert made[f"{prefix}count_{window}d"].to_list() == [count or 0 for count in counted], name
        if name != "bot":
            assert made[f"{prefix}recency_days"].to_list() == per_row(base, n, "MIN(age)", where)
    for window in (7, 30, 90):
        days = per_row(base, n, "COUNT(DISTINCT age)", f"NOT bot AND age <= {window}")
        assert made[f"activity_day_count_{window}d"].to_list() == [count or 0 for count in days]


@given(world=worlds(n_leads=5, n_activities=80))
@oracle
def test_decayed_sums_agree_with_ages_listed_by_sql(world):
    rows = spine(world, SNAPSHOTS, max_age_days=200)
    made, base = engagement(world, rows), load(world, rows)
    cases = {kind: f"kind = '{kind}'" for kind in ("email_click", "meeting", "pricing_visit")} | {
        "inbound": "way = 'inbound'"
    }
    for name, where in cases.items():
        ages: dict[int, list[int]] = {row: [] for row in range(rows.height)}
        for row, age in base.execute(f"SELECT row, age FROM seen WHERE NOT bot AND {where}"):
            ages[row].append(age)
        for half_life in (3, 14, 45):
            expected = [math.fsum(2 ** (-age / half_life) for age in ages[row]) for row in range(rows.height)]
            assert made[f"engagement_{name}_decay_{half_life}d"].to_list() == pytest.approx(
                expected, abs=1e-7
            )


@given(world=worlds(n_leads=5, n_activities=80))
@oracle
def test_replies_agree_with_a_walk_through_the_dialogue(world):
    rows = spine(world, SNAPSHOTS, max_age_days=200)
    made, base = activity(world, rows), load(world, rows)
    query = (
        "SELECT occurred, kind, way FROM seen WHERE row = ? AND NOT bot AND way IS NOT NULL "
        "ORDER BY occurred, way = 'outbound'"
    )
    for row in range(rows.height):
        sent, gaps, inbound, outbound = None, [], [], []
        for occurred, kind, way in base.execute(query, (row,)):
            if kind == "email_reply" and way == "inbound" and sent is not None:
                gaps.append((occurred - sent) / DAY)
            sent = occurred if way == "outbound" else sent
            (outbound if way == "outbound" else inbound).append(occurred)
        unanswered = [time for time in outbound if not inbound or time > max(inbound)]
        assert made["activity_unanswered_count_all"][row] == len(unanswered)
        median = pytest.approx(statistics.median(gaps)) if gaps else None
        assert made["activity_reply_gap_days"][row] == median
