"""T1 over the staged frames: which rows arrived on which day, and the nights that have not been watched yet.

A lead's columns are filled in over weeks, and the frame shows what they hold now: days counted in hindsight
would look fuller than a fresh one. So only days profiled on the night after they ended say anything about
values of leads; earlier ones are counted. Rows of the other frames do not change once they are there.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from features.sources import Sources
from flows.monitors.integrity import carry_over, check_integrity
from flows.monitors.integrity_state import IntegrityState
from flows.monitors.profile import Profile, count_only, profile
from flows.monitors.reading import Reading

CATCH_UP_DAYS = 28
CHANGING = frozenset(("lead",))
"""Tables whose rows are filled in after they arrived."""

_WATCHED: dict[str, tuple[str, ...]] = {
    "lead": (
        "lead_source",
        "industry",
        "country",
        "employee_count",
        "annual_revenue",
        "account_industry",
        "account_country",
        "account_employee_count",
        "account_annual_revenue",
    ),
    "activity": ("activity_type", "direction", "url_class", "outcome", "duration_seconds"),
    "stage": ("stage",),
    "outcome": ("outcome", "currency", "amount"),
}
_PRESENCE: dict[str, tuple[str, ...]] = {
    "lead": ("title", "email_domain", "owner_id", "account_id", "attrs"),
    "activity": ("is_bot", "campaign_id"),
    "stage": (),
    "outcome": ("opportunity_id",),
}
"""Names, ids and free text: whether they are there is watched, what they hold is not kept."""

Days = Mapping[date, Profile]


class Watched(NamedTuple):
    """What the night's T1 leaves: states to keep, readings to record, and tables it could not judge yet."""

    states: dict[str, IntegrityState]
    readings: list[Reading]
    notes: list[str]


def arrivals(sources: Sources) -> dict[str, pl.DataFrame]:
    """Return the watched columns of every frame that has arrivals, with `day` (Date), the day they came."""
    columns = ("industry", "country", "employee_count", "annual_revenue")
    account = sources.account.select("account_id", pl.col(columns).name.prefix("account_"))
    account = account.unique("account_id", keep="first", maintain_order=True)
    frames = {name: getattr(sources, name) for name in _WATCHED}
    frames["lead"] = frames["lead"].join(account, on="account_id", how="left")
    return {name: _watched(name, frame) for name, frame in frames.items()}


def profiles_by_day(
    name: str, frame: pl.DataFrame, days: Collection[date], fresh_day: date | None
) -> dict[date, Profile]:
    """Profile the rows that arrived on each of `days`; a day without rows gets a profile of none.

    Parameters
    ----------
    frame : of `arrivals`.
    fresh_day : yesterday, the only day whose values of a changing table are those it arrived with; None in
        hindsight, where there is no such day.
    """
    wanted = frame.filter(pl.col("day").is_in(list(days)))
    parts = {key[0]: part for key, part in wanted.partition_by("day", as_dict=True, include_key=True).items()}
    found = {day: profile(parts.get(day, frame.clear()).drop("day"), day) for day in days}
    if name not in CHANGING:
        return found
    return {day: one if day == fresh_day else count_only(one) for day, one in found.items()}


def rows_by_day(frame: pl.DataFrame) -> dict[date, int]:
    """Count the rows of each day."""
    return dict(frame.group_by("day").len().rows())


def watch_arrivals(
    states: Mapping[str, IntegrityState],
    profiles: Mapping[str, Days],
    counted: Mapping[str, Mapping[date, int]],
    days: Iterable[date],
    holidays: Collection[date],
) -> Watched:
    """Check every table for each of `days`, the last of which is last night's.

    Only the last day's readings are returned, and earlier ones that a person should hear of.

    Parameters
    ----------
    states, profiles, counted : by table; rows counted tonight are compared with those once profiled.
    """
    new_states, readings, notes = dict(states), [], []
    listed = sorted(days)
    for table, own in profiles.items():
        state = states.get(table, IntegrityState())
        for day in listed:
            known = [one for when, one in own.items() if when <= day]
            recounted = {when: counted[table].get(when, 0) for when in own} if day == listed[-1] else None
            try:
                state, found = check_integrity(state, table, known, day, holidays, recounted)
            except ValueError as error:
                state, found = carry_over(state, day)
                if day == listed[-1]:
                    notes.append(str(error))
            readings += found if day == listed[-1] else [one for one in found if one.is_page]
        new_states[table] = state
    return Watched(new_states, _one_per_cause(readings), notes)


def days_to_watch(last_as_of: date | None, as_of: date) -> list[date]:
    """Return the days between two nights, at most `CATCH_UP_DAYS`; yesterday alone on the first night."""
    yesterday = as_of - timedelta(days=1)
    if last_as_of is None:
        return [yesterday]
    n = min(max((as_of - last_as_of).days, 1), CATCH_UP_DAYS)
    return [yesterday - timedelta(days=back) for back in range(n)][::-1]


def _watched(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    presence = [pl.when(pl.col(c).is_not_null()).then(True).alias(c) for c in _PRESENCE[name]]
    return frame.select(pl.col("known_at").dt.date().alias("day"), *_WATCHED[name], *presence)


def _one_per_cause(readings: list[Reading]) -> list[Reading]:
    """Keep the last reading of a cause; a page among the earlier ones stays one."""
    by_cause: dict[str, Reading] = {}
    for one in readings:
        is_page = one.is_page or (one.cause in by_cause and by_cause[one.cause].is_page)
        values = {**one.__dict__, "is_page": is_page and one.is_alarm}
        by_cause[one.cause] = Reading(**values)
    return list(by_cause.values())
