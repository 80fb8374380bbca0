"""T1, data integrity: do the newest rows look like those of the four weeks before?

Exact tests, Benjamini-Hochberg at q = .01 over the checks of a night, and for each check an effect too large
to be business as usual. Counts vary by day more than their law says (weekdays, list uploads, campaigns), so
each test is weakened by the dispersion that the reference days show, and volume is compared with like
weekdays. An alarm holds back a new model at once; a person is paged when two further, disjoint
sets of rows show it too, because a broken feed stays broken while an odd upload passes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from typing import Any

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
from flows.monitors.integrity_volume import LONGEST_WINDOW, days_between, vanished_check, volume_check
from flows.monitors.profile import Profile, merge
from flows.monitors.reading import Reading, day_words, log10

FALSE_DISCOVERY_RATE = 0.01
REFERENCE_DAYS = 28
MEMORY_DAYS = 91
CONFIRMATIONS = 2
"""Further sets of rows that must show a fault before a person is paged."""
ACCEPT_AFTER_DAYS = 14
"""An alarm that nobody acted on for so long is the new normal: it joins the reference."""


@dataclass(frozen=True)
class IntegrityState:
    """Alarms that stand, per table; JSON-able through `to_dict`.

    Attributes
    ----------
    since : subject -> ISO date of the first night.
    paged : subjects a person was told of.
    """

    since: Mapping[str, str] = field(default_factory=dict)
    paged: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "IntegrityState":
        """Return the state that `to_dict` described."""
        return cls(dict(values["since"]), tuple(values["paged"]))


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
    `ACCEPT_AFTER_DAYS` old.

    Parameters
    ----------
    state : what the night before returned; a fresh one at first.
    profiles : one per day, in any order; at least `day` and 14 days of reference, 112 days back at most are
        used: 28 for what is usual, 91 for how much days differ. A day without a profile is a day without
        rows.
    holidays : days on which volume says nothing.
    recounted : rows that arrived on each past day, as counted tonight; fewer than the profiles say means that
        rows have vanished.

    Returns
    -------
    the new state and one reading per check. `statistic` is the p-value and `threshold` the largest one that
    is an alarm tonight; `is_page` is set on one night per standing alarm.

    Raises
    ------
    ValueError
        There are fewer than 14 days of reference with rows.
    """
    by_day = {date.fromisoformat(one.day): one for one in profiles}
    began = [date.fromisoformat(since) for since in state.since.values()]
    end = min([day, *(start for start in began if (day - start).days < ACCEPT_AFTER_DAYS)])
    window = _window(by_day, day)
    last = end - timedelta(days=window)
    month = [last - timedelta(days=back) for back in range(REFERENCE_DAYS)]
    n_days = sum(when in by_day and by_day[when].rows > 0 for when in month)
    if n_days < REFERENCE_DAYS // 2:
        raise ValueError(f"{table}: {n_days} days before {last} are too few to compare with; 14 are needed")
    memory = {when: one for when, one in by_day.items() if 0 <= (last - when).days < MEMORY_DAYS}
    reference = Reference.of(memory, month[-1])
    newest = {when: one for when, one in by_day.items() if 0 <= (day - when).days < LONGEST_WINDOW}
    checks = _checks(reference, newest, day, window, frozenset(holidays))
    if recounted is not None:
        checks.append(vanished_check(reference.month, recounted))
    return _judge(state, table, checks, day)


def _checks(
    reference: Reference, newest: Past, day: date, window: int, holidays: frozenset[date]
) -> list[Check]:
    """Every check of one table; `window` days are taken together for everything but volume."""
    volume = volume_check(reference.month, newest, day, holidays)
    checks = [] if volume is None else [volume]
    taken = [newest[w] for w in days_between(day - timedelta(days=window - 1), day) if w in newest]
    if not taken or not (now := merge(taken)).rows:
        return checks
    columns = [name for name in now.types if name in reference.merged.types]
    found = [null_check(name, reference, now) for name in columns]
    levels = [new_level_check(name, reference, now) for name in now.levels if name in columns]
    found += [check for check in levels if check is not None]
    found += [check for name in now.sizes if name in columns for check in size_checks(name, reference, now)]
    confirmable = [replace(check, confirm_days=CONFIRMATIONS * window) for check in found]
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
    since: dict[str, str] = {}
    paged: list[str] = []
    readings = []
    for check, is_hit in zip(checks, rejected, strict=True):
        subject = f"{check.kind} {table}.{check.column}" if check.column else f"{check.kind} {table}"
        is_alarm, is_page = bool(is_hit) and check.is_large, False
        if is_alarm:
            since[subject] = state.since.get(subject, day.isoformat())
            is_confirmed = (day - date.fromisoformat(since[subject])).days >= check.confirm_days
            is_page = is_confirmed and subject not in state.paged
            if is_confirmed:
                paged.append(subject)
        readings.append(_reading(check, table, subject, limit, is_alarm, is_page, since.get(subject)))
    return IntegrityState(since, tuple(paged)), readings


def _reading(
    check: Check, table: str, subject: str, limit: float, is_alarm: bool, is_page: bool, since: str | None
) -> Reading:
    where = f"{table}: {check.words}"
    words = f"{where} since {day_words(since)}" if since else where
    details = {"floor": check.floor, "since": since, **check.numbers}
    p_value = max(check.p_value, 1e-300)
    return Reading(
        "T1", subject, p_value, limit, -log10(p_value), is_alarm, check.effect, words, details, is_page
    )
