"""T2, T3 and T5 between SQL and frames: published scores of the weeks that can be counted now."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import polars as pl

from features.delay import DelayCurve
from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.score_history import first_scores, published_dates, scores_of_dates
from flows.adapters.settings import Settings
from flows.monitors.delay_weeks import DelayWatch, delay_note, first_curve, refit_when_needed, watch_delays
from flows.monitors.early_weeks import EarlyState, watch_early
from flows.monitors.harm_weeks import (
    FIRST_SCORE_DAYS,
    HarmWatch,
    first_scored,
    watch_losses,
    weekly_losses,
    weeks_to_settle,
)
from flows.monitors.reading import Reading
from flows.monitors.trigger import annotate
from flows.monitors.weeks import known_wins, weeks_between

WEEK = timedelta(days=7)

Before = Mapping[str, tuple[date, Mapping[str, Any]]]
State = tuple[str, date, Mapping[str, Any]]


def watch_weeks(
    database: Database, settings: Settings, sources: Sources, as_of: date, before: Before, line: str
) -> tuple[list[State], list[Reading], list[str]]:
    """Return the states to keep, the readings of weeks counted tonight, and what cannot be watched yet.

    Parameters
    ----------
    before : states of earlier nights, by monitor.
    line : the champion's recipe.
    """
    wins = known_wins(sources)
    try:
        delay = DelayWatch.from_dict(before["T5"][1]) if "T5" in before else first_curve(wins, as_of)
    except ValueError as error:
        return [], [], [f"T2, T3 and T5: {error}"]
    curve = delay.curve
    delay, found = watch_delays(delay, wins, as_of)
    published = published_dates(database, settings.model_key, as_of)
    early, readings = _early(database, settings, as_of, _early_state(before), wins, curve, published)
    found = annotate(found + readings, delay_note(delay, as_of))
    harm, readings = _harm(
        database, settings, as_of, _harm_state(before, line, as_of), wins, curve, published
    )
    delay = refit_when_needed(delay, wins, as_of)
    states = {"T2": harm.to_dict(), "T3": asdict(early), "T5": delay.to_dict()}
    notes = [] if early.done else ["T3: no model's scores have been out for a whole week"]
    return [(name, as_of, state) for name, state in states.items()], found + readings, harm.notes() + notes


def _early_state(before: Before) -> EarlyState:
    return EarlyState.from_dict(before["T3"][1]) if "T3" in before else EarlyState()


def _harm_state(before: Before, line: str, as_of: date) -> HarmWatch:
    state = HarmWatch.from_dict(before["T2"][1]) if "T2" in before else HarmWatch(line)
    return state if state.line == line else HarmWatch.of_new_line(line, as_of)


def _early(
    database: Database,
    settings: Settings,
    as_of: date,
    state: EarlyState,
    wins: pl.DataFrame,
    curve: DelayCurve,
    published: Sequence[date],
) -> tuple[EarlyState, list[Reading]]:
    if not published:
        return state, []
    done = date.fromisoformat(state.done) if state.done else None
    nights = {week: _night_of(week, published) for week in weeks_between(done, as_of - WEEK, published[0])}
    wanted = {night for night in nights.values() if night is not None}
    scores = scores_of_dates(database, settings.model_key, sorted(wanted))
    weeks = {
        week: scores.filter(pl.col("as_of_date") == night)
        for week, night in nights.items()
        if night is not None
    }
    return watch_early(state, weeks, wins, curve, settings.horizon_days)


def _night_of(week: date, published: Sequence[date]) -> date | None:
    """The newest night up to a Monday whose scores were less than a week old."""
    return max((night for night in published if week - WEEK < night <= week), default=None)


def _harm(
    database: Database,
    settings: Settings,
    as_of: date,
    state: HarmWatch,
    wins: pl.DataFrame,
    curve: DelayCurve,
    published: Sequence[date],
) -> tuple[HarmWatch, list[Reading]]:
    if not published:
        return state, []
    lag, losses = settings.reporting_lag_days, []
    due = weeks_to_settle(state, as_of, published[0], lag)
    for week in sorted({week for weeks in due.values() for week in weeks}):
        last = week + WEEK + timedelta(days=FIRST_SCORE_DAYS)
        scores = first_scores(database, settings.model_key, week, last)
        created = pl.col("created_at").dt.date()
        cohort = first_scored(scores, wins).filter(created >= week, created < week + WEEK)
        losses += weekly_losses(cohort, curve, as_of, settings.horizon_days, lag)
    return watch_losses(state, losses, due)
