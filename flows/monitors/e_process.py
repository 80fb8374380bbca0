"""Evidence that may be looked at every night: bets on bounded means, and detectors for rates.

An e-process starts at 1 and has mean at most 1 under its null at any stopping time, so it reaches 1 / alpha
with chance at most alpha (Ville). An e-detector adds a fresh e-process each week: it never forgets to look
for changes that start late, and its mean run to a false alarm is at least its threshold (Shin, Ramdas,
Rinaldo 2024).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

LARGEST_BET = 0.9
MEMORY = 8
"""Weeks that a bet learns from: a longer memory bets on the year before last."""

LOW_LIMIT = 0.8
LOW_RATIOS = (0.5, 0.6)
"""Rates that M looks for; docs/decisions/0010-monitors.md has what others cost."""
HIGH_LIMIT = 1 / LOW_LIMIT
_LARGEST_LOG = 690.0


@dataclass(frozen=True)
class Wealth:
    """An e-process of bets: what a gambler against the null owns after starting with 1; JSON-able.

    Attributes
    ----------
    log_wealth : natural logarithm.
    recent : the last outcomes, what the next bet learns from.
    n : outcomes so far.
    climb, since : gain since its last low, and the date that follows it: where a change seems to have begun.
    """

    log_wealth: float = 0.0
    recent: tuple[float, ...] = ()
    n: int = 0
    climb: float = 0.0
    since: str | None = None

    @property
    def value(self) -> float:
        """The wealth, at most e^690."""
        return math.exp(min(self.log_wealth, _LARGEST_LOG))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Wealth":
        """Return the state that `dataclasses.asdict` described."""
        return cls(**{**values, "recent": tuple(values["recent"])})


def bet(state: Wealth, outcome: float, day: date) -> Wealth:
    """Bet against "outcomes inside [-1, 1] have mean at most 0, given the past" and settle it.

    wealth *= 1 + b outcome, with b the Kelly bet on the recent outcomes, between 0 and `LARGEST_BET`: a
    growth rate adaptive bet (Waudby-Smith and Ramdas 2024). It is settled before it learns, so it stays fair.

    Raises
    ------
    ValueError
        The outcome is outside [-1, 1].
    """
    if not -1 <= outcome <= 1:
        raise ValueError(f"outcome={outcome!r} must be inside [-1, 1]: scale and clip it first")
    growth = math.log1p(_stake(state.recent) * outcome)
    starts = state.climb <= 0 or state.since is None
    return Wealth(
        state.log_wealth + growth,
        (*state.recent, outcome)[-MEMORY:],
        state.n + 1,
        max(state.climb, 0.0) + growth,
        day.isoformat() if starts else state.since,
    )


def _stake(recent: tuple[float, ...]) -> float:
    """Mean over second moment, with one imagined outcome that makes the first bet a modest one."""
    mean = 0.1 + sum(recent)
    square = 0.25 + sum(outcome * outcome for outcome in recent)
    return min(max(mean / square, 0.0), LARGEST_BET)


@dataclass(frozen=True)
class Side:
    """One side of a rate detector: M, and the events since the change seems to have begun."""

    detector: float = 0.0
    climb: float = 0.0
    since: str | None = None
    observed: float = 0.0
    expected: float = 0.0


@dataclass(frozen=True)
class RateState:
    """A detector for rates that fall or rise against what is expected; JSON-able."""

    low: Side = field(default_factory=Side)
    high: Side = field(default_factory=Side)
    weeks: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RateState":
        """Return the state that `to_dict` described."""
        return cls(Side(**values["low"]), Side(**values["high"]), values["weeks"])


def watch_rate(
    state: RateState,
    week: date,
    observed: float,
    expected: float,
    low_ratios: tuple[float, ...] = LOW_RATIOS,
) -> RateState:
    """Add a week of events to the Shiryaev-Roberts e-detector of both sides.

    A week in which nothing was expected and nothing came is not counted: M would grow by 1 for no reason.

    M = (M + 1) mean_r exp(O ln(r / .8) - mu (r - .8)) over `low_ratios`; each term has mean at most 1
    while O is Poisson with rate at least .8 mu. The mirror side has r and .8 inverted. With M compared with
    A, the mean number of weeks to a false alarm is at least A for each side.

    Parameters
    ----------
    observed, expected : O and mu of the week that begins on `week`.
    low_ratios : rates looked for, below .8; the mirror side looks for their inverses.

    Raises
    ------
    ValueError
        A count is negative or not finite.
    """
    if not (0 <= observed < math.inf and 0 <= expected < math.inf):
        raise ValueError(f"counts must be finite and not negative, got {observed=} and {expected=}")
    if observed == expected == 0:
        return state
    low = _log_ratio(observed, expected, LOW_LIMIT, low_ratios)
    high = _log_ratio(observed, expected, HIGH_LIMIT, tuple(1 / ratio for ratio in low_ratios))
    return RateState(
        _advance(state.low, week, low, observed, expected),
        _advance(state.high, week, high, observed, expected),
        state.weeks + 1,
    )


def _log_ratio(observed: float, expected: float, limit: float, ratios: tuple[float, ...]) -> float:
    """Logarithm of the mean likelihood ratio."""
    logs = [observed * math.log(r / limit) - expected * (r - limit) for r in ratios]
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))


def _advance(side: Side, week: date, log_ratio: float, observed: float, expected: float) -> Side:
    detector = math.exp(min(math.log1p(side.detector) + log_ratio, _LARGEST_LOG))
    if side.climb <= 0 or side.since is None:
        return Side(detector, log_ratio, week.isoformat(), observed, expected)
    return Side(
        detector, side.climb + log_ratio, side.since, side.observed + observed, side.expected + expected
    )
