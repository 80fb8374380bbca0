"""The checks of T1 that count rows: has too little or too much arrived, and is the past still there?"""

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np

from flows.monitors.exact import dispersion, poisson_gamma_p_value
from flows.monitors.integrity_checks import MIN_ROWS, Check, Past
from flows.monitors.reading import percent

LONGEST_WINDOW = 7
WEEKS_BACK = 6
VOLUME_FLOOR = 2.0
VANISHED_FLOOR = 0.1


def vanished_check(past: Past, recounted: Mapping[date, int]) -> Check:
    """Compare what past days hold tonight with what they held when they were profiled."""
    days = [when for when in past if when in recounted]
    before = sum(past[when].rows for when in days)
    share = 1 - sum(min(recounted[when], past[when].rows) for when in days) / before if before else 0.0
    words = f"{percent(share)} of the rows that arrived in the last four weeks have vanished"
    p_value = 0.0 if share >= VANISHED_FLOOR else 1.0
    return Check("vanished", "", p_value, share, VANISHED_FLOOR, words, {"share": share}, sets_needed=1)


def volume_check(
    past: Past, current: Past, day: date, holidays: frozenset[date], broken: frozenset[date]
) -> Check | None:
    """Compare rows with those of the same weekdays; half as many or twice as many is large.

    The day alone, or as many days up to it as usually bring `MIN_ROWS`. None if a holiday is among them or
    nothing comparable is left: neither holidays nor `broken` days say what is usual.
    """
    rows = {when: one.rows for when, one in past.items()}
    first, last = min(rows), max(rows)
    unusual = holidays | broken
    counted = {when: rows.get(when, 0) for when in days_between(first, last) if when not in unusual}
    for span in range(1, LONGEST_WINDOW + 1):
        like = _like_windows(counted, day, span)
        if like and sum(like) >= MIN_ROWS * len(like):
            break
    window = days_between(day - timedelta(days=span - 1), day)
    if not like or holidays.intersection(window):
        return None
    now, usual = sum(current[when].rows for when in window if when in current), sum(like) / len(like)
    p_value = poisson_gamma_p_value(now, sum(like), len(like), _volume_dispersion(counted))
    factor = max((now + 0.5) / (usual + 0.5), (usual + 0.5) / (now + 0.5))
    unit = "on this weekday" if span == 1 else f"in such {span} days"
    words = f"{now:,} rows where {usual:,.0f} are usual {unit}"
    return Check("volume", "", p_value, factor, VOLUME_FLOOR, words, {"rows": now, "usual": usual}, span, 2)


def days_between(first: date, last: date) -> list[date]:
    """Return every day from the first to the last, both included."""
    return [first + timedelta(days=k) for k in range((last - first).days + 1)]


def _like_windows(counted: Mapping[date, int], day: date, span: int) -> list[int]:
    """Rows of the same weekdays in the weeks before, where every day of the window is there."""
    found = []
    for weeks in range(1, WEEKS_BACK + 1):
        window = days_between(day - timedelta(days=7 * weeks + span - 1), day - timedelta(weeks=weeks))
        if all(when in counted for when in window):
            found.append(sum(counted[when] for when in window))
    return found


def _volume_dispersion(counted: Mapping[date, int]) -> float:
    """Variance over mean around weekday means."""
    weekdays = np.array([when.weekday() for when in counted])
    values = np.array(list(counted.values()), dtype=np.float64)
    n = np.bincount(weekdays, minlength=7)
    means = np.bincount(weekdays, values, minlength=7) / np.maximum(n, 1)
    return dispersion(values, means[weekdays], means[weekdays], int((means > 0).sum()))
