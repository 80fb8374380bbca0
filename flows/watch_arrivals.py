"""T1 between SQL and frames: profiles of days are kept, missing ones made, nights left out caught up."""

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.migrations import today
from flows.adapters.monitor_state import load_series, load_states
from flows.adapters.settings import Settings
from flows.monitors.arrivals import (
    Watched,
    arrivals,
    days_to_watch,
    profiles_by_day,
    rows_by_day,
    watch_arrivals,
)
from flows.monitors.integrity_state import KEPT_DAYS, IntegrityState
from flows.monitors.profile import Profile
from flows.monitors.reading import Reading

DAY = timedelta(days=1)

State = tuple[str, date, Mapping[str, Any]]


def watch_tables(
    database: Database, settings: Settings, sources: Sources, as_of: date, is_replay: bool = False
) -> tuple[list[State], list[Reading], list[str]]:
    """Return T1's states to keep, the readings worth keeping, and the tables that cannot be judged yet.

    A day's profile is kept under the date of the night that followed it. A night of the past keeps the one
    that was made when it was fresh; a replay sees all of its nights alike, so that it compares each as fresh.
    """
    frames, key = arrivals(sources), settings.model_key
    before = load_states(database, key, as_of, [_alarms(table) for table in frames])
    states = {t: IntegrityState.from_dict(before[_alarms(t)][1]) for t in frames if _alarms(t) in before}
    known, made = {}, {}
    is_past = not is_replay and as_of < today(database)
    seen_until, fresh_day = (as_of + DAY, None) if is_past else (as_of, as_of - DAY)
    for table, frame in frames.items():
        old = _stored(database, key, table, as_of, seen_until)
        made[table] = _missing(table, frame, old, as_of, fresh_day)
        if old or made[table]:
            known[table] = old | made[table]
    days = days_to_watch(max((day for day, _ in before.values()), default=None), as_of)
    counted = {table: rows_by_day(frames[table]) for table in known}
    holidays = read_holidays(settings.holidays_file, {day for own in known.values() for day in own})
    found = watch_arrivals(states, known, counted, days, holidays)
    return _to_keep(found, made, as_of), _worth_keeping(found.readings), found.notes


def read_holidays(path: Path | None, days: Collection[date]) -> frozenset[date]:
    """Return those of `days` that the file names, by `2026-12-25` or, for every year, `12-25`.

    Raises
    ------
    ValueError
        A line is neither; empty lines and what follows `#` are passed over.
    FileNotFoundError
        There is no such file.
    """
    if path is None:
        return frozenset()
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = set()
    for number, line in enumerate(lines, 1):
        try:
            if line:
                date.fromisoformat(line if len(line) > 5 else f"2024-{line}")  # 2024 has a 29 February
                wanted.add(line)
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: {line!r} is no day; write 2026-12-25, or 12-25 for every year"
            ) from None
    return frozenset(day for day in days if day.isoformat() in wanted or day.isoformat()[5:] in wanted)


def _alarms(table: str) -> str:
    return f"T1 {table}"


def _rows(table: str) -> str:
    return f"T1 rows {table}"


def _stored(database: Database, key: str, table: str, as_of: date, seen_until: date) -> dict[date, Profile]:
    series = load_series(database, key, _rows(table), as_of - KEPT_DAYS * DAY, seen_until)
    return {night - DAY: Profile.from_dict(state) for night, state in series.items()}


def _missing(
    table: str,
    frame: pl.DataFrame,
    stored: Mapping[date, Profile],
    as_of: date,
    fresh_day: date | None,
) -> dict[date, Profile]:
    """Profiles of the days since the table's first row that no earlier night has made."""
    first = frame["day"].min() if frame.height else min(stored, default=None)
    if not isinstance(first, date):
        return {}
    days = [as_of - back * DAY for back in range(1, KEPT_DAYS + 1)]
    return profiles_by_day(table, frame, [d for d in days if d >= first and d not in stored], fresh_day)


def _to_keep(found: Watched, made: Mapping[str, Mapping[date, Profile]], as_of: date) -> list[State]:
    alarms: list[State] = [(_alarms(table), as_of, one.to_dict()) for table, one in found.states.items()]
    return alarms + [
        (_rows(table), day + DAY, one.to_dict()) for table, own in made.items() for day, one in own.items()
    ]


def _worth_keeping(readings: list[Reading]) -> list[Reading]:
    """Alarms, and of each table the reading nearest to one: a night has a hundred checks."""
    nearest: dict[str, Reading] = {}
    for one in readings:
        table = one.subject.split(" ")[1].partition(".")[0]
        if table not in nearest or one.statistic < nearest[table].statistic:
            nearest[table] = one
    return [one for one in readings if one.is_alarm or one in nearest.values()]
