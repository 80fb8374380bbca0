"""Promotion rules and the evidence that takes a promotion back."""

import json
from dataclasses import asdict
from datetime import date, timedelta

import numpy as np
import pytest

from flows.monitors.compare import PairState, compare, judge, watch_pair

AS_OF = date(2025, 6, 2)
MONDAY = date(2025, 1, 6)


def losses(seed, gain, weeks=16, paired_noise=0.003):
    """Weekly losses of champion and challenger that share a large weekly swing; `gain` is relative."""
    rng = np.random.default_rng(seed)
    champion = 0.3 * np.exp(rng.normal(0, 0.15, weeks))
    challenger = champion * (1 - gain) + rng.normal(0, paired_noise, weeks)
    return champion, challenger, rng.integers(80, 200, weeks)


def test_gain_is_the_ratio_of_total_losses():
    result = compare([0.2] * 8, [0.1] * 8, [10] * 8)
    assert (result.weeks, result.log_loss_gain, result.log_loss_gain_lower) == (8, 0.5, 0.5)
    assert compare([0.2, 0.4] * 4, [0.2, 0.2] * 4, [30, 10] * 4).log_loss_gain == pytest.approx(0.2)


def test_lower_bound_covers_the_truth_nineteen_times_of_twenty():
    lower = [
        compare(*losses(seed, 0.01, weeks=24), n_resamples=400).log_loss_gain_lower for seed in range(250)
    ]
    assert 0.9 <= np.mean(np.array(lower) <= 0.01) <= 0.99


def test_pairing_removes_what_the_weeks_share():
    champion, challenger, rows = losses(0, 0.01)
    result = compare(champion, challenger, rows)
    assert result.log_loss_gain - result.log_loss_gain_lower < 0.01
    assert np.std(champion) / np.mean(champion) > 0.1


def test_blocks_widen_the_bound_where_weeks_hang_together():
    rng = np.random.default_rng(1)
    walk = np.repeat(rng.normal(0, 0.02, 8), 4)
    champion, rows = np.full(32, 0.3), np.full(32, 100)
    single = compare(champion, champion + walk, rows)
    blocks = compare(champion, champion + walk, rows, block_weeks=4)
    assert blocks.log_loss_gain_lower < single.log_loss_gain_lower


def test_same_seed_same_numbers():
    assert compare(*losses(2, 0.01), seed=3) == compare(*losses(2, 0.01), seed=3)


@pytest.mark.parametrize(
    ("gain", "is_new_recipe", "is_promoted"),
    [(0.0, False, True), (-0.02, False, False), (0.0, True, False), (0.02, True, True)],
)
def test_the_same_recipe_must_not_be_worse_and_a_new_one_must_be_better(gain, is_new_recipe, is_promoted):
    result = compare(*losses(4, gain, weeks=24, paired_noise=0.001))
    verdict = judge(result, is_new_recipe=is_new_recipe, as_of=AS_OF)
    assert verdict.is_promoted is is_promoted
    assert bool(verdict.reasons) is not is_promoted
    json.dumps(asdict(verdict))


def test_same_data_twice_is_never_superior_by_luck_more_than_one_in_twenty():
    wins = [
        judge(
            compare(*losses(seed, 0.0, weeks=24), n_resamples=400), is_new_recipe=True, as_of=AS_OF
        ).is_promoted
        for seed in range(200)
    ]
    assert np.mean(wins) < 0.1


def test_recipes_rest_for_fourteen_days():
    result = compare(*losses(5, 0.05))
    for days, is_promoted in ((13, False), (14, True)):
        change = AS_OF - timedelta(days=days)
        verdict = judge(result, is_new_recipe=True, as_of=AS_OF, last_recipe_change=change)
        assert verdict.is_promoted is is_promoted
    assert judge(result, is_new_recipe=False, as_of=AS_OF, last_recipe_change=AS_OF).is_promoted


def test_worse_precision_stops_a_better_loss():
    champion, challenger, rows = losses(7, 0.05)
    precision = np.linspace(0.3, 0.4, 16)
    noise = np.random.default_rng(0).normal(0, 0.01, 16)
    worse = compare(
        champion,
        challenger,
        rows,
        champion_precision=precision,
        challenger_precision=precision - 0.05 + noise,
    )
    assert worse.precision_gain == pytest.approx(-0.05, abs=0.01)
    verdict = judge(worse, is_new_recipe=False, as_of=AS_OF)
    assert verdict.reasons == ("precision at capacity within one standard error",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [1] * 7}, "lengths differ"),
        ({"champion_loss": [0.1] * 3, "challenger_loss": [0.1] * 3, "rows": [1] * 3}, "3 weeks are too few"),
        ({"champion_loss": [float("nan")] * 8}, "must be finite"),
        ({"block_weeks": 9}, "block_weeks=9 must be between 1 and 8"),
        (
            {"champion_precision": [0.1] * 8, "challenger_precision": [float("inf")] * 8},
            "precision needs 8 finite",
        ),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"champion_loss": [0.1] * 8, "challenger_loss": [0.1] * 8, "rows": [1] * 8}
    with pytest.raises(ValueError, match=message):
        compare(**(arguments | change))


def pair_weeks(seed, harm, n=52, noise=0.01):
    rng = np.random.default_rng(seed)
    previous = 0.3 * np.exp(rng.normal(0, 0.15, n))
    in_use = previous * (1 + harm) + rng.normal(0, noise, n)
    return [
        (MONDAY + timedelta(weeks=k), float(a), float(b))
        for k, (a, b) in enumerate(zip(in_use, previous, strict=True))
    ]


def ever(weeks):
    state = PairState()
    for k, week in enumerate(weeks):
        state, reading = watch_pair(state, [week])
        state = PairState.from_dict(json.loads(json.dumps(state.to_dict())))
        if reading.is_alarm:
            return k, reading
    return None


def test_equal_models_are_rolled_back_in_less_than_one_of_twenty():
    assert np.mean([ever(pair_weeks(seed, 0.0)) is not None for seed in range(250)]) < 0.05


def test_a_worse_model_is_rolled_back_within_weeks():
    found = [ever(pair_weeks(seed, 0.06)) for seed in range(30)]
    assert all(found)
    assert np.median([week for week, _ in found]) <= 12
    assert " more than the previous one, evidence since the week of " in found[0][1].words


def test_a_better_model_stays():
    assert not any(ever(pair_weeks(seed, -0.05)) for seed in range(60))


def test_weeks_count_once_and_identical_models_are_no_evidence():
    weeks = pair_weeks(0, 0.05, n=6)
    once, _ = watch_pair(PairState(), weeks)
    assert watch_pair(once, weeks)[0] == once
    same, reading = watch_pair(PairState(), [(day, b, b) for day, _, b in weeks])
    assert same.wealth.value == 1.0
    assert not reading.is_alarm
    assert watch_pair(PairState(), [])[1].statistic == 1.0
