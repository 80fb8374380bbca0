"""T2: settled cohorts only, a promise kept while nothing is worse, an alarm once something is."""

import json
import math
from datetime import date, timedelta

import numpy as np
import pytest

from features.delay import DelayCurve
from flows.monitors.harm import AGES, CohortLoss, HarmState, cohort_losses, harm_reference, watch_harm
from flows.monitors.harm_weeks import REFERENCE_WEEKS, HarmWatch, watch_losses, weeks_to_settle
from flows.monitors.trigger import triggers

AS_OF = date(2025, 6, 2)
CURVE = DelayCurve((0.0, 7.0, 30.0, 90.0), (0.0, 0.4, 0.7, 1.0), {}, 1000, {}, 90.0, "observed")


def leads(rng, n, weeks, strength=1.0, factor=1.0):
    """Leads of `weeks` weeks before AS_OF; their odds to win are `factor` times the forecast ones."""
    created = np.datetime64(AS_OF) - rng.integers(1, 7 * weeks, n)
    p = 1 / (1 + np.exp(2.2 - strength * rng.normal(size=n)))
    odds = factor * p / (1 - p)
    won = rng.random(n) < odds / (1 + odds)
    delay = np.where(won, np.interp(rng.random(n), CURVE.pooled, CURVE.ages), np.inf)
    return created, p, delay


def test_losses_by_hand_for_whole_settled_weeks():
    created = np.repeat(np.array(["2025-05-05", "2025-05-19"], dtype="datetime64[D]"), 40)
    p = np.full(80, 0.5)
    delay = np.where(np.arange(80) % 4 == 0, 3.0, np.inf)
    found = cohort_losses(created, p, delay, CURVE, AS_OF, reporting_lag_days=7)
    assert [(one.week, one.age, one.rows) for one in found] == [("2025-05-05", 7, 40)]
    q = 0.5 * 0.4
    assert found[0].loss == pytest.approx(-(0.25 * math.log(q) + 0.75 * math.log(1 - q)))
    later = cohort_losses(created, p, delay, CURVE, date(2025, 6, 9), reporting_lag_days=7)
    assert [(one.week, one.age) for one in later] == [("2025-05-05", 7), ("2025-05-19", 7)]


def test_wins_after_the_age_do_not_count_and_small_weeks_are_left_out():
    created = np.repeat(np.array(["2025-02-03", "2025-02-10"], dtype="datetime64[D]"), [40, 29])
    delay = np.full(69, 20.0)
    found = {one.age: one for one in cohort_losses(created, np.full(69, 0.5), delay, CURVE, AS_OF)}
    assert {one.week for one in found.values()} == {"2025-02-03"}
    assert found[7].loss == pytest.approx(-math.log(1 - 0.2))
    assert found[30].loss == pytest.approx(-math.log(0.35))


def test_order_of_leads_is_irrelevant():
    created, p, delay = leads(np.random.default_rng(0), 3000, 20)
    order = np.random.default_rng(1).permutation(3000)
    a = cohort_losses(created, p, delay, CURVE, AS_OF)
    b = cohort_losses(created[order], p[order], delay[order], CURVE, AS_OF)
    assert [(x.week, x.age, x.rows) for x in a] == [(x.week, x.age, x.rows) for x in b]
    assert [x.loss for x in a] == pytest.approx([x.loss for x in b])


def weekly(losses, age=7, start=date(2025, 1, 6)):
    return [
        CohortLoss((start + timedelta(weeks=k)).isoformat(), age, 100, float(x)) for k, x in enumerate(losses)
    ]


def fresh(rng, mean=0.3, noise=0.04, ages=AGES):
    return HarmState({age: harm_reference(rng.normal(mean, noise, 12)) for age in ages})


def test_an_equal_champion_hardly_ever_raises_the_alarm():
    alarms = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        _, readings = watch_harm(
            fresh(rng), [x for age in AGES for x in weekly(rng.normal(0.3, 0.04, 60), age)]
        )
        alarms += any(reading.is_alarm for reading in readings)
    assert alarms <= 5


def test_a_champion_on_the_edge_keeps_the_promise():
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        state = fresh(rng, ages=(7,))
        worst = state.references[7].limit
        path, alarmed = state, False
        for one in weekly(rng.normal(worst, 0.04, 80)):
            path, readings = watch_harm(path, [one])
            alarmed |= readings[0].is_alarm
        alarms += alarmed
    assert alarms / 200 < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)


def test_a_third_more_loss_is_found_within_months():
    rng = np.random.default_rng(7)
    state, first = fresh(rng), None
    for k, one in enumerate(weekly(np.concatenate([rng.normal(0.3, 0.04, 20), rng.normal(0.42, 0.04, 20)]))):
        state, readings = watch_harm(state, [one])
        state = HarmState.from_dict(json.loads(json.dumps(state.to_dict())))
        if readings[0].is_alarm:
            first = first or (k, readings[0])
    assert first is not None
    week, reading = first
    assert 20 <= week <= 34
    assert reading.words.startswith("loss of whole weeks of leads at age 7 days is ")
    assert "worse since the week of" in reading.words
    assert reading.effect > 0.1


def test_weeks_count_once_and_unknown_ages_not_at_all():
    rng = np.random.default_rng(8)
    state = fresh(rng, ages=(7,))
    losses = weekly(rng.normal(0.3, 0.04, 5))
    once, readings = watch_harm(state, losses)
    assert [r.subject for r in readings] == ["loss at 7 days"]
    assert watch_harm(once, losses + weekly([9.0], age=30)) == (once, [])


def test_another_recipe_begins_with_cohorts_of_its_own():
    """Leads created before it came into force were first scored by the recipe before."""
    old = HarmWatch("old", {}, HarmState({}, {}, dict.fromkeys(AGES, "2025-01-06")))
    for change in (date(2025, 6, 2), date(2025, 6, 4)):  # a Monday, a Wednesday
        new = old.of_new_line("new", change)
        weeks = weeks_to_settle(new, change + timedelta(days=150), date(2024, 1, 1), 7)[7]
        assert weeks[0] >= change
        assert weeks[0] - change < timedelta(days=7)
        assert (new.line, new.burn_in, new.harm.references) == ("new", {}, {})


def due(losses):
    return {
        age: [date.fromisoformat(one.week) for one in losses if one.age == age]
        for age in dict.fromkeys(one.age for one in losses)
    }


def test_weeks_caught_up_in_one_night_raise_the_alarm_they_raise_one_by_one():
    """Good weeks at the end of an outage must not hide what the bad ones before them proved."""
    rng = np.random.default_rng(10)
    means = np.repeat([0.3, 0.45, 0.2], [REFERENCE_WEEKS, 8, 6])
    losses = [one for age in (7, 30) for one in weekly(rng.normal(means, 0.03), age)]
    slowly, alarms = HarmWatch(), []
    for one in losses:
        slowly, readings = watch_losses(slowly, [one], due([one]))
        alarms += [reading for reading in readings if reading.is_alarm]
    at_once, readings = watch_losses(HarmWatch(), losses, due(losses))
    assert len(alarms) == 2
    assert readings == alarms
    assert at_once == slowly


def test_weeks_with_too_few_leads_are_passed_and_named():
    state, first, as_of = HarmWatch(), date(2025, 1, 6), date(2025, 3, 24)
    losses = weekly(np.full(5, 0.3), 7, first)  # five weeks of nine at 7 days
    weeks = weeks_to_settle(state, as_of, first, 7)
    assert [len(found) for found in weeks.values()] == [9, 5, 0]
    state, _ = watch_losses(state, losses, weeks)
    state = HarmWatch.from_dict(json.loads(json.dumps(state.to_dict())))
    assert state.notes() == [
        "T2 at 7 days: 5 of 13 reference weeks; 4 weeks had fewer than 30 newly scored leads",
        "T2 at 30 days: 0 of 13 reference weeks; 5 weeks had fewer than 30 newly scored leads",
        "T2 at 90 days: 0 of 13 reference weeks",
    ]
    assert not any(weeks_to_settle(state, as_of, first, 7).values()), "they are not asked for again"


def test_weeks_with_too_few_leads_are_named_after_the_reference_until_one_is_counted():
    enough = weekly(np.linspace(0.29, 0.31, REFERENCE_WEEKS))
    state, _ = watch_losses(HarmWatch(), enough, due(enough))
    assert not any("at 7 days" in note for note in state.notes())
    weeks = [date.fromisoformat(enough[-1].week) + timedelta(weeks=k) for k in (1, 2)]
    state, _ = watch_losses(state, [], {7: weeks[:1]})
    assert state.notes()[0] == (
        "T2 at 7 days: since the last reading 1 week had fewer than 30 newly scored leads"
    )
    state, readings = watch_losses(state, weekly([0.3], start=weeks[1]), {7: weeks[1:]})
    assert [one.subject for one in readings] == ["loss at 7 days"]
    assert not any("at 7 days" in note for note in state.notes())


def test_a_state_from_before_thin_weeks_were_counted_is_read():
    values = HarmWatch("line").to_dict()
    del values["thin"]
    assert HarmWatch.from_dict(values) == HarmWatch("line")


def test_one_fall_seen_at_three_ages_is_one_cause():
    rng = np.random.default_rng(9)
    calm = cohort_losses(*leads(rng, 12_000, 40), CURVE, AS_OF)
    state = HarmState({age: harm_reference([x.loss for x in calm if x.age == age]) for age in AGES})
    _, readings = watch_harm(state, cohort_losses(*leads(rng, 12_000, 40, factor=4.0), CURVE, AS_OF))
    (asked,) = triggers(readings)
    assert (asked.cause, asked.evidence) == ("T2 loss", max(one.evidence for one in readings))
    assert all(f"at age {age} days" in asked.reason for age in AGES)


def test_a_full_run_on_leads_whose_odds_halve():
    rng = np.random.default_rng(9)
    calm = cohort_losses(*leads(rng, 12_000, 40), CURVE, AS_OF)
    state = HarmState({age: harm_reference([x.loss for x in calm if x.age == age]) for age in AGES})
    worse = cohort_losses(*leads(rng, 12_000, 40, factor=4.0), CURVE, AS_OF)
    _, same = watch_harm(state, cohort_losses(*leads(rng, 12_000, 40), CURVE, AS_OF))
    _, changed = watch_harm(state, worse)
    assert not any(reading.is_alarm for reading in same)
    assert all(reading.is_alarm for reading in changed)


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="5 reference weeks are too few; 6 are needed"):
        harm_reference([0.3] * 5)
    with pytest.raises(ValueError, match="lengths differ: 1 created, 2 p"):
        cohort_losses(["2025-01-01"], [0.1, 0.2], [1.0], CURVE, AS_OF)
