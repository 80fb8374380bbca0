"""The single checks of T1: each compares counts and says how surprising and how large the difference is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import numpy as np

from flows.monitors.exact import dispersion, hypergeometric_tail, poisson_gamma_p_value, share_p_value
from flows.monitors.profile import MAX_LEVELS, Profile, bin_value, merge, quantile_bin
from flows.monitors.reading import percent

MIN_ROWS = 30
LONGEST_WINDOW = 7
WEEKS_BACK = 6
NULL_SHARE_FLOOR = 0.1
NEW_LEVELS_FLOOR = 0.1
VOLUME_FLOOR = 2.0
MEDIAN_FLOOR = 0.3
VANISHED_FLOOR = 0.1
OUTSIDE_FLOOR = 0.1
OUTSIDE = 0.005

Past = Mapping[date, Profile]


@dataclass(frozen=True)
class Check:
    """One comparison: how surprising (`p_value`), how large (`effect` against `floor`), in words.

    `window` is the number of days until other rows can confirm it; 0 where one look is enough.
    """

    kind: str
    column: str
    p_value: float
    effect: float
    floor: float
    words: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    window: int = 1

    @property
    def is_large(self) -> bool:
        """Whether the effect matters whatever its p-value."""
        return abs(self.effect) >= self.floor


def all_checks(past: Past, current: Past, day: date, window: int, holidays: frozenset[date]) -> list[Check]:
    """Return every check of one table.

    Parameters
    ----------
    past : the reference days that have rows.
    current : profiles of the last week, the day's own among them if anything arrived.
    window : days up to the day that are taken together for everything but volume.
    """
    reference = merge(past.values())
    volume = volume_check(past, current, day, holidays)
    checks = [] if volume is None else [volume]
    newest = [current[when] for when in _days(day - timedelta(days=window - 1), day) if when in current]
    if not newest or not (now := merge(newest)).rows:
        return checks
    columns = [name for name in now.types if name in reference.types]
    nulls = [null_check(name, past, now) for name in columns]
    levels = [new_level_check(name, past, reference, now) for name in now.levels if name in reference.levels]
    sizes = [
        check for name in now.sizes if name in columns for check in _size_checks(name, past, reference, now)
    ]
    found = [*nulls, *(check for check in levels if check is not None), *sizes]
    return [schema_check(reference, now), *checks, *(replace(check, window=window) for check in found)]


def schema_check(reference: Profile, now: Profile) -> Check:
    """Compare column names and types; new columns are welcome."""
    gone = sorted(set(reference.types) - set(now.types))
    changed = sorted(n for n, t in now.types.items() if n in reference.types and reference.types[n] != t)
    faults = [f"column {name} is gone" for name in gone]
    faults += [f"column {n} is now {now.types[n]}, was {reference.types[n]}" for n in changed]
    words = "; ".join(faults) if faults else "columns and types are as before"
    return Check("schema", "", 0.0 if faults else 1.0, float(len(faults)), 1.0, words, window=0)


def vanished_check(past: Past, recounted: Mapping[date, int]) -> Check:
    """Compare what past days hold tonight with what they held when they were profiled."""
    days = [when for when in past if when in recounted]
    before = sum(past[when].rows for when in days)
    share = 1 - sum(min(recounted[when], past[when].rows) for when in days) / before if before else 0.0
    words = f"{percent(share)} of the rows that arrived in the last four weeks have vanished"
    p_value = 0.0 if share >= VANISHED_FLOOR else 1.0
    return Check("vanished", "", p_value, share, VANISHED_FLOOR, words, {"share": share}, window=0)


def volume_check(past: Past, current: Past, day: date, holidays: frozenset[date]) -> Check | None:
    """Compare rows with those of the same weekdays; half as many or twice as many is large.

    The day alone, or as many days up to it as usually bring `MIN_ROWS`. None if a holiday is among them or
    nothing comparable is left.
    """
    rows = {when: one.rows for when, one in past.items()}
    first, last = min(rows), max(rows)
    counted = {when: rows.get(when, 0) for when in _days(first, last) if when not in holidays}
    for span in range(1, LONGEST_WINDOW + 1):
        like = _like_windows(counted, day, span)
        if like and sum(like) >= MIN_ROWS * len(like):
            break
    window = _days(day - timedelta(days=span - 1), day)
    if not like or holidays.intersection(window):
        return None
    now, usual = sum(current[when].rows for when in window if when in current), sum(like) / len(like)
    p_value = poisson_gamma_p_value(now, sum(like), len(like), _volume_dispersion(counted))
    factor = max((now + 0.5) / (usual + 0.5), (usual + 0.5) / (now + 0.5))
    unit = "on this weekday" if span == 1 else f"in such {span} days"
    words = f"{now:,} rows where {usual:,.0f} are usual {unit}"
    return Check("volume", "", p_value, factor, VOLUME_FLOOR, words, {"rows": now, "usual": usual}, span)


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=k) for k in range((last - first).days + 1)]


def _like_windows(counted: Mapping[date, int], day: date, span: int) -> list[int]:
    """Rows of the same weekdays in the weeks before, where every day of the window is there."""
    found = []
    for weeks in range(1, WEEKS_BACK + 1):
        window = _days(day - timedelta(days=7 * weeks + span - 1), day - timedelta(weeks=weeks))
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


def null_check(name: str, past: Past, now: Profile) -> Check:
    """Compare the share of missing values; ten points are large."""
    counts = [(one.nulls[name], one.rows) for one in past.values() if name in one.nulls]
    p_value, before, share = _compare_shares(counts, now.nulls[name], now.rows)
    words = f"{name} is missing in {percent(share)} of rows, usually {percent(before)}"
    numbers = {"share": share, "usual": before}
    return Check("null_share", name, p_value, share - before, NULL_SHARE_FLOOR, words, numbers)


def new_level_check(name: str, past: Past, reference: Profile, now: Profile) -> Check | None:
    """Compare levels with all levels of the reference.

    A tenth of the rows in levels never seen before is large, unless new levels took half as much on one of
    the reference's later days: some columns grow. Under exchangeable rows k of n new ones all fall in the
    last n with hypergeometric chance.
    """
    known, seen = reference.levels[name], set[str]()
    if len(known) > MAX_LEVELS or not known:
        return None
    usual = 0.0
    for rank, when in enumerate(sorted(past)):
        levels = past[when].levels.get(name, {})
        fresh = sum(n for level, n in levels.items() if level not in seen)
        if 2 * rank >= len(past) and levels:
            usual = max(usual, fresh / max(sum(levels.values()), MIN_ROWS))
        seen |= set(levels)
    rows, past_rows = sum(now.levels[name].values()), sum(known.values())
    fresh_levels = sorted(level for level in now.levels[name] if level not in known)
    new = sum(now.levels[name][level] for level in fresh_levels)
    share, floor = new / max(rows, 1), max(NEW_LEVELS_FLOOR, 2 * usual)
    p_value = hypergeometric_tail(new, rows, new, rows + past_rows)
    listed = ", ".join(repr(level) for level in fresh_levels[:3])
    words = f"{percent(share)} of rows have a new {name}" + (f": {listed}" if listed else "")
    return Check("new_levels", name, p_value, share, floor, words, {"share": share, "usual": usual})


def _size_checks(name: str, past: Past, reference: Profile, now: Profile) -> list[Check]:
    """Median and range of a numeric column: wrong units move one of them."""
    bins, new = reference.sizes.get(name, {}), now.sizes[name]
    if not bins or not new:
        return []
    middle = quantile_bin(bins, 0.5)
    low, high = quantile_bin(bins, OUTSIDE), quantile_bin(bins, 1 - OUTSIDE)
    daily = [one.sizes[name] for one in past.values() if one.sizes.get(name)]
    above = _part_check([(_above(d, middle), sum(d.values())) for d in daily], new, _above(new, middle))
    beyond = [(_outside(d, low, high), sum(d.values())) for d in daily]
    outside = _part_check(beyond, new, _outside(new, low, high))
    typical, usual = bin_value(quantile_bin(new, 0.5)), bin_value(middle)
    return [
        Check(
            "median",
            name,
            *above,
            MEDIAN_FLOOR,
            f"{name} is typically {typical:.3g}, usually {usual:.3g}",
            {"median": typical, "usual": usual},
        ),
        Check(
            "range",
            name,
            outside[0],
            max(outside[1], 0.0),
            OUTSIDE_FLOOR,
            f"{percent(max(outside[1], 0.0))} more values of {name} than usual are outside "
            f"{bin_value(low):.3g} to {bin_value(high):.3g}",
        ),
    ]


def _part_check(counts: list[tuple[int, int]], new: Mapping[int, int], k: int) -> tuple[float, float]:
    p_value, before, share = _compare_shares(counts, k, sum(new.values()))
    return p_value, share - before


def _above(bins: Mapping[int, int], middle: int) -> int:
    return sum(n for index, n in bins.items() if index > middle)


def _outside(bins: Mapping[int, int], low: int, high: int) -> int:
    return sum(n for index, n in bins.items() if index < low or index > high)


def _compare_shares(counts: list[tuple[int, int]], k: int, n: int) -> tuple[float, float, float]:
    """p-value of k of n against daily counts, the share before and the share now."""
    daily = np.array(counts, dtype=np.float64).reshape(-1, 2)
    past_k, past_n = (int(total) for total in daily.sum(axis=0))
    if not past_n or not n:
        return 1.0, 0.0, 0.0
    before = past_k / past_n
    expected = before * daily[:, 1]
    spread = dispersion(daily[:, 0], expected, expected * (1 - before), 1)
    share = k / n
    if math.isclose(share, before):
        return 1.0, before, share
    return share_p_value(k, n, past_k, past_n, spread), before, share
