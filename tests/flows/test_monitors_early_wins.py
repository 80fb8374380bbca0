"""T3 and T5 on simulated pipelines: the count that is expected is the count that comes; changes are named."""

import json
import math
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from features.delay import DelayCurve
from flows.monitors.delay_drift import delay_evidence, watch_delay
from flows.monitors.delay_weeks import DelayWatch, first_curve, refit_when_needed
from flows.monitors.e_process import RateState
from flows.monitors.early_wins import THRESHOLD, expected_early_wins, watch_early_wins

MONDAY = date(2025, 1, 6)
SIGMA = math.log(160 / 14) / 1.2815515655446004
AGES = np.expm1(np.linspace(0, math.log1p(3000), 400))


def lognormal(ages, median=14.0):
    z = [(math.log(a) - math.log(median)) / SIGMA if a > 0 else -40 for a in ages]
    return np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in z])


CURVE = DelayCurve(tuple(AGES.tolist()), tuple(lognormal(AGES).tolist()), {}, 10_000, {}, 3000.0, "lognormal")


def pipeline(rng, per_week, n_weeks, change=None, factor=1.0):
    """Observed and expected early wins per week; from week `change` on, all win hazards are multiplied."""
    n = per_week * n_weeks
    created = np.repeat(np.arange(n_weeks) * 7.0, per_week) + rng.uniform(0, 7, n)
    p = rng.beta(1, 9, n)
    delay = np.where(rng.random(n) < p, np.exp(rng.normal(math.log(14), SIGMA, n)), np.inf)
    won_at = created + delay
    if change is not None:
        won_at = np.where((won_at >= 7 * change) & (rng.random(n) > factor), np.inf, won_at)
    observed, expected = [], []
    for week in range(n_weeks):
        start = 7.0 * week
        is_open = (created <= start) & (won_at > start)
        expected.append(expected_early_wins(p[is_open], start - created[is_open], CURVE))
        observed.append(int((is_open & (won_at <= start + 7)).sum()))
    return np.array(observed), np.array(expected)


def watch(observed, expected):
    state, alarms = RateState(), []
    for k, (o, mu) in enumerate(zip(observed, expected, strict=True)):
        state, readings = watch_early_wins(state, MONDAY + timedelta(weeks=k), float(o), float(mu))
        state = RateState.from_dict(json.loads(json.dumps(state.to_dict())))
        alarms += [(k, reading) for reading in readings if reading.is_alarm]
    return state, alarms


def test_expected_early_wins_are_those_that_come():
    observed, expected = pipeline(np.random.default_rng(0), 400, 60)
    assert observed[30:].sum() == pytest.approx(expected[30:].sum(), rel=0.06)
    assert expected_early_wins([], [], CURVE) == 0.0


def test_quiet_pipelines_raise_no_alarm():
    assert sum(len(watch(*pipeline(np.random.default_rng(seed), 120, 60))[1]) for seed in range(8)) <= 1


def test_a_fall_is_found_and_said_in_plain_words():
    observed, expected = pipeline(np.random.default_rng(3), 300, 60, change=40, factor=0.6)
    _, alarms = watch(observed, expected)
    week, reading = alarms[0]
    assert 40 <= week <= 50
    assert reading.subject == "early wins fall"
    assert -0.75 < reading.effect < -0.2
    assert reading.statistic >= THRESHOLD
    assert reading.words.startswith("early wins are ")
    assert " % below what the model expects since " in reading.words
    since = date.fromisoformat(reading.details["since"])
    assert abs((since - MONDAY).days / 7 - 40) <= 6


def test_a_rise_is_found_on_the_mirror_side_and_the_side_starts_anew():
    rng = np.random.default_rng(4)
    state, alarms = watch(rng.poisson(36, 12), np.full(12, 17.0))
    assert {reading.subject for _, reading in alarms} == {"early wins rise"}
    assert alarms[0][1].effect > 0.5
    assert len(alarms) >= 2
    assert state.low.detector < 2


def test_a_week_of_nothing_is_not_counted_even_after_an_alarm():
    _, readings = watch_early_wins(RateState(), MONDAY, 0, 5)
    assert all("6 January 2025" in one.words for one in readings)
    anew, (alarm, _) = watch_early_wins(RateState(), MONDAY, 0, 60)
    assert alarm.is_alarm
    assert watch_early_wins(anew, MONDAY + timedelta(weeks=1), 0, 0) == (anew, [])
    assert watch_delay(RateState(), MONDAY, 0, 0.0, CURVE) == (RateState(), [])


def cohort_delays(rng, n, median=14.0):
    return np.exp(rng.normal(math.log(median), SIGMA, n))


def test_delay_evidence_is_exponential_while_the_curve_holds():
    wins, evidence = delay_evidence(cohort_delays(np.random.default_rng(5), 20_000), CURVE)
    assert evidence / wins == pytest.approx(1.0, abs=0.03)
    assert delay_evidence([], CURVE) == (0, 0.0)
    assert delay_evidence([np.inf, 400.0], CURVE) == (0, 0.0)


@pytest.mark.parametrize(
    ("median", "subject", "sign"), [(14.0, None, 0), (4.0, "delay sooner", 1), (70.0, "delay later", -1)]
)
def test_a_moved_delay_curve_is_found(median, subject, sign):
    rng = np.random.default_rng(6)
    state, alarms = RateState(), []
    for k in range(40):
        wins, evidence = delay_evidence(cohort_delays(rng, 25, median), CURVE)
        state, readings = watch_delay(state, MONDAY + timedelta(weeks=k), wins, evidence, CURVE)
        alarms += [reading for reading in readings if reading.is_alarm]
    assert {reading.subject for reading in alarms} == ({subject} if subject else set())
    for reading in alarms[:1]:
        assert reading.effect * sign > 0.05
        assert reading.words.startswith("of the wins of a lead's first 30 days ")
        assert not reading.is_page


def wins_of_days(n_days, change, known_by):
    """Six wins a day, that take 10 days on average, and 30 for leads created from day `change` on."""
    rng = np.random.default_rng(7)
    created = np.repeat(np.arange(n_days, dtype=float), 6)
    known = created + rng.exponential(np.where(created < change, 10.0, 30.0))
    seen = known < known_by
    start = np.datetime64(MONDAY, "us")
    days = {"created_at": created[seen], "known_at": known[seen]}
    return pl.DataFrame(
        {name: start + (value * 86_400e6).astype("timedelta64[us]") for name, value in days.items()},
        schema=dict.fromkeys(days, pl.Datetime("us")),
    ).with_columns(pl.all().dt.replace_time_zone("UTC"))


def test_after_an_alarm_the_old_leads_stay_out_of_the_delay_curve():
    def night(day):
        return MONDAY + timedelta(days=day), wins_of_days(day, 700, day)

    as_of, wins = night(700)
    old = first_curve(wins, as_of)
    as_of, wins = night(900)
    alarmed = refit_when_needed(replace(old, alarm_date=as_of.isoformat(), alarm_words="x"), wins, as_of)
    assert alarmed.since == (as_of - timedelta(days=180)).isoformat()
    assert alarmed.curve(7.0) < old.curve(7.0) - 0.1
    as_of, wins = night(901)
    assert refit_when_needed(alarmed, wins, as_of) == alarmed
    as_of, wins = night(1150)
    doubled = refit_when_needed(alarmed, wins, as_of)
    assert doubled.curve_date == as_of.isoformat()
    assert doubled.curve(7.0) == pytest.approx(1 - math.exp(-7 / 30), abs=0.06)
    assert DelayWatch.from_dict(json.loads(json.dumps(doubled.to_dict()))) == doubled


def test_a_delay_watch_stored_before_it_had_a_start_loads():
    watch = DelayWatch(CURVE, "2025-01-06")
    stored = watch.to_dict()
    del stored["since"]
    assert DelayWatch.from_dict(stored) == watch


def test_wins_that_the_curve_leaves_out_do_not_ask_for_a_new_one():
    as_of, wins = MONDAY + timedelta(days=400), wins_of_days(400, 400, 400)
    watch = first_curve(wins, as_of)
    backdated = wins.with_columns(created_at=pl.col("known_at") + timedelta(days=1))
    assert refit_when_needed(watch, pl.concat([wins, backdated]), as_of + timedelta(days=1)) == watch
