"""From published scores and known outcomes to whole weeks, the unit of T2, T3 and T5.

A published score is the chance of a win within the horizon, of a lead open on that night. The monitors need
the chance to win at all, as it was at creation: with q = p (F(s + h) - F(s)) / (1 - p F(s)) at age s, that is
p = q / (F(s + h) - F(s) + q F(s)).
"""

from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from features.delay import DelayCurve, FloatArray
from features.sources import Sources
from flows.monitors.reading import Reading

MICROSECONDS_A_DAY = 86_400e6
_ALMOST_ONE = 1 - 1e-6


def chance_at_all(probability: ArrayLike, age_days: ArrayLike, curve: DelayCurve, horizon: int) -> FloatArray:
    """Return the chance to win at all, at creation, behind published probabilities of open leads.

    Parameters
    ----------
    probability : chance of a win within `horizon` days, inside (0, 1) (n,).
    age_days : of each lead when it was scored (n,).
    """
    q, age = np.asarray(probability, dtype=np.float64), np.maximum(np.asarray(age_days, dtype=np.float64), 0)
    now, then = curve(age), curve(age + horizon)
    whole = then - now + q * now
    return np.minimum(np.divide(q, whole, out=np.ones_like(q), where=whole > 0), _ALMOST_ONE)


def known_wins(sources: Sources) -> pl.DataFrame:
    """Return lead_id, created_at and known_at (null: no win known) of every lead."""
    wins = sources.outcome.filter(pl.col("is_conversion")).group_by("lead_id").agg(pl.col("known_at").min())
    return sources.lead.select("lead_id", "created_at").join(wins, on="lead_id", how="left")


def monday(day: date) -> date:
    """Return the Monday of the week of `day`."""
    return day - timedelta(days=day.weekday())


def weeks_between(done: date | None, last: date, first: date) -> list[date]:
    """Return the Mondays after `done`, from `first` at the earliest, up to `last`."""
    start = monday(first) + timedelta(days=7 if first.weekday() else 0)
    if done is not None:
        start = max(start, monday(done) + timedelta(days=7))
    n = (monday(last) - start).days // 7 + 1
    return [start + timedelta(weeks=k) for k in range(max(n, 0))]


def last_words(readings: Iterable[Reading]) -> list[Reading]:
    """Keep the newest reading of each subject, but let no quiet week hide an alarm of the same night."""
    kept: dict[str, Reading] = {}
    for one in readings:
        if one.is_alarm or one.subject not in kept or not kept[one.subject].is_alarm:
            kept[one.subject] = one
    return list(kept.values())
