"""T2, harm: does the champion's loss on settled labels exceed what it was promoted with?

Whole cohorts (leads created in one week) are scored at fixed ages of 7, 30 and 90 days against "won by then"
with the forecast p F(age); scoring labels in order of arrival would be biased, since wins arrive first. For
each age an e-process tests "mean weekly loss is at most the reference's upper bound + 5 %" (Podkopaev and
Ramdas 2022). Ages see different pasts, so their evidence is not pooled: each has to reach three times the
limit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from features.delay import DelayCurve, FloatArray, expected_wins
from flows.monitors.e_process import Wealth, bet
from flows.monitors.exact import student_t_quantile
from flows.monitors.reading import Reading, day_words, log10, percent

AGES = (7, 30, 90)
TOLERANCE = 0.05
FALSE_ALARM_CHANCE = 0.05
"""Chance that a champion which is no worse than the limit ever raises the alarm."""
REFERENCE_CONFIDENCE = 0.95
MIN_ROWS = 30
MIN_REFERENCE_WEEKS = 6
_CLIP = 1e-4


@dataclass(frozen=True)
class CohortLoss:
    """Mean log-loss (nats) of the leads created in the week from `week` on, at one age in days."""

    week: str
    age: int
    rows: int
    loss: float


@dataclass(frozen=True)
class HarmReference:
    """What the champion's loss was when it was accepted, at one age.

    Attributes
    ----------
    mean, bound : mean weekly loss and its upper 95 % confidence bound.
    scale : losses are clipped at the limit plus and minus this; two standard deviations of a week.
    """

    mean: float
    bound: float
    scale: float

    @property
    def limit(self) -> float:
        """The bound with the tolerance on top."""
        return self.bound * (1 + TOLERANCE)


@dataclass(frozen=True)
class HarmState:
    """References and evidence by age, for one champion (or a line of champions of one recipe); JSON-able.

    Attributes
    ----------
    references, wealth : by age in days.
    done : by age, the last cohort week that was counted, ISO.
    """

    references: Mapping[int, HarmReference]
    wealth: Mapping[int, Wealth] = field(default_factory=dict)
    done: Mapping[int, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HarmState":
        """Return the state that `to_dict` described, before or after JSON made text of the ages."""
        references = {int(age): HarmReference(**one) for age, one in values["references"].items()}
        wealth = {int(age): Wealth.from_dict(one) for age, one in values["wealth"].items()}
        return cls(references, wealth, {int(age): day for age, day in values["done"].items()})


def cohort_losses(
    created: ArrayLike,
    p: ArrayLike,
    delay_days: ArrayLike,
    curve: DelayCurve,
    as_of: date,
    *,
    reporting_lag_days: int = 7,
    ages: Sequence[int] = AGES,
    segment: ArrayLike | None = None,
    first_age: ArrayLike = 0.0,
) -> list[CohortLoss]:
    """Return the mean log-loss of every settled cohort week at each age, oldest first.

    A cohort is settled at an age if its youngest lead was that old `reporting_lag_days` before `as_of`. Weeks
    begin on Mondays; those with fewer than `MIN_ROWS` leads say too little and are left out.

    Parameters
    ----------
    created : dates (n,), datetime64[D] or `datetime.date`; p : chance to win at all, at creation (n,).
    delay_days : creation to known win, infinite or NaN for leads without one (n,).
    first_age : age in days at which a lead was first scored; leads won before are not among them (n,).

    Raises
    ------
    ValueError
        The arrays differ in length.
    """
    day = np.asarray(created, dtype="datetime64[D]")
    chance, delay = np.asarray(p, dtype=np.float64), np.asarray(delay_days, dtype=np.float64)
    if not len(day) == len(chance) == len(delay):
        raise ValueError(f"lengths differ: {len(day)} created, {len(chance)} p, {len(delay)} delay_days")
    number = (day.astype(np.int64) + 3) // 7
    found = []
    for age in ages:
        start = np.broadcast_to(np.minimum(first_age, float(age)), day.shape)
        forecast = expected_wins(chance, curve(start, segment), curve(np.full(len(day), float(age)), segment))
        losses = _log_loss(delay <= age, forecast)
        settled = np.datetime64(as_of) - np.timedelta64(age + reporting_lag_days + 7, "D")
        last = (settled.astype(np.int64) + 3) // 7
        found += [one for one in _by_week(number, losses, age) if _week_number(one.week) <= last]
    return found


def harm_reference(weekly_losses: ArrayLike) -> HarmReference:
    """Summarise weekly losses of rows the champion was not trained on.

    Raises
    ------
    ValueError
        Fewer than `MIN_REFERENCE_WEEKS` weeks.
    """
    losses = np.asarray(weekly_losses, dtype=np.float64)
    if len(losses) < MIN_REFERENCE_WEEKS:
        raise ValueError(f"{len(losses)} reference weeks are too few; {MIN_REFERENCE_WEEKS} are needed")
    mean, deviation = float(losses.mean()), float(losses.std(ddof=1))
    t = student_t_quantile(REFERENCE_CONFIDENCE, len(losses) - 1)
    return HarmReference(mean, mean + t * deviation / math.sqrt(len(losses)), max(2 * deviation, 0.05 * mean))


def watch_harm(state: HarmState, losses: Sequence[CohortLoss]) -> tuple[HarmState, list[Reading]]:
    """Count the cohort weeks that are new and report the evidence after the last of each age.

    Parameters
    ----------
    losses : as `cohort_losses` returns them; weeks counted before, and ages without a reference, are passed
        over.

    Returns
    -------
    HarmState, list of Reading : the readings are those of the ages that were counted.
    """
    wealth, done = dict(state.wealth), dict(state.done)
    latest: dict[int, CohortLoss] = {}
    for one in sorted(losses, key=lambda loss: (loss.age, loss.week)):
        if one.age not in state.references or one.week <= done.get(one.age, ""):
            continue
        reference = state.references[one.age]
        outcome = float(np.clip((one.loss - reference.limit) / reference.scale, -1, 1))
        wealth[one.age] = bet(wealth.get(one.age, Wealth()), outcome, date.fromisoformat(one.week))
        done[one.age] = one.week
        latest[one.age] = one
    new = HarmState(state.references, wealth, done)
    threshold = len(AGES) / FALSE_ALARM_CHANCE
    return new, [
        _reading(one, wealth[age], state.references[age], threshold) for age, one in sorted(latest.items())
    ]


def _reading(newest: CohortLoss, wealth: Wealth, reference: HarmReference, threshold: float) -> Reading:
    recent = np.mean(wealth.recent) * reference.scale + reference.limit
    effect = float(recent / reference.mean - 1)
    is_alarm = wealth.value >= threshold
    direction = "above" if effect >= 0 else "below"
    words = (
        f"loss of whole weeks of leads at age {newest.age} days is {percent(abs(effect))} {direction} its "
        f"reference over the last {len(wealth.recent)} weeks"
    )
    if is_alarm and wealth.since:
        words += f", worse since the week of {day_words(wealth.since)}"
    details = {
        **asdict(reference),
        "limit": reference.limit,
        "weeks": wealth.n,
        "since": wealth.since,
        "newest_week": newest.week,
        "newest_loss": newest.loss,
    }
    subject = f"loss at {newest.age} days"
    value = wealth.value
    return Reading("T2", subject, value, threshold, log10(value), is_alarm, effect, words, details)


def _log_loss(is_won: np.ndarray, forecast: FloatArray) -> FloatArray:
    q = np.clip(forecast, _CLIP, 1 - _CLIP)
    return -np.where(is_won, np.log(q), np.log1p(-q))


def _by_week(number: np.ndarray, losses: FloatArray, age: int) -> list[CohortLoss]:
    weeks, position, rows = np.unique(number, return_inverse=True, return_counts=True)
    sums = np.bincount(position, losses, minlength=len(weeks))
    monday = date(1970, 1, 1) - timedelta(days=3)
    return [
        CohortLoss((monday + timedelta(weeks=int(week))).isoformat(), age, int(n), float(total / n))
        for week, n, total in zip(weeks, rows, sums, strict=True)
        if n >= MIN_ROWS
    ]


def _week_number(week: str) -> int:
    return ((date.fromisoformat(week) - date(1970, 1, 1)).days + 3) // 7
