"""The single checks of T1: each compares counts and says how surprising and how large the difference is."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from flows.monitors.exact import dispersion, hypergeometric_tail, share_p_value
from flows.monitors.profile import MAX_LEVELS, Profile, bin_value, merge, quantile_bin
from flows.monitors.reading import percent

MIN_ROWS = 30
NULL_SHARE_FLOOR = 0.1
NEW_LEVELS_FLOOR = 0.1
MEDIAN_FLOOR = 0.3
OUTSIDE_FLOOR = 0.1
OUTSIDE = 0.005

Past = Mapping[date, Profile]
Bins = Mapping[int, int]


@dataclass(frozen=True)
class Check:
    """One comparison: how surprising (`p_value`), how large (`effect` against `floor`), in words.

    It was made on the rows of `window` days, and is a page once `sets_needed` disjoint sets of rows in a row
    show it.
    """

    kind: str
    column: str
    p_value: float
    effect: float
    floor: float
    words: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    window: int = 1
    sets_needed: int = 3

    @property
    def is_large(self) -> bool:
        """Whether the effect matters whatever its p-value."""
        return abs(self.effect) >= self.floor


@dataclass(frozen=True)
class Reference:
    """What the newest rows are compared with.

    Attributes
    ----------
    month : the last 28 days that have rows: their sums are the usual shares.
    memory : the last 13 weeks, that month among them: how much days differ, and which levels exist. A month
        alone often lacks the list upload that comes every few weeks.
    merged : the month as one profile.
    """

    month: Past
    memory: Past
    merged: Profile

    @classmethod
    def of(cls, memory: Past, first_of_month: date) -> "Reference":
        """Split off the month."""
        month = {when: one for when, one in memory.items() if when >= first_of_month}
        return cls(month, memory, merge(month.values()))


def schema_check(reference: Profile, now: Profile) -> Check:
    """Compare column names and types; new columns are welcome."""
    gone = sorted(set(reference.types) - set(now.types))
    changed = sorted(n for n, t in now.types.items() if n in reference.types and reference.types[n] != t)
    faults = [f"column {name} is gone" for name in gone]
    faults += [f"column {n} is now {now.types[n]}, was {reference.types[n]}" for n in changed]
    words = "; ".join(faults) if faults else "columns and types are as before"
    return Check("schema", "", 0.0 if faults else 1.0, float(len(faults)), 1.0, words, sets_needed=1)


def null_check(name: str, reference: Reference, now: Profile) -> Check:
    """Compare the share of missing values; ten points are large."""
    counts = {d: (one.nulls[name], one.rows) for d, one in reference.memory.items() if name in one.nulls}
    p_value, before, share = _compare_shares(reference, counts, now.nulls[name], now.rows)
    words = f"{name} is missing in {percent(share)} of rows, usually {percent(before)}"
    numbers = {"share": share, "usual": before}
    return Check("null_share", name, p_value, share - before, NULL_SHARE_FLOOR, words, numbers)


def new_level_check(name: str, reference: Reference, now: Profile) -> Check | None:
    """Compare levels with all levels of the memory.

    A tenth of the rows in levels never seen before is large, unless new levels took half as much on one of
    the memory's later days: some columns grow. Under exchangeable rows k of n new ones all fall in the last n
    with hypergeometric chance.
    """
    daily = [reference.memory[when].levels.get(name, {}) for when in sorted(reference.memory)]
    seen: set[str] = set()
    usual = 0.0
    for rank, levels in enumerate(daily):
        fresh = sum(n for level, n in levels.items() if level not in seen)
        if 2 * rank >= len(daily) and levels:
            usual = max(usual, fresh / max(sum(levels.values()), MIN_ROWS))
        seen |= set(levels)
    if not 0 < len(seen) <= MAX_LEVELS:
        return None
    rows = sum(now.levels[name].values())
    past_rows = sum(sum(levels.values()) for levels in daily)
    fresh_levels = sorted(level for level in now.levels[name] if level not in seen)
    new = sum(now.levels[name][level] for level in fresh_levels)
    share, floor = new / max(rows, 1), max(NEW_LEVELS_FLOOR, 2 * usual)
    p_value = hypergeometric_tail(new, rows, new, rows + past_rows)
    listed = ", ".join(repr(level) for level in fresh_levels[:3])
    words = f"{percent(share)} of rows have a new {name}" + (f": {listed}" if listed else "")
    return Check("new_levels", name, p_value, share, floor, words, {"share": share, "usual": usual})


def size_checks(name: str, reference: Reference, now: Profile) -> list[Check]:
    """Median and range of a numeric column: wrong units move one of them."""
    bins, new = reference.merged.sizes.get(name, {}), now.sizes[name]
    if not bins or not new:
        return []
    middle, low, high = (quantile_bin(bins, share) for share in (0.5, OUTSIDE, 1 - OUTSIDE))
    above = _part_check(name, reference, new, lambda counts: _above(counts, middle))
    beyond = _part_check(name, reference, new, lambda counts: _outside(counts, low, high))
    typical, usual = bin_value(quantile_bin(new, 0.5)), bin_value(middle)
    extra = max(beyond[1], 0.0)
    range_words = (
        f"{percent(extra)} more values of {name} than usual are outside {bin_value(low):.3g} to "
        f"{bin_value(high):.3g}"
    )
    median_words = f"{name} is typically {typical:.3g}, usually {usual:.3g}"
    numbers = {"median": typical, "usual": usual}
    return [
        Check("median", name, *above, MEDIAN_FLOOR, median_words, numbers),
        Check("range", name, beyond[0], extra, OUTSIDE_FLOOR, range_words),
    ]


def _part_check(
    name: str, reference: Reference, new: Bins, part: Callable[[Bins], int]
) -> tuple[float, float]:
    """p-value and change of the share of values in one part of the range."""
    sizes = {when: one.sizes[name] for when, one in reference.memory.items() if one.sizes.get(name)}
    counts = {when: (part(bins), sum(bins.values())) for when, bins in sizes.items()}
    p_value, before, share = _compare_shares(reference, counts, part(new), sum(new.values()))
    return p_value, share - before


def _above(bins: Bins, middle: int) -> int:
    return sum(n for index, n in bins.items() if index > middle)


def _outside(bins: Bins, low: int, high: int) -> int:
    return sum(n for index, n in bins.items() if index < low or index > high)


def _compare_shares(
    reference: Reference, counts: Mapping[date, tuple[int, int]], k: int, n: int
) -> tuple[float, float, float]:
    """p-value of k of n against the month's daily counts, the share before and the share now."""
    month = [counts[when] for when in reference.month if when in counts]
    past_k, past_n = sum(pair[0] for pair in month), sum(pair[1] for pair in month)
    if not past_n or not n:
        return 1.0, 0.0, 0.0
    before, share = past_k / past_n, k / n
    if math.isclose(share, before):
        return 1.0, before, share
    return share_p_value(k, n, past_k, past_n, _share_dispersion(counts)), before, share


def _share_dispersion(counts: Mapping[date, tuple[int, int]]) -> float:
    """How much more than chance daily shares vary within four weeks: a step between blocks is no noise."""
    last = max(counts)
    block = np.array([(last - when).days // 28 for when in counts])
    k, n = np.array(list(counts.values()), dtype=np.float64).T
    share = (np.bincount(block, k) / np.maximum(np.bincount(block, n), 1))[block]
    return dispersion(k, n * share, n * share * (1 - share), len(np.unique(block)))
