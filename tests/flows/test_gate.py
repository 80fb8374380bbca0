"""The gate: a doubtful model never replaces a champion; an unusable one is never used."""

import json
from dataclasses import replace
from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from features.late_labels import LateLabels
from flows.artefact_checks import segments_of
from flows.data_facts import DataFacts, EarlyWins, NightRows, data_facts, differences
from flows.evaluation import Evaluation
from flows.gate import Evidence, decide
from flows.leakage import LeakageReport
from flows.monitors.compare import Comparison
from flows.newest_labels import NewestLabels

AS_OF = date(2026, 6, 1)
SOUND = Comparison(8, 0.001, -0.002, 0.0, 0.01)
BETTER = Comparison(8, 0.03, 0.01, 0.0, 0.01)
WORSE = Comparison(8, -0.02, -0.03, 0.0, 0.01)


def evidence(*, ratio=1.0, high=0.8, alarm=False, new=None, old=None, **more) -> Evidence:
    rng = np.random.default_rng(0)
    old = rng.beta(1, 9, 400) if old is None else old
    new = old * 1.02 if new is None else new
    return Evidence(
        AS_OF,
        Evaluation("test", 100, 10, 0.1, roc_auc_high=high, calibration_ratio=ratio),
        LeakageReport(alarm, 0.95),
        np.asarray(new),
        old if len(old) == len(new) else None,
        **({"comparison": SOUND} | more),
    )


def test_a_sound_model_is_promoted_and_its_record_is_json():
    decision = decide(evidence(), has_champion=True)
    assert decision.is_promoted
    assert decision.reasons == ()
    assert json.loads(json.dumps(decision.inputs, allow_nan=False))["shift"]["top_overlap"] == 1.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alarm": True}, "no leakage alarm"),
        ({"ratio": 5.0}, "calibrated in the large"),
        ({"ratio": 0.1}, "calibrated in the large"),
        ({"high": 0.45}, "ranking is not worse than chance"),
        ({"new": np.full(3, 0.1)}, "probabilities differ between leads"),
        ({"integrity": ["lead.industry: 90 % empty"]}, "lead.industry: 90 % empty"),
        ({"comparison": WORSE}, "not worse: lower bound of the log-loss gain above -0.5 %"),
        ({"last_roll_back": AS_OF - timedelta(days=13)}, "no roll-back within 14 days"),
    ],
)
def test_a_doubtful_model_is_used_only_where_there_is_no_other(changes, reason):
    kept = decide(evidence(**changes), has_champion=True)
    assert not kept.is_promoted
    assert reason in kept.reasons
    assert decide(evidence(**changes), has_champion=False).is_promoted


def test_probabilities_that_are_no_numbers_are_never_used():
    unusable = evidence(new=np.array([0.1, np.nan]))
    assert not decide(unusable, has_champion=False).is_promoted
    json.dumps(decide(unusable, has_champion=False).inputs, allow_nan=False)


@pytest.mark.parametrize(
    ("comparison", "changed_days_ago", "is_promoted"),
    [
        (BETTER, None, True),
        (SOUND, None, False),
        (BETTER, 13, False),
        (BETTER, 14, True),
        (None, None, False),
    ],
)
def test_a_new_recipe_must_be_better_and_the_last_change_two_weeks_ago(
    comparison, changed_days_ago, is_promoted
):
    change = None if changed_days_ago is None else AS_OF - timedelta(days=changed_days_ago)
    looked_at = evidence(comparison=comparison, is_new_recipe=True, last_recipe_change=change)
    assert decide(looked_at, has_champion=True).is_promoted is is_promoted


def logistic(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("shift", "comparison", "is_promoted"),
    [(0.6, SOUND, True), (1.0, SOUND, False), (1.0, BETTER, True), (1.8, BETTER, False)],
)
def test_a_segment_moves_by_more_than_point_seven_only_where_labels_prove_it(shift, comparison, is_promoted):
    raw = np.random.default_rng(1).normal(-2, 1, 500)
    inside = np.arange(500) < 100
    looked_at = evidence(
        old=logistic(raw),
        new=logistic(raw + shift * inside),
        segments={"lead_source=Fair": inside},
        comparison=comparison,
    )
    decision = decide(looked_at, has_champion=True)
    assert decision.is_promoted is is_promoted
    assert decision.inputs["shift"]["segment"] == "lead_source=Fair"


def newest(losses=(0.30, 0.29), levels=None) -> NewestLabels:
    return NewestLabels(500, losses, levels or {})


def test_what_the_recipe_was_worth_weeks_ago_does_not_speak_against_a_model_that_follows_new_labels():
    doubts = {"ratio": 5.0, "high": 0.45}
    assert decide(evidence(**doubts, newest=newest()), has_champion=True).is_promoted
    kept = decide(evidence(**doubts, newest=newest((0.30, 0.31))), has_champion=True)
    assert set(kept.reasons) == {"ranking is not worse than chance", "calibrated in the large"}


@pytest.mark.parametrize(("wins", "is_promoted"), [(4, True), (19, False)])
def test_a_segment_moves_as_far_as_the_newest_labels_ask(wins, is_promoted):
    raw = np.random.default_rng(1).normal(-2, 1, 500)
    inside = np.arange(500) < 100
    decision = decide(
        evidence(
            old=logistic(raw),
            new=logistic(raw - 2 * inside),
            segments={"lead_source=Fair": inside},
            newest=newest(levels={"lead_source=Fair": (wins, 20, 3), "all": (wins + 80, 100, 83)}),
        ),
        has_champion=True,
    )
    assert decision.is_promoted is is_promoted
    assert json.loads(json.dumps(decision.inputs, allow_nan=False))["newest_labels"]["rows"] == 500


WEEKS = 40
LAST = AS_OF - timedelta(days=67)


@cache
def night(seed: int, day: int = 0) -> NightRows:
    """A night, or the one some days after it: the past stays, a week of rows may come, open leads change."""
    rng = np.random.default_rng(seed)
    newest_week = day // 7
    snapshots = [LAST - timedelta(days=int(7 * week)) for week in rng.integers(0, WEEKS, 2_000)]
    frame = features(rng, 2_000).with_columns(snapshot_date=pl.Series(snapshots))
    y = conversions(rng, frame, 0.4)
    earlier = features(rng, 400)
    if newest_week:
        fresh = features(rng, 60 * newest_week).with_columns(snapshot_date=pl.lit(LAST + timedelta(days=7)))
        frame, y = pl.concat([frame, fresh]), np.concatenate([y, conversions(rng, fresh, 0.4)])
    return NightRows(frame, y, earlier, features(np.random.default_rng([seed, day]), 400 + 2 * day))


def conversions(rng: np.random.Generator, frame: pl.DataFrame, effect: float) -> np.ndarray:
    chance = logistic(-3 + frame["activity_count"].to_numpy() * effect)
    return (rng.random(frame.height) < chance).astype(float)


def features(rng: np.random.Generator, n: int) -> pl.DataFrame:
    revenue = np.where(rng.random(n) < 0.1, np.nan, np.exp(rng.normal(13, 1.2, n)))
    return pl.DataFrame(
        {
            "lead_source": rng.choice(["Web", "Fair", "List"], n),
            "lead_annual_revenue": revenue,
            "lead_country": pl.Series([None if empty else "DE" for empty in rng.random(n) < 0.2]),
            "activity_count": rng.poisson(2, n).astype(float),
            "calendar_month": np.full(n, rng.integers(1, 13)),
        }
    )


POISONS = {
    "flipped labels": lambda rows: replace(rows, y=1 - rows.y),
    "flipped in the newest weeks": lambda rows: replace(
        rows, y=np.where(rows.mature["snapshot_date"] > LAST - timedelta(days=28), 1 - rows.y, rows.y)
    ),
    "revenue in cents": lambda rows: in_all(rows, in_units(100)),
    "revenue in millions": lambda rows: in_all(rows, in_units(1e-6)),
    "half the leads gone": lambda rows: NightRows(
        rows.mature[::2], rows.y[::2], rows.earlier[::2], rows.open_leads[::2]
    ),
    "half the open leads gone": lambda rows: replace(rows, open_leads=rows.open_leads[::2]),
    "a null column": lambda rows: in_all(rows, without_country),
    "null in the open leads": lambda rows: replace(rows, open_leads=without_country(rows.open_leads)),
    "the past is gone": lambda rows: replace(rows, mature=rows.mature[:0], y=rows.y[:0]),
}


def in_all(rows: NightRows, change) -> NightRows:
    return NightRows(change(rows.mature), rows.y, change(rows.earlier), change(rows.open_leads))


def in_units(factor):
    return lambda frame: frame.with_columns(pl.col("lead_annual_revenue") * factor)


def without_country(frame):
    return frame.with_columns(lead_country=pl.lit(None, pl.String))


@cache
def facts_before(seed: int) -> DataFacts:
    """The champion's facts as they come back from its artefact."""
    return DataFacts.from_dict(json.loads(json.dumps(data_facts(night(seed)).to_dict())))


@pytest.mark.parametrize("days", [1, 7])
def test_another_sound_night_is_like_the_champions_in_100_of_100_tries(days):
    found = [differences(facts_before(seed), night(seed, days)) for seed in range(100)]
    assert found == [[]] * 100


@pytest.mark.parametrize(("days", "n_found"), [((3, 3, 4), 0), ((24, 24, 48), 1)])
def test_a_monday_is_no_wrong_unit(days, n_found):
    """Thursday's leads were active one day ago, Monday's three; the same in hours is another unit."""
    rows = night(0)
    earlier, tonight = (
        frame.with_columns(activity_recency_days=pl.Series(np.resize(values, frame.height)))
        for frame, values in ((rows.earlier, (1, 1, 2)), (rows.open_leads, days))
    )
    found = differences(facts_before(0), NightRows(rows.mature, rows.y, earlier, tonight))
    assert len(found) == n_found


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_night_is_refused_in_100_of_100_tries(poison):
    refused = 0
    for seed in range(100):
        problems = differences(facts_before(seed), POISONS[poison](night(seed, day=1)))
        refused += not decide(evidence(data_problems=problems), has_champion=True).is_promoted
    assert refused == 100


def late(seed: int, change: float = 1.0) -> LateLabels:
    """Weekly snapshots of a year: a tenth win at an even pace, in the newest weeks more or fewer."""
    rng = np.random.default_rng(seed)
    snapshots = np.datetime64(AS_OF, "D") - 7 * rng.integers(0, 52, 3_000)
    chance = np.where(snapshots > np.datetime64(LAST, "D"), 0.1 * change, 0.1)
    days = np.where(rng.random(3_000) < chance, rng.uniform(0, 60, 3_000), np.inf)
    never = np.full(3_000, np.inf)
    return LateLabels(snapshots, np.full(3_000, "0-6 days"), days, never, never, 60, 7)


def early_wins_flipped(labels: LateLabels) -> np.ndarray:
    is_won, is_new = labels.is_won(AS_OF), labels.elapsed(AS_OF) <= 56
    days = np.where(is_won, np.inf, labels.elapsed(AS_OF) / 2)
    return np.where(is_new & ~labels.is_mature(AS_OF), days, labels.win_days)


def open_leads_won(labels: LateLabels) -> np.ndarray:
    return np.where(labels.is_settled(AS_OF), labels.win_days, labels.elapsed(AS_OF) / 2)


@pytest.mark.parametrize("poison", [early_wins_flipped, open_leads_won])
def test_poisoned_early_wins_are_refused_in_100_of_100_tries_however_well_they_are_fitted(poison):
    refused = 0
    for seed in range(100):
        labels = late(seed)
        rows = replace(night(seed, 1), early=EarlyWins.of(replace(labels, win_days=poison(labels)), AS_OF))
        problems = differences(facts_before(seed), rows)
        looked_at = evidence(data_problems=problems, newest=newest(), comparison=None)
        refused += not decide(looked_at, has_champion=True).is_promoted
        assert [one for one in problems if "early wins" in one] == problems
    assert refused == 100


@pytest.mark.parametrize("change", [0.0, 0.2, 1.0, 2.6])
def test_conversions_may_cease_or_rise_from_five_to_thirteen_percent(change):
    assert [EarlyWins.of(late(seed, change), AS_OF).problems() for seed in range(100)] == [[]] * 100


def test_a_world_that_has_changed_since_is_not_broken_data():
    """Half a year on: other leads, nearly empty columns, ten times the conversions; the past is as it was."""
    before, then = night(0), facts_before(0)
    rng = np.random.default_rng(1)
    new = in_units(1_000)(features(rng, 3_000)).with_columns(
        lead_country=pl.lit(None, pl.String), snapshot_date=pl.lit(LAST + timedelta(days=180))
    )
    mature, y = pl.concat([before.mature, new]), np.concatenate([before.y, np.ones(3_000)])
    since = NightRows(mature, y, new[:300], new[300:600])
    assert differences(then, since) == []


def test_a_model_of_flipped_labels_is_refused_where_half_of_the_leads_convert():
    refused = 0
    for seed in range(100):
        raw = np.random.default_rng(seed).normal(0, 1, 300)
        looked_at = evidence(old=logistic(raw), new=logistic(-raw), comparison=BETTER)
        refused += not decide(looked_at, has_champion=True).is_promoted
    assert refused == 100


def test_segments_are_levels_with_enough_leads():
    frame = pl.DataFrame(
        {"lead_id": [str(i) for i in range(70)], "lead_source": ["Web"] * 40 + ["Fair"] * 29 + [None]}
    )
    found = segments_of(frame)
    assert list(found) == ["lead_source=Web"]
    assert found["lead_source=Web"].sum() == 40
