"""What a treatment that was dealt out by known chances brings: means of both arms, difference, intervals.

With y the outcome, e the probability with which a unit was drawn into its arm and m(x) a forecast of y, every
unit of the population contributes

    psi = m(x) + 1{drawn into the arm} (y - m(x)) / e

whose mean estimates the mean outcome had everybody been in that arm, without bias however poor m is (AIPW:
Robins, Rotnitzky and Zhao 1994). m is a weighted least-squares line in x fitted to the arm's own units (Lin
2013); without x it is their weighted mean, and the estimate is Hajek's, for equal e the difference in means.
The draws are independent from unit to unit, so that intervals need no clusters (Abadie and others 2023).
"""

from dataclasses import dataclass

import numpy as np

Z = 1.959964
"""Two-sided 95 % of a normal distribution."""
POWER_AND_LEVEL = 2.801585
"""Standard errors between no effect and one that four in five experiments would find at the 5 % level."""


@dataclass(frozen=True)
class Effect:
    """A difference of two means with its 95 % interval.

    Attributes
    ----------
    treated, control : estimated means had everybody been in that arm.
    value, low, high : treated minus control.
    error : standard error of `value`.
    times, times_low, times_high : treated over control; None where a mean is not above 0.
    n_treated, n_control : units in each arm.
    """

    treated: float
    control: float
    value: float
    low: float
    high: float
    error: float
    times: float | None
    times_low: float | None
    times_high: float | None
    n_treated: int
    n_control: int

    @property
    def verdict(self) -> str:
        """`more`, `fewer`, or `tie` where 0 is inside the interval."""
        if self.low <= 0.0 <= self.high:
            return "tie"
        return "more" if self.value > 0 else "fewer"

    @property
    def detectable(self) -> float:
        """Smallest effect that would be found four times in five with as many units and as much noise."""
        return POWER_AND_LEVEL * self.error


def effect(
    y: np.ndarray,
    is_treated: np.ndarray,
    is_control: np.ndarray,
    propensity: np.ndarray,
    x: np.ndarray | None = None,
) -> Effect:
    """Estimate the mean outcome under treatment minus that under control, over all units given.

    Parameters
    ----------
    y : float64 (n,), the outcome.
    is_treated, is_control : bool (n,), the arms; units in neither count towards the population.
    propensity : float64 (n,) in (0, 1], with what probability each unit was drawn into the arm it is in.
    x : float64 (n,), known before the draw and correlated with the outcome; None: no adjustment.

    Raises
    ------
    ValueError
        An arm has fewer than three units, or a propensity is not in (0, 1].
    """
    for name, arm in (("treatment", is_treated), ("control", is_control)):
        if arm.sum() < 3:
            raise ValueError(f"the {name} arm has {arm.sum()} units: at least 3 are needed")
    in_arms = propensity[is_treated | is_control]
    if not (np.isfinite(in_arms).all() and (in_arms > 0).all() and (in_arms <= 1).all()):
        raise ValueError("propensities should be above 0 and at most 1: look for wrong ones in the log")
    treated = contributions(y, is_treated, propensity, x)
    control = contributions(y, is_control, propensity, x)
    error = _standard_error(treated - control)
    with_, without = float(treated.mean()), float(control.mean())
    value = with_ - without
    times, times_low, times_high = _ratio(treated, control)
    return Effect(
        treated=with_,
        control=without,
        value=value,
        low=value - Z * error,
        high=value + Z * error,
        error=error,
        times=times,
        times_low=times_low,
        times_high=times_high,
        n_treated=int(is_treated.sum()),
        n_control=int(is_control.sum()),
    )


def contributions(
    y: np.ndarray, is_in: np.ndarray, propensity: np.ndarray, x: np.ndarray | None
) -> np.ndarray:
    """Return psi of every unit, float64 (n,): its mean estimates the outcome had everybody been in the arm.

    Means over any group of units that was fixed before the draw estimate the same of that group.

    Parameters
    ----------
    is_in : bool (n,), drawn into the arm; the others as in `effect`.
    """
    design = np.ones((len(y), 1)) if x is None else np.column_stack([np.ones(len(y)), x - x.mean()])
    weight = 1.0 / propensity[is_in]
    root = np.sqrt(weight)
    line, _, rank, _ = np.linalg.lstsq(design[is_in] * root[:, None], y[is_in] * root, rcond=None)
    forecast = design @ line
    # Residuals of a fitted line are too small by the degrees of freedom that the line has used up.
    n = int(is_in.sum())
    residual = (y[is_in] - forecast[is_in]) * np.sqrt(n / (n - rank))
    psi = forecast.copy()
    # Weighted residuals sum up to 0: scaling them to the arm's true size changes the error, not the mean.
    psi[is_in] += residual * weight * (len(y) / weight.sum())
    return psi


def apart(first: Effect, second: Effect) -> tuple[float, float, float]:
    """Return by how much the effects on two disjoint groups differ: first minus second, low, high."""
    value, error = first.value - second.value, float(np.hypot(first.error, second.error))
    return value, value - Z * error, value + Z * error


def _standard_error(psi: np.ndarray) -> float:
    return float(psi.std(ddof=1) / np.sqrt(len(psi)))


def _ratio(treated: np.ndarray, control: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """Ratio of the means with its interval on the log scale (delta method)."""
    with_, without = float(treated.mean()), float(control.mean())
    if with_ <= 0 or without <= 0:
        return None, None, None
    half = Z * _standard_error(treated / with_ - control / without)
    ratio = with_ / without
    return ratio, ratio * float(np.exp(-half)), ratio * float(np.exp(half))
