"""The single checks of T1: each compares counts and says how surprising and how large the difference is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from flows.monitors.exact import dispersion, hypergeometric_tail, poisson_gamma_p_value, share_p_value
from flows.monitors.profile import MAX_LEVELS, Profile, bin_value, merge, quantile_bin
from flows.monitors.reading import percent

MIN_ROWS = 30
NULL_SHARE_FLOOR = 0.1
NEW_LEVELS_FLOOR = 0.1
VOLUME_FLOOR = 2.0
MEDIAN_FLOOR = 0.3
OUTSIDE_FLOOR = 0.1
OUTSIDE = 0.005

Past = Mapping[date, Profile]


@dataclass(frozen=True)
class Check:
    """One comparison: how surprising (`p_value`), how large (`effect` against `floor`), in words."""

    kind: str
    column: str
    p_value: float
    effect: float
    floor: float
    words: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    is_noisy: bool = True

    @property
    def is_large(self) -> bool:
        """Whether the effect matters whatever its p-value."""
        return abs(self.effect) >= self.floor


def all_checks(past: Past, current: list[Profile], day: date, holidays: frozenset[date]) -> list[Check]:
    """Return every check of one table.

    Parameters
    ----------
    past : the reference days that have rows.
    current : the day's profile and those taken together with it; empty if nothing arrived.
    """
    reference = merge(past.values())
    volume = [] if day in holidays else [volume_check(past, current, day, holidays)]
    if not current or not (now := merge(current)).rows:
        return volume
    columns = [name for name in now.types if name in reference.types]
    nulls = [null_check(name, past, now) for name in columns]
    levels = [new_level_check(name, past, reference, now) for name in now.levels if name in reference.levels]
    sizes = [
        check for name in now.sizes if name in columns for check in _size_checks(name, past, reference, now)
    ]
    return [schema_check(reference, now), *volume, *nulls, *(c for c in levels if c is not None), *sizes]


def schema_check(reference: Profile, now: Profile) -> Check:
    """Compare column names and types; new columns are welcome."""
    gone = sorted(set(reference.types) - set(now.types))
    changed = sorted(n for n, t in now.types.items() if n in reference.types and reference.types[n] != t)
    faults = [f"column {name} is gone" for name in gone]
    faults += [f"column {n} is now {now.types[n]}, was {reference.types[n]}" for n in changed]
    words = "; ".join(faults) if faults else "columns and types are as before"
    return Check("schema", "", 0.0 if faults else 1.0, float(len(faults)), 1.0, words, is_noisy=False)


def volume_check(past: Past, current: list[Profile], day: date, holidays: frozenset[date]) -> Check:
    """Compare the day's rows with those of the same weekday; half as many or twice as many is large."""
    rows = {when: one.rows for when, one in past.items()}
    first, last = min(rows), max(rows)
    span = [first + timedelta(days=k) for k in range((last - first).days + 1)]
    counted = {when: rows.get(when, 0) for when in span if when not in holidays}
    like = [n for when, n in counted.items() if when.weekday() == day.weekday()]
    now = next((one.rows for one in current if one.day == day.isoformat()), 0)
    if not like:
        return Check("volume", "", 1.0, 1.0, VOLUME_FLOOR, f"{now} rows, no like weekday to compare with")
    usual = sum(like) / len(like)
    p_value = poisson_gamma_p_value(now, sum(like), len(like), _volume_dispersion(counted))
    factor = max((now + 0.5) / (usual + 0.5), (usual + 0.5) / (now + 0.5))
    words = f"{now:,} rows where {usual:,.0f} are usual on this weekday"
    return Check("volume", "", p_value, factor, VOLUME_FLOOR, words, {"rows": now, "usual": usual})


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
