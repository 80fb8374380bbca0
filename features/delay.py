"""How late wins arrive: the delay curve F, and what F says about leads that are still open.

F(a) is the share of all eventual wins that is known by age a. With p the chance to win at all, a lead that is
still open at age a wins later with chance r = p (1 - F(a)) / (1 - p F(a)) (Chapelle 2014, "Modeling delayed
feedback in display advertising"). features/delay_estimation.py estimates F.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

MIN_SEEN_SHARE = 0.15
"""Open leads with a smaller F say next to nothing: they are left out of training on soft labels."""


@dataclass(frozen=True)
class DelayCurve:
    """Share of eventual wins seen by an age, for all leads together and by segment; numbers only, JSON-able.

    Call it: `curve(ages)` or `curve(ages, segments)`.

    Attributes
    ----------
    ages : knots in days, strictly increasing, the first is 0; linear in between, flat after the last.
    pooled : F at the knots, from 0, never falling, at most 1.
    segments : F at the knots for each segment; a segment not listed has the pooled curve.
    n_wins, segment_wins : wins behind each curve.
    support_days : the age up to which the data speak; what lies beyond is the tail's assumption.
    tail : "observed" (every win is seen by support_days) or "lognormal" (a fitted tail from there on).

    Raises
    ------
    ValueError
        The knots or a curve are not what the attributes say.
    """

    ages: tuple[float, ...]
    pooled: tuple[float, ...]
    segments: Mapping[str, tuple[float, ...]]
    n_wins: int
    segment_wins: Mapping[str, int]
    support_days: float
    tail: str

    def __post_init__(self) -> None:
        ages = np.asarray(self.ages)
        if len(ages) < 2 or ages[0] != 0 or not np.all(np.diff(ages) > 0):
            raise ValueError("ages of a delay curve must start at 0 and increase strictly")
        for name, values in {"pooled": self.pooled, **self.segments}.items():
            _check_curve(name, np.asarray(values), len(ages))

    def __call__(self, age_days: ArrayLike, segment: str | ArrayLike | None = None) -> FloatArray:
        """Return F at ages in days; 0 at and below age 0.

        Parameters
        ----------
        age_days : float, any shape.
        segment : None (pooled), one name for all ages, or an array of names of the same shape.

        Returns
        -------
        float64, the shape of `age_days`.

        Raises
        ------
        ValueError
            An age is NaN, or the shapes differ.
        """
        age = np.asarray(age_days, dtype=np.float64)
        if np.isnan(age).any():
            raise ValueError("age_days holds NaN; give every lead an age")
        if segment is None or isinstance(segment, str):
            return np.interp(age, self.ages, self.values(segment))
        names = np.asarray(segment)
        if names.shape != age.shape:
            raise ValueError(f"one segment per age is needed: shapes {names.shape} and {age.shape} differ")
        seen = np.interp(age, self.ages, self.pooled)
        for name in self.segments:
            chosen = names == name
            seen[chosen] = np.interp(age[chosen], self.ages, self.segments[name])
        return seen

    def values(self, segment: str | None = None) -> tuple[float, ...]:
        """Return F at the knots for one segment; the pooled curve for None and for unknown segments."""
        return self.pooled if segment is None else self.segments.get(segment, self.pooled)

    def window_share(
        self,
        start_age: ArrayLike,
        elapsed_days: ArrayLike,
        horizon_days: float,
        segment: str | ArrayLike | None = None,
    ) -> FloatArray:
        """Return the share of a label window's wins that is seen `elapsed_days` into it.

        For a lead open at `start_age` with window [start, start + horizon) this is
        (F(start + elapsed) - F(start)) / (F(start + horizon) - F(start)): F of the label "won within the
        horizon". It is 1 where the curve leaves nothing to come.
        """
        start, elapsed = np.broadcast_arrays(
            np.asarray(start_age, dtype=np.float64), np.clip(elapsed_days, 0.0, horizon_days)
        )
        before = self(start, segment)
        whole = self(start + horizon_days, segment) - before
        part = self(start + elapsed, segment) - before
        return np.divide(part, whole, out=np.ones_like(whole), where=whole > 0)

    def quantile(self, share: float, segment: str | None = None) -> float:
        """Return the age in days by which `share` of the wins is seen; infinite if the curve stays below."""
        values = np.asarray(self.values(segment))
        if not 0 < share <= 1:
            raise ValueError(f"share={share!r} must be inside (0, 1]")
        k = int(np.searchsorted(values, share))
        if k == len(values):
            return float("inf")
        low, high = values[k - 1], values[k]
        return float(self.ages[k - 1] + (share - low) / (high - low) * (self.ages[k] - self.ages[k - 1]))

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DelayCurve":
        """Return the curve that `to_dict` described."""
        segments = {name: tuple(curve) for name, curve in values["segments"].items()}
        lists = {"ages": tuple(values["ages"]), "pooled": tuple(values["pooled"]), "segments": segments}
        return cls(**{**values, **lists})


def _check_curve(name: str, values: FloatArray, n: int) -> None:
    if len(values) != n:
        raise ValueError(f"curve {name!r} has {len(values)} values for {n} ages")
    if values[0] != 0 or np.any(np.diff(values) < 0) or not 0 < values[-1] <= 1:
        raise ValueError(f"curve {name!r} must rise from 0 to at most 1 and never fall")


def rescore(p: ArrayLike, seen_share: ArrayLike) -> FloatArray:
    """Return the chance of a lead still open to win yet: p (1 - F) / (1 - p F) (Chapelle 2014).

    Parameters
    ----------
    p : chance to win at all (or within the label window), inside [0, 1).
    seen_share : F at the lead's age, inside [0, 1].

    Returns
    -------
    float64, the broadcast shape: p at F = 0, falling to 0 at F = 1.
    """
    chance, seen = _chances(p), _shares(seen_share)
    return chance * (1 - seen) / (1 - chance * seen)


def expected_wins(p: ArrayLike, seen_now: ArrayLike, seen_then: ArrayLike) -> FloatArray:
    """Return each open lead's chance to become a known win between two ages.

    It is p (F(then) - F(now)) / (1 - p F(now)). The sum over all open leads is what early wins are compared
    with.

    Raises
    ------
    ValueError
        A share falls from now to then.
    """
    chance, now, then = _chances(p), _shares(seen_now), _shares(seen_then)
    if np.any(then < now):
        raise ValueError("seen_then must not be smaller than seen_now: F never falls")
    return chance * (then - now) / (1 - chance * now)


def _chances(p: ArrayLike) -> FloatArray:
    values = np.asarray(p, dtype=np.float64)
    if not np.all((values >= 0) & (values < 1)):
        raise ValueError("p must be a probability inside [0, 1) without NaN")
    return values


def _shares(share: ArrayLike) -> FloatArray:
    values = np.asarray(share, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("a share of wins seen must be inside [0, 1] without NaN")
    return values
