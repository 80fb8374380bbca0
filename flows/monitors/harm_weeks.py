"""T2 week by week: what the usual loss of the champion's line is, and which cohorts have settled since."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from features.delay import DelayCurve
from features.sources import Datetime
from flows.monitors.harm import (
    AGES,
    MIN_ROWS,
    CohortLoss,
    HarmState,
    cohort_losses,
    harm_reference,
    watch_harm,
)
from flows.monitors.reading import Reading
from flows.monitors.weeks import MICROSECONDS_A_DAY, chance_at_all, last_words, monday, weeks_between

REFERENCE_WEEKS = 13
"""Settled weeks, scored by the champion's line, that say what its usual loss is. In 40 quiet simulated years
8 weeks gave one false alarm, 10 to 20 none."""
FIRST_SCORE_DAYS = 7
"""A lead first scored later than this was not seen as a new one: it belongs to no cohort."""


@dataclass(frozen=True)
class HarmWatch:
    """T2 between nights; JSON-able.

    Attributes
    ----------
    line : what is watched: the champion's recipe. Another recipe starts anew with its own cohorts.
    burn_in : by age, weekly losses that will become the reference.
    harm : references and evidence so far; `done` passes weeks with too few leads as well.
    thin : by age, how many weeks had too few leads, since the beginning where there is no reference yet,
        else since the last week that was counted.
    """

    line: str = ""
    burn_in: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    harm: HarmState = field(default_factory=lambda: HarmState({}))
    thin: Mapping[int, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def of_new_line(cls, line: str, as_of: date) -> "HarmWatch":
        """Return a fresh state for another recipe: its first cohort is created after it came into force.

        Older cohorts were first scored by the recipe before: their losses are no reference for this one.

        Parameters
        ----------
        as_of : the first night that finds the recipe in force.
        """
        last_of_others = monday(as_of - timedelta(days=1)).isoformat()
        return cls(line, {}, HarmState({}, {}, dict.fromkeys(AGES, last_of_others)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HarmWatch":
        """Return the state that `to_dict` described, before or after JSON made text of the ages."""
        burn_in = {int(age): tuple(losses) for age, losses in values["burn_in"].items()}
        thin = {int(age): n for age, n in values.get("thin", {}).items()}  # older states have none
        return cls(values["line"], burn_in, HarmState.from_dict(values["harm"]), thin)

    def notes(self) -> list[str]:
        """Return which ages cannot judge yet, or have not of late, and why."""
        return [note for age in AGES if (note := self._note(age)) is not None]

    def _note(self, age: int) -> str | None:
        n = self.thin.get(age, 0)
        few = f"{n} week{'s' * (n != 1)} had fewer than {MIN_ROWS} newly scored leads"
        if age not in self.harm.references:
            found = f"{len(self.burn_in.get(age, ()))} of {REFERENCE_WEEKS} reference weeks"
            return f"T2 at {age} days: {found}" + (f"; {few}" if n else "")
        return f"T2 at {age} days: since the last reading {few}" if n else None


def first_scored(scores: pl.DataFrame, wins: pl.DataFrame) -> pl.DataFrame:
    """Return created_at, known_at, probability and first_age of leads that were scored when they were new.

    Parameters
    ----------
    scores : lead_id, as_of_date and probability of each lead's first published score.
    """
    age = (pl.col("as_of_date").cast(Datetime) - pl.col("created_at")).dt.total_microseconds()
    rows = scores.join(wins, on="lead_id", how="inner").with_columns(first_age=age / MICROSECONDS_A_DAY)
    is_open = pl.col("known_at").is_null() | (pl.col("known_at") >= pl.col("as_of_date").cast(Datetime))
    return rows.filter(pl.col("first_age").is_between(0, FIRST_SCORE_DAYS), is_open)


def weekly_losses(
    rows: pl.DataFrame, curve: DelayCurve, as_of: date, horizon: int, reporting_lag_days: int
) -> list[CohortLoss]:
    """Return the losses of settled cohort weeks of `first_scored` leads."""
    created, age = rows["created_at"], rows["first_age"].to_numpy()
    delay = (rows["known_at"] - created).dt.total_microseconds().cast(pl.Float64) / MICROSECONDS_A_DAY
    p = chance_at_all(rows["probability"].to_numpy(), age, curve, horizon)
    return cohort_losses(
        created.dt.date().to_numpy(),
        p,
        delay.fill_null(np.inf).to_numpy(),
        curve,
        as_of,
        reporting_lag_days=reporting_lag_days,
        first_age=age,
    )


def watch_losses(
    state: HarmWatch, losses: Iterable[CohortLoss], due: Mapping[int, Sequence[date]]
) -> tuple[HarmWatch, list[Reading]]:
    """Fill the reference, then watch; an age that raised the alarm starts anew with the same reference.

    The evidence is looked at after every week: good weeks of the same night take back no alarm.

    Parameters
    ----------
    due : of `weeks_to_settle`; weeks without a loss had too few leads, and are not asked for again.
    """
    found: list[Reading] = []
    known = {(one.age, one.week): one for one in losses}
    for age, weeks in due.items():
        for week in weeks:
            one = known.get((age, week.isoformat()))
            if one is None:
                state = _passed(state, age, week)
            elif age in state.harm.references:
                state, readings = _watched(state, one)
                found += readings
            else:
                state = _burnt_in(state, one)
    return state, last_words(found)


def _passed(state: HarmWatch, age: int, week: date) -> HarmWatch:
    harm = replace(state.harm, done={**state.harm.done, age: week.isoformat()})
    return replace(state, harm=harm, thin={**state.thin, age: state.thin.get(age, 0) + 1})


def _watched(state: HarmWatch, one: CohortLoss) -> tuple[HarmWatch, list[Reading]]:
    harm, readings = watch_harm(state.harm, [one])
    if readings[0].is_alarm:
        harm = replace(harm, wealth=_without(harm.wealth, one.age))
    return replace(state, harm=harm, thin=_without(state.thin, one.age)), readings


def _burnt_in(state: HarmWatch, one: CohortLoss) -> HarmWatch:
    losses = (*state.burn_in.get(one.age, ()), one.loss)
    harm = replace(state.harm, done={**state.harm.done, one.age: one.week})
    if len(losses) < REFERENCE_WEEKS:
        return replace(state, burn_in={**state.burn_in, one.age: losses}, harm=harm)
    harm = replace(harm, references={**harm.references, one.age: harm_reference(losses)})
    burn_in, thin = _without(state.burn_in, one.age), _without(state.thin, one.age)
    return replace(state, burn_in=burn_in, harm=harm, thin=thin)


def _without(by_age: Mapping[int, Any], age: int) -> dict[int, Any]:
    return {other: one for other, one in by_age.items() if other != age}


def weeks_to_settle(
    state: HarmWatch, as_of: date, first: date, reporting_lag_days: int
) -> dict[int, list[date]]:
    """Return by age the Mondays of the cohorts that have settled since; none begins before `first`."""
    due = {}
    for age in AGES:
        done = state.harm.done.get(age)
        last = as_of - timedelta(days=age + reporting_lag_days + 7)
        due[age] = weeks_between(date.fromisoformat(done) if done else None, last, first)
    return due
