"""Bets and detectors: fair under their null, quick against it, the same after a night on disk."""

import json
import math
from dataclasses import asdict
from datetime import date, timedelta

import numpy as np
import pytest

from flows.monitors.e_process import RateState, Wealth, bet, watch_rate

MONDAY = date(2025, 1, 6)


def weeks(n):
    return [MONDAY + timedelta(weeks=k) for k in range(n)]


def run(outcomes):
    state, path = Wealth(), []
    for week, outcome in zip(weeks(len(outcomes)), outcomes, strict=True):
        state = bet(state, float(outcome), week)
        path.append(state.value)
    return state, np.array(path)


def detect(observed, expected):
    state, low, high = RateState(), [], []
    for week, o, mu in zip(weeks(len(observed)), observed, expected, strict=True):
        state = watch_rate(state, week, float(o), float(mu))
        low.append(state.low.detector)
        high.append(state.high.detector)
    return state, np.array(low), np.array(high)


def test_wealth_of_fair_bets_reaches_twenty_in_less_than_one_of_twenty():
    rng = np.random.default_rng(0)
    coins = rng.choice([-1.0, 1.0], (600, 150))
    skewed = np.where(rng.random((600, 150)) < 0.1, 0.9, -0.1)
    for outcomes in (coins, skewed):
        assert np.mean([run(row)[1].max() >= 20 for row in outcomes]) < 0.05


def test_wealth_grows_on_a_small_steady_edge_and_tells_since_when():
    rng = np.random.default_rng(1)
    quiet, bad = rng.normal(-0.3, 0.3, 30), rng.normal(0.4, 0.3, 20)
    state, path = run(np.clip(np.concatenate([quiet, bad]), -1, 1))
    assert path[29] < 1.5
    assert path[-1] > 20
    assert abs((date.fromisoformat(state.since) - weeks(31)[-1]).days) <= 35


def test_first_bet_does_not_know_its_outcome():
    up, down = bet(Wealth(), 1.0, MONDAY).value, bet(Wealth(), -1.0, MONDAY).value
    assert (up + down) / 2 == pytest.approx(1.0)


def test_states_survive_json():
    state, _ = run([0.5, -0.2, 0.9])
    assert Wealth.from_dict(json.loads(json.dumps(asdict(state)))) == state
    rate, _, _ = detect([3, 9], [8, 8])
    assert RateState.from_dict(json.loads(json.dumps(rate.to_dict()))) == rate


def test_one_week_of_the_detector_by_hand():
    ratios = (0.3, 0.45, 0.6)
    state = watch_rate(RateState(), MONDAY, 4, 10, low_ratios=ratios)
    terms = [math.exp(4 * math.log(r / 0.8) - 10 * (r - 0.8)) for r in ratios]
    assert state.low.detector == pytest.approx(sum(terms) / 3)
    second = watch_rate(state, MONDAY + timedelta(weeks=1), 4, 10, low_ratios=ratios)
    assert second.low.detector == pytest.approx((sum(terms) / 3 + 1) * sum(terms) / 3)
    mirror = [math.exp(4 * math.log(1 / (r * 1.25)) - 10 * (1 / r - 1.25)) for r in ratios]
    assert state.high.detector == pytest.approx(sum(mirror) / 3)


@pytest.mark.parametrize("side", ["low", "high"])
def test_each_term_is_an_e_value_on_the_edge_of_its_null(side):
    mean = 6.0 * (0.8 if side == "low" else 1.25)
    chances = [math.exp(o * math.log(mean) - mean - math.lgamma(o + 1)) for o in range(120)]
    first = [getattr(watch_rate(RateState(), MONDAY, o, 6.0), side).detector for o in range(120)]
    assert np.dot(chances, first) == pytest.approx(1.0, abs=1e-9)


def test_mean_run_to_a_false_alarm_on_the_edge_of_the_null_is_long():
    rng = np.random.default_rng(3)
    alarms = total = 0
    for _ in range(60):
        low = detect(rng.poisson(17 * 0.8, 104), np.full(104, 17.0))[1]
        crossed = np.flatnonzero(low >= 208)
        alarms += len(crossed) > 0
        total += crossed[0] + 1 if len(crossed) else 104
    assert total / max(alarms, 1) > 208


def test_a_change_late_is_found_as_soon_as_a_change_early():
    rng = np.random.default_rng(4)
    delays = {0: [], 80: []}
    for start in delays:
        for _ in range(40):
            rate = np.where(np.arange(start + 40) < start, 17.0, 0.6 * 17)
            low = detect(rng.poisson(rate), np.full(start + 40, 17.0))[1]
            found = np.flatnonzero(low[start:] >= 208)
            delays[start].append(found[0] + 1 if len(found) else math.inf)
    assert np.median(delays[80]) <= np.median(delays[0]) + 1
    assert np.median(delays[0]) <= 9


def test_nothing_expected_and_nothing_seen_is_no_evidence():
    state = watch_rate(RateState(), MONDAY, 4, 10)
    assert watch_rate(state, MONDAY + timedelta(weeks=1), 0, 0) == state
    huge = watch_rate(RateState(), MONDAY, 1e6, 1.0)
    assert math.isfinite(huge.high.detector)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bet(Wealth(), 1.01, MONDAY), "scale and clip"),
        (lambda: bet(Wealth(), math.nan, MONDAY), "scale and clip"),
        (lambda: watch_rate(RateState(), MONDAY, -1, 3), "not negative"),
        (lambda: watch_rate(RateState(), MONDAY, 1, math.inf), "must be finite"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
