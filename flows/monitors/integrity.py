"""T1, data integrity: do the newest rows look like those of the four weeks before?

Exact tests, Benjamini-Hochberg at q = .01 over the checks of a night, and for each check an effect too large
to be business as usual. Counts vary by day more than their law says (weekdays, list uploads, campaigns), so
each test is weakened by the dispersion that the reference days show, and volume is compared with like
weekdays. An alarm holds back a new model at once; a person is paged when three disjoint sets of
rows in a row show it (two for volume, one for schema), because a broken feed stays broken while an odd upload
passes. What was paged ends when the effect is small again: a Sunday with too few rows to be surprising is no
repair. A day on which a check cannot be made neither confirms nor ends its alarm, and what was paged and then
repaired stays out of the reference, so that the same fault is seen again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from flows.monitors.exact import benjamini_hochberg
from flows.monitors.integrity_checks import (
    MIN_ROWS,
    Check,
    Past,
    Reference,
    new_level_check,
    null_check,
    schema_check,
    size_checks,
)
from flows.monitors.integrity_state import MEMORY_DAYS, REFERENCE_DAYS, IntegrityState, Standing
from flows.monitors.integrity_volume import LONGEST_WINDOW, days_between, vanished_check, volume_check
from flows.monitors.profile import Profile, merge
from flows.monitors.reading import Reading, day_words, log10

FALSE_DISCOVERY_RATE = 0.01


def check_integrity(
    state: IntegrityState,
    table: str,
    profiles: Sequence[Profile],
    day: date,
    holidays: Collection[date] = frozenset(),
    recounted: Mapping[date, int] | None = None,
) -> tuple[IntegrityState, list[Reading]]:
    """Compare the rows that arrived on `day` with those of the 28 days before.

    On a day with fewer than `MIN_ROWS` rows the last two to seven days are taken together. Days on which an
    alarm began to stand, and later ones, are no reference for anything in this table until the alarm is
    `ACCEPT_AFTER_DAYS` old; those of one that was paged and ended before never are. An alarm whose check
    `day` does not allow stands as it did, until it is that old; a week, where nobody was told.

    Parameters
    ----------
    state : what the night before returned; a fresh one at first.
    profiles : one per day, in any order; at least `day` and 14 days of reference, 126 days back at most are
        used: 28 for what is usual, 91 for how much days differ. A day without a profile is a day without
        rows.
    holidays : days on which volume says nothing.
    recounted : rows that arrived on each past day, as counted tonight; fewer than the profiles say means that
        rows have vanished.

    Returns
    -------
    the new state, one reading per check and one per alarm that stands unchecked. `statistic` is the p-value
    and `threshold` the largest one that is an alarm tonight: any, while a paged alarm's effect is large.
    `is_page` is set on one night per standing alarm.

    Raises
    ------
    ValueError
        There are fewer than 14 days of reference with rows.
    """
    by_day = {date.fromisoformat(one.day): one for one in profiles}
    began = [date.fromisoformat(alarm.since) for alarm in state.standing.values() if alarm.is_young(day)]
    window = _window(by_day, day)
    last = min([day, *began]) - timedelta(days=window)
    broken = state.incident_days
    sound = [d for d in days_between(last - timedelta(days=MEMORY_DAYS - 1), last) if d not in broken]
    month = sound[-REFERENCE_DAYS:]
    n_days = sum(when in by_day and by_day[when].rows > 0 for when in month)
    if n_days < REFERENCE_DAYS // 2:
        raise ValueError(f"{table}: {n_days} days before {last} are too few to compare with; 14 are needed")
    reference = Reference.of({when: by_day[when] for when in sound if when in by_day}, month[0])
    newest = {when: one for when, one in by_day.items() if 0 <= (day - when).days < LONGEST_WINDOW}
    volume = volume_check(reference.month, newest, day, frozenset(holidays), broken)
    checks = _checks(reference, newest, day, window, volume)
    if recounted is not None:
        checks.append(vanished_check(reference.month, recounted))
    return _judge(state, table, checks, day)


def carry_over(state: IntegrityState, day: date) -> tuple[IntegrityState, list[Reading]]:
    """Return state and readings of a day on which nothing in the table can be judged."""
    return state.after({}, (), day), _unchecked(state, (), day)


def _checks(reference: Reference, newest: Past, day: date, window: int, volume: Check | None) -> list[Check]:
    """Every check of one table; `window` days are taken together for everything but volume."""
    checks = [] if volume is None else [volume]
    taken = [newest[w] for w in days_between(day - timedelta(days=window - 1), day) if w in newest]
    # Days that were only counted have no values, so there is nothing to compare them with or by.
    now = merge(one for one in taken if one.nulls) if any(one.nulls for one in taken) else None
    known = sum(bool(one.nulls) and one.rows > 0 for one in reference.month.values())
    if now is None or not now.rows or known < REFERENCE_DAYS // 2:
        return checks
    columns = [name for name in now.types if name in reference.merged.types]
    found = [null_check(name, reference, now) for name in columns]
    levels = [new_level_check(name, reference, now) for name in now.levels if name in columns]
    found += [check for check in levels if check is not None]
    found += [check for name in now.sizes if name in columns for check in size_checks(name, reference, now)]
    confirmable = [replace(check, window=window) for check in found]
    return [schema_check(reference.merged, now), *checks, *confirmable]


def _window(by_day: Mapping[date, Profile], day: date) -> int:
    """Days taken together: as few as hold `MIN_ROWS`, at most a week."""
    rows = 0
    for window in range(1, LONGEST_WINDOW + 1):
        one = by_day.get(day - timedelta(days=window - 1))
        rows += one.rows if one else 0
        if rows >= MIN_ROWS:
            return window
    return LONGEST_WINDOW


def _judge(
    state: IntegrityState, table: str, checks: list[Check], day: date
) -> tuple[IntegrityState, list[Reading]]:
    rejected = benjamini_hochberg([check.p_value for check in checks], FALSE_DISCOVERY_RATE)
    limit = max(
        [check.p_value for check, is_hit in zip(checks, rejected, strict=True) if is_hit],
        default=FALSE_DISCOVERY_RATE / max(len(checks), 1),
    )
    raised: dict[str, Standing] = {}
    readings = []
    for check, is_hit in zip(checks, rejected, strict=True):
        subject = f"{check.kind} {table}.{check.column}" if check.column else f"{check.kind} {table}"
        before, now = state.standing.get(subject), None
        was_paged = before is not None and before.is_paged
        lasts = before is not None and was_paged and before.is_young(day) and check.is_large
        if lasts or (is_hit and check.is_large):
            now = raised[subject] = _stand(before, check, table, day)
        is_page = now is not None and now.is_paged and not was_paged
        readings.append(_reading(check, table, subject, 1.0 if lasts else limit, now, is_page))
    checked = {reading.subject for reading in readings}
    readings += _unchecked(state, checked, day)
    return state.after(raised, checked, day), readings


def _stand(before: Standing | None, check: Check, table: str, day: date) -> Standing:
    """The alarm one night on; rows that overlap those counted last confirm nothing."""
    today = day.isoformat()
    since = before.since if before else today
    words = f"{table}: {check.words} since {day_words(since)}"
    if before is None:
        return Standing(since, 1, today, check.sets_needed <= 1, words)
    if day - timedelta(days=check.window) < date.fromisoformat(before.counted_on):
        return replace(before, words=words)
    sets = before.sets + 1
    return Standing(since, sets, today, before.is_paged or sets >= check.sets_needed, words)


def _reading(
    check: Check, table: str, subject: str, limit: float, standing: Standing | None, is_page: bool
) -> Reading:
    words = standing.words if standing else f"{table}: {check.words}"
    details = {"floor": check.floor, "since": standing.since if standing else None, **check.numbers}
    p_value = max(check.p_value, 1e-300)
    is_alarm = standing is not None
    return Reading(
        "T1", subject, p_value, limit, -log10(p_value), is_alarm, check.effect, words, details, is_page
    )


def _unchecked(state: IntegrityState, checked: Collection[str], day: date) -> list[Reading]:
    """Alarms that still hold back a new model, though no test could say more: p-value and limit are 1."""
    found = []
    for subject, one in state.unchecked(checked, day).items():
        known = one.words or f"{subject} is an alarm since {day_words(one.since)}"
        words = f"{known}; {day_words(day.isoformat())} could not be checked"
        found.append(Reading("T1", subject, 1.0, 1.0, 0.0, True, 0.0, words, {"since": one.since}))
    return found
