"""Effects against simulated truth: intervals cover it as often as they say, and few leads say nothing."""

import json
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import psycopg
import pytest

import sql as sql_files
from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.experiment import drawn_leads
from flows.adapters.migrations import install_source, set_clock
from flows.adapters.publisher import publish
from flows.adapters.score_runs import start_run
from flows.adapters.worklist import copy_facts
from flows.cli import main
from flows.uplift import apart, effect
from flows.uplift_report import CONTRASTS, SCHEMA, uplift_report

DATA = Path(os.environ.get("LEADSCORE_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))
MAILING = DATA / "hillstrom" / "hillstrom.csv"
KEY = "lead-conversion"
DAY = date(2026, 3, 2)
LATER = DAY + timedelta(days=67)


class World:
    """Leads with a known chance to convert when called and when not, and arms as the worklist draws them.

    Lists have places for a fifth of the leads of an arm: the best by score, or any of them. A call multiplies
    the chance to convert.
    """

    def __init__(self, n: int, times: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.score = rng.beta(1.2, 9, n)
        self.not_called = np.clip(self.score * rng.lognormal(0, 0.3, n), 0, 0.6)
        self.called = np.minimum(times * self.not_called, 0.95)
        self.is_best = self.score > np.quantile(self.score, 0.8)

    def mean(self, arm: str) -> float:
        """Share converting had every lead been drawn into this arm."""
        share = {"exploit": self.is_best, "explore": 0.2, "holdout": 0.0}[arm]
        return float((share * self.called + (1 - share) * self.not_called).mean())

    def draw(self, rng: np.random.Generator, shares: tuple[float, float, float] = (0.7, 0.15, 0.15)):
        """Return arms, their propensities and who converts."""
        n = len(self.score)
        code = rng.choice(3, n, p=shares)
        is_called = np.select([code == 0, code == 1], [self.is_best, rng.random(n) < 0.2], False)
        y = rng.random(n) < np.where(is_called, self.called, self.not_called)
        return np.array(["exploit", "explore", "holdout"])[code], np.array(shares)[code], y.astype(float)


@pytest.mark.parametrize("contrast", list(CONTRASTS))
@pytest.mark.parametrize("is_adjusted", [True, False])
def test_intervals_cover_the_truth_as_often_as_they_say(contrast: str, is_adjusted: bool):
    world, rng = World(3_000, times=1.8, seed=1), np.random.default_rng(2)
    treated, control = CONTRASTS[contrast]
    truth = world.mean(treated) - world.mean(control)
    n_draws, covered, values = 500, 0, []
    for _ in range(n_draws):
        arm, propensity, y = world.draw(rng)
        found = effect(y, arm == treated, arm == control, propensity, world.score if is_adjusted else None)
        covered += found.low <= truth <= found.high
        values.append(found.value)
    assert 0.925 <= covered / n_draws <= 0.975
    assert abs(np.mean(values) - truth) < 3 * np.std(values) / np.sqrt(n_draws)


def test_equal_chances_without_adjustment_are_the_difference_in_means():
    arm, propensity, y = World(500, 1.5, 1).draw(np.random.default_rng(0))
    treated, control = arm == "exploit", arm == "holdout"
    found = effect(y, treated, control, propensity)
    assert found.value == pytest.approx(y[treated].mean() - y[control].mean())
    welch = np.sqrt(y[treated].var(ddof=1) / treated.sum() + y[control].var(ddof=1) / control.sum())
    assert found.error == pytest.approx(welch, rel=0.03)
    assert found.times == pytest.approx(y[treated].mean() / y[control].mean())
    assert found.times_low < found.times < found.times_high


def test_chances_that_changed_on_the_way_do_not_bias():
    """More hold-out among good leads: the plain difference of means would say that lists harm."""
    rng, values = np.random.default_rng(3), []
    world = World(4_000, times=1.0, seed=4)
    for _ in range(100):
        shares = np.where(world.is_best, 0.5, 0.1)
        is_held = rng.random(4_000) < shares
        y = (rng.random(4_000) < world.not_called).astype(float)
        values.append(effect(y, ~is_held, is_held, np.where(is_held, shares, 1 - shares)).value)
    assert abs(np.mean(values)) < 3 * np.std(values) / 10
    assert y[~is_held].mean() - y[is_held].mean() < -0.05


def test_the_score_makes_intervals_narrower():
    world = World(20_000, times=1.0, seed=5)
    arm, propensity, y = world.draw(np.random.default_rng(5))
    arms = (arm == "exploit", arm == "holdout", propensity)
    assert effect(y, *arms, world.score).error < 0.97 * effect(y, *arms).error


def test_groups_are_told_apart_by_their_difference():
    world = World(30_000, times=2.0, seed=6)
    arm, propensity, y = world.draw(np.random.default_rng(6))

    def of(rows: np.ndarray):
        return effect(y[rows], arm[rows] == "exploit", arm[rows] == "holdout", propensity[rows])

    value, low, high = apart(of(world.is_best), of(~world.is_best))
    assert 0 < low < value < high
    assert of(~world.is_best).verdict == "tie"  # nobody of the rest was called


@pytest.mark.parametrize(("propensity", "n"), [([0.5, 0.0], 10), ([0.5, 1.5], 10), ([0.5, 0.5], 2)])
def test_impossible_draws_are_refused(propensity: list[float], n: int):
    is_treated = np.arange(2 * n) < n
    chances = np.where(is_treated, *propensity)
    with pytest.raises(ValueError, match=r"propensities should be|at least 3 are needed"):
        effect(np.ones(2 * n), is_treated, ~is_treated, chances)


def leads(n: int = 8_000, seed: int = 7, **columns: pl.Expr) -> pl.DataFrame:
    world = World(n, times=3.0, seed=seed)
    arm, propensity, y = world.draw(np.random.default_rng(seed))
    given = {
        "lead_id": [f"L{i:05}" for i in range(n)],
        "arm": arm,
        "propensity": propensity,
        "assigned_on": [DAY] * n,
        "probability": world.score,
        "is_converted": y > 0,
        "amount": np.where(y > 0, 1000.0, np.nan),
        "is_worked": [False] * n,
    }
    frame = pl.DataFrame(given, schema_overrides=SCHEMA).with_columns(pl.col("amount").fill_nan(None))
    return frame.with_columns(**columns)


def find(report: dict, contrast: str, outcome: str = "conversion", group: str = "all", method="adjusted"):
    wanted = (contrast, outcome, group, method)
    return next(
        row for row in report["effects"]
        if (row["contrast"], row["outcome"], row["group"], row["method"]) == wanted
    )  # fmt: skip


def test_the_report_tells_effects_on_conversion_and_revenue_and_among_the_best():
    report = uplift_report(leads(), LATER, 60, 7)
    world = World(8_000, 3.0, 7)
    found = find(report, "lists by value")
    assert found["low"] < world.mean("exploit") - world.mean("holdout") < found["high"]
    assert found["verdict"] == "more"
    revenue = find(report, "lists by value", "revenue")
    assert revenue["value"] == pytest.approx(1000 * found["value"])
    assert find(report, "lists by value", group="the rest")["verdict"] == "tie"
    assert {row["contrast"]: row["verdict"] for row in report["differences"]}["lists by value"] == "more"
    assert report["n_settled"] == 8_000
    assert json.dumps(report, default=str)


def test_leads_count_when_their_outcome_is_settled():
    young = pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit(DAY + timedelta(days=3))).otherwise(DAY)
    report = uplift_report(leads(assigned_on=young), LATER, 60, 7)
    assert (report["n_leads"], report["n_settled"]) == (8_000, 6_000)
    assert report["next_settled_on"] == LATER + timedelta(days=3)


def test_too_few_leads_get_a_reason_and_no_number():
    report = uplift_report(leads(300), LATER, 60, 7)
    found = find(report, "lists by value")
    assert "holdout has" in found["problem"]
    assert "each arm needs 100 and 10" in found["problem"]
    assert "effect" not in found
    assert uplift_report(leads().clear(), LATER, 60, 7)["n_leads"] == 0


def test_amounts_that_are_missing_count_with_the_average():
    half = pl.when(pl.int_range(pl.len()) % 2 == 0).then("amount")
    report = uplift_report(leads(amount=half), LATER, 60, 7)
    assert find(report, "lists by value", "revenue")["value"] == pytest.approx(
        1000 * find(report, "lists by value")["value"]
    )
    assert any("have no amount and count with the average one" in note for note in report["notes"])
    without = uplift_report(leads(amount=pl.lit(None, dtype=pl.Float64)), LATER, 60, 7)
    assert not [row for row in without["effects"] if row["outcome"] == "revenue"]
    assert "no conversion has an amount: revenue cannot be compared" in without["notes"]


@pytest.fixture(scope="module")
def world(database: Database) -> World:
    """A night published with worklists, and what became of its leads 67 days later, by arm and list."""
    world = World(6_000, times=3.0, seed=8)
    n = len(world.score)
    with database.connect(autocommit=True) as connection:
        connection.execute(sql_files.load("imported/tables.sql").encode())
        connection.execute(
            "UPDATE scoring.worklist_policy SET explore_share = 0.15, holdout_share = 0.15, recycle_share = 0"
        )
    install_source(database, "imported")
    set_clock(database, LATER)
    noon = datetime.combine(DAY, time(), UTC)
    scores = pl.DataFrame(
        {
            "lead_id": [f"L{i:05}" for i in range(n)],
            "owner_id": ["ann"] * n,
            "status": ["scored"] * n,
            "tier": ["own_model"] * n,
            "probability": np.clip(world.score, 1e-4, 0.999),
            "score": np.rint(100 * world.score).astype(np.int16),
            "grade": ["B"] * n,
            "model_version": ["1"] * n,
            "data_as_of": [noon] * n,
            "scored_at": [noon] * n,
        }
    )
    copy_facts(database, Sources.from_frames({}), scores)
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE scoring.owner SET daily_capacity = %s", [n // 5])
    publish(database, start_run(database, KEY, DAY), scores)
    with database.connect(autocommit=True) as connection:
        _live_on(connection, world)
    return world


def _live_on(connection: psycopg.Connection, world: World) -> None:
    """Whoever is on the list of the day is called; who converts does so three weeks later, for 500 each."""
    called = {lead for (lead,) in connection.execute("SELECT lead_id FROM sales.worklist").fetchall()}
    assert 0.6 < len(called) / (len(world.score) / 5) <= 1.0
    next_day, weeks_later = (datetime.combine(DAY + timedelta(days=d), time(9), UTC) for d in (1, 21))
    drawn = np.random.default_rng(9).random(len(world.score))
    is_called = np.array([f"L{i:05}" in called for i in range(len(world.score))])
    converts = drawn < np.where(is_called, world.called, world.not_called)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO imported.activity (activity_id, lead_id, occurred_at, occurred_precision,"
            " activity_type, direction) VALUES (%s, %s, %s, 'second', 'call', 'outbound')",
            [(f"A{i}", f"L{i:05}", next_day) for i in np.flatnonzero(is_called)],
        )
        cursor.executemany(
            "INSERT INTO imported.outcome (lead_id, outcome, outcome_at, outcome_precision, amount, currency)"
            " VALUES (%s, 'converted', %s, 'second', 500, 'EUR')",
            [(f"L{i:05}", weeks_later) for i in np.flatnonzero(converts)],
        )


def test_the_database_tells_what_its_lists_brought(database: Database, world: World):
    found = drawn_leads(database, KEY, LATER, 60)
    assert found.height == len(world.score)
    assert found.sort("lead_id")["probability"].to_numpy() == pytest.approx(np.clip(world.score, 1e-4, 0.999))
    report = uplift_report(found, LATER, 60, 7)
    arms = {arm["arm"]: arm for arm in report["arms"]}
    assert arms["holdout"]["worked_by_people"] == 0.0
    assert 0.15 < arms["exploit"]["worked_by_people"] < 0.3
    for contrast in ("lists by value", "value over random"):
        treated, control = CONTRASTS[contrast]
        told = find(report, contrast)
        assert told["low"] < world.mean(treated) - world.mean(control) < told["high"]
        assert told["verdict"] == "more"
    revenue, conversion = (find(report, "lists by value", what) for what in ("revenue", "conversion"))
    assert revenue["value"] == pytest.approx(500 * conversion["value"])


def test_only_leads_drawn_in_the_period_and_outcomes_known_by_then_count(database: Database, world: World):
    assert drawn_leads(database, KEY, LATER, 60, since=DAY + timedelta(days=1)).is_empty()
    assert drawn_leads(database, KEY, LATER, 60, until=DAY).height == len(world.score)
    assert drawn_leads(database, KEY, DAY, 60).is_empty()
    assert not drawn_leads(database, KEY, DAY + timedelta(days=20), 60)["is_converted"].any()
    assert not drawn_leads(database, KEY, LATER, 14)["is_converted"].any()
    assert drawn_leads(database, "another", LATER, 60).is_empty()


def test_the_command_tells_people_and_programs(
    database_url: str, world: World, tmp_path, monkeypatch, capsys, logging_as_before
):
    monkeypatch.setenv("LEADSCORE_HOME", str(tmp_path))
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", database_url)
    assert main(["uplift", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["as_of"] == str(LATER)
    assert find(report, "lists by value")["verdict"] == "more"
    assert main(["uplift"]) == 0
    told = capsys.readouterr().out
    assert "listed in order of value, against never listed (hold-out)" in told
    assert "best fifth less the rest" in told
    assert main(["uplift", "--since", str(LATER)]) == 0
    assert "too few: exploit has 0 settled leads" in capsys.readouterr().out
    assert main(["uplift", "--since", "2026-03-02", "--until", "2026-03-01"]) == 2


@pytest.mark.data
@pytest.mark.skipif(not MAILING.exists(), reason=f"no real data at {DATA} (LEADSCORE_DATA_DIR)")
def test_a_randomised_mailing_brings_what_is_known_of_it():
    """Hillstrom 2008: 6.1 points more visits, half a point more purchases, 0.60 dollars a head."""
    rows = pl.read_csv(MAILING, infer_schema_length=None)
    is_mailed = (rows["segment"] != "No E-Mail").to_numpy()
    chance = np.where(is_mailed, 2 / 3, 1 / 3)
    recency = rows["recency"].cast(pl.Float64).to_numpy()  # months since the last purchase, known before
    known = {"visit": 0.0609, "conversion": 0.00496, "spend": 0.597}
    for outcome, value in known.items():
        y = rows[outcome].cast(pl.Float64).to_numpy()
        plain = effect(y, is_mailed, ~is_mailed, chance)
        adjusted = effect(y, is_mailed, ~is_mailed, chance, recency)
        assert plain.value == pytest.approx(y[is_mailed].mean() - y[~is_mailed].mean())
        assert plain.value == pytest.approx(value, rel=0.01)
        assert adjusted.low < value < adjusted.high
        assert adjusted.error < plain.error
        assert adjusted.verdict == "more"
