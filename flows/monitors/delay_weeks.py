"""T5 week by week, and the delay curve that T2 and T3 compare with."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from features.delay import DelayCurve
from features.delay_estimation import estimate_delay_curve
from features.sources import midnight
from flows.monitors.delay_drift import AGE_LIMIT, delay_evidence, watch_delay
from flows.monitors.e_process import RateState
from flows.monitors.reading import Reading
from flows.monitors.weeks import MICROSECONDS_A_DAY, last_words, weeks_between

RECENT_DAYS = 180
NOTE_DAYS = 28


@dataclass(frozen=True)
class DelayWatch:
    """T5 between nights, and the delay curve all monitors use; JSON-able.

    Attributes
    ----------
    curve, curve_date : F, and the date as of which it was estimated.
    done : the last cohort week counted.
    alarm_date, alarm_words : of the last alarm.
    since : F is estimated from leads created from this day on; None takes all.
    """

    curve: DelayCurve
    curve_date: str
    rate: RateState = field(default_factory=RateState)
    done: str | None = None
    alarm_date: str | None = None
    alarm_words: str = ""
    since: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**asdict(self), "curve": self.curve.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DelayWatch":
        """Return the state that `to_dict` described."""
        parts = {"curve": DelayCurve.from_dict(values["curve"]), "rate": RateState.from_dict(values["rate"])}
        return cls(**{**values, **parts})


def watch_delays(state: DelayWatch, wins: pl.DataFrame, as_of: date) -> tuple[DelayWatch, list[Reading]]:
    """Count the delays of cohorts that are `AGE_LIMIT` days old and not part of what F was estimated from."""
    old_enough = timedelta(days=int(AGE_LIMIT) + 7)
    first = date.fromisoformat(state.curve_date) - old_enough
    done = date.fromisoformat(state.done) if state.done else None
    found: list[Reading] = []
    for week in weeks_between(done, as_of - old_enough, first):
        counted = delay_evidence(_delays_of(wins, week), state.curve)
        rate, readings = watch_delay(state.rate, week, *counted, state.curve)
        state = replace(state, rate=rate, done=week.isoformat())
        found += readings
        alarms = [one for one in readings if one.is_alarm]
        if alarms:
            state = replace(state, alarm_date=as_of.isoformat(), alarm_words=alarms[0].words)
    return state, last_words(found)


def _delays_of(wins: pl.DataFrame, week: date) -> np.ndarray:
    start, end = pl.lit(midnight(week)), pl.lit(midnight(week + timedelta(days=7)))
    cohort = wins.filter(
        pl.col("created_at") >= start, pl.col("created_at") < end, pl.col("known_at").is_not_null()
    )
    return cohort.select(_delay_days()).to_series().to_numpy()


def _delay_days() -> pl.Expr:
    return (pl.col("known_at") - pl.col("created_at")).dt.total_microseconds() / MICROSECONDS_A_DAY


def first_curve(wins: pl.DataFrame, as_of: date) -> DelayWatch:
    """Estimate F from all wins known.

    Raises
    ------
    ValueError
        They are too few.
    """
    return DelayWatch(_estimate(wins, as_of), as_of.isoformat())


def refit_when_needed(state: DelayWatch, wins: pl.DataFrame, as_of: date) -> DelayWatch:
    """Estimate F anew after tonight's alarm, or when twice as many wins are known as it was made from.

    After an alarm only leads of the last `RECENT_DAYS` are used, where they are enough: F has changed. Later
    estimates keep to leads created since then, so that the old F does not come back with the old leads.
    """
    is_alarm = state.alarm_date == as_of.isoformat()
    if not is_alarm and _n_like_used(state, wins) < 2 * state.curve.n_wins:
        return state
    recent = (as_of - timedelta(days=RECENT_DAYS)).isoformat()
    for since in [recent, state.since] if is_alarm else [state.since]:
        with suppress(ValueError):
            curve = _estimate(_created_since(wins, since), as_of)
            return replace(state, curve=curve, curve_date=as_of.isoformat(), rate=RateState(), since=since)
    return state


def _created_since(wins: pl.DataFrame, since: str | None) -> pl.DataFrame:
    return wins if since is None else wins.filter(pl.col("created_at") >= midnight(date.fromisoformat(since)))


def _n_like_used(state: DelayWatch, wins: pl.DataFrame) -> int:
    """Count the known wins of the kind that `DelayCurve.n_wins` counts."""
    counted = _delay_days().is_between(0.0, state.curve.support_days, closed="left")
    return _created_since(wins, state.since).filter(counted).height


def delay_note(state: DelayWatch, as_of: date) -> str | None:
    """Say what T3's readers should know of the delay curve, or None."""
    if state.alarm_date is None or (as_of - date.fromisoformat(state.alarm_date)).days >= NOTE_DAYS:
        return None
    return f"part of it may be timing: {state.alarm_words}"


def _estimate(wins: pl.DataFrame, as_of: date) -> DelayCurve:
    return estimate_delay_curve(wins.drop_nulls("known_at"), as_of, tail="lognormal")
