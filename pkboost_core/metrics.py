"""How good are scores: ranking, probabilities, and how sure we are of either.

Labels may be soft: a target r in [0, 1] counts as a positive of weight r and a negative of weight 1 - r.
Where a metric is undefined (no positives, one class) the answer is NaN, never a lucky number.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pkboost_core.calibration import fit_logistic

Metric = Callable[..., float]
"""`metric(y, p, sample_weight=...) -> float`."""

_CLIP = 1e-15


class Interval(NamedTuple):
    """A point estimate and its bootstrap interval."""

    value: float
    low: float
    high: float


class CalibrationLine(NamedTuple):
    """Logistic recalibration: logit(P(y = 1)) = intercept + slope * logit(p)."""

    slope: float
    intercept: float


def _checked(
    y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if not (y.ndim == 1 and y.shape == p.shape == w.shape):
        raise ValueError(
            f"labels, scores and weights must be vectors of one length, got {y.shape}, {p.shape}, {w.shape}"
        )
    if np.isnan(p).any():
        raise ValueError(
            f"{int(np.isnan(p).sum())} of {len(p)} scores are NaN; drop or impute those rows first"
        )
    return y, p, w


def _cumulate(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of all rows at or above each distinct score, from the best; starts with 0."""
    order = np.argsort(-p, kind="stable")
    y, p, w = y[order], p[order], w[order]
    last_of_tie = np.flatnonzero(np.append(p[1:] != p[:-1], True))
    positives, total = np.cumsum(w * y)[last_of_tie], np.cumsum(w)[last_of_tie]
    return np.insert(positives, 0, 0.0), np.insert(total, 0, 0.0)


def average_precision(y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the area under the precision-recall curve, step-wise (no interpolation), ties taken together.

    Parameters
    ----------
    y : array of float, shape (n,), in [0, 1]
    p : array of float, shape (n,); any score that grows with the chance of y = 1
    sample_weight : array of float, shape (n,), or None

    Returns
    -------
    float; NaN without positives. A random order scores the prevalence.
    """
    y, p, w = _checked(y, p, sample_weight)
    if len(y) == 0:
        return float("nan")
    positives, total = _cumulate(y, p, w)
    if positives[-1] <= 0:
        return float("nan")
    precision = np.divide(positives, total, out=np.zeros_like(total), where=total > 0)
    return float(np.sum(np.diff(positives) * precision[1:]) / positives[-1])


def roc_auc(y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the chance that a positive outranks a negative, ties counting half; NaN for one class."""
    y, p, w = _checked(y, p, sample_weight)
    if len(y) == 0:
        return float("nan")
    positives, total = _cumulate(y, p, w)
    negatives = total - positives
    if positives[-1] <= 0 or negatives[-1] <= 0:
        return float("nan")
    area = np.sum(np.diff(negatives) * (positives[1:] + positives[:-1])) / 2
    return float(area / (positives[-1] * negatives[-1]))


def log_loss(y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the mean negative log-likelihood in nats; probabilities are clipped 1e-15 away from 0 and 1."""
    y, p, w = _checked(y, p, sample_weight)
    q = np.clip(p, _CLIP, 1 - _CLIP)
    return _mean(-(y * np.log(q) + (1 - y) * np.log1p(-q)), w)


def brier(y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Return the mean squared distance between probability and label."""
    y, p, w = _checked(y, p, sample_weight)
    return _mean((y - p) ** 2, w)


def _mean(values: np.ndarray, w: np.ndarray) -> float:
    total = w.sum()
    return float(values @ w / total) if total > 0 else float("nan")


def _positives_in_top(y: np.ndarray, p: np.ndarray, w: np.ndarray, amount: float) -> float:
    """Weight of positives among the best `amount` of weight, expected over random orders of tied rows."""
    positives, total = _cumulate(y, p, w)
    return float(np.interp(amount, total, positives))


def _amount(w: np.ndarray, share: float | None, k: float | None) -> float:
    total = float(w.sum())
    if share is not None and k is None:
        amount = share * total
    elif k is not None and share is None:
        amount = float(k)
    else:
        raise ValueError("give either share or k, not both and not neither")
    if not 0 < amount <= total * (1 + 1e-12):
        raise ValueError(f"share must be in (0, 1] and k in (0, {total:g}], got share={share}, k={k}")
    return amount


def precision_at(
    y: ArrayLike,
    p: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    share: float | None = None,
    k: float | None = None,
) -> float:
    """Return the share of positives among the top `share` of rows or the top `k` rows.

    Tied rows count with their expected value under a random order, so a constant score earns the prevalence.
    """
    y, p, w = _checked(y, p, sample_weight)
    amount = _amount(w, share, k)
    return _positives_in_top(y, p, w, amount) / amount


def capture_at(
    y: ArrayLike,
    p: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    share: float | None = None,
    k: float | None = None,
) -> float:
    """Return the share of all positives in the top `share` or the top `k` rows; NaN without positives."""
    y, p, w = _checked(y, p, sample_weight)
    amount, positives = _amount(w, share, k), float(w @ y)
    return _positives_in_top(y, p, w, amount) / positives if positives > 0 else float("nan")


def lift_at(
    y: ArrayLike,
    p: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    share: float | None = None,
    k: float | None = None,
) -> float:
    """Return precision at the top `share` (or top `k`) over the prevalence; 1 is a random order."""
    y, p, w = _checked(y, p, sample_weight)
    amount, prevalence = _amount(w, share, k), _mean(y, w)
    return _positives_in_top(y, p, w, amount) / amount / prevalence if prevalence > 0 else float("nan")


def calibration_error(
    y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None, *, n_bins: int = 15
) -> float:
    """Return the expected calibration error over bins of equal weight; equal probabilities share a bin.

    The mean over rows of |mean probability - mean label| of the row's bin, in probability units.
    """
    y, p, w = _checked(y, p, sample_weight)
    total = w.sum()
    if total <= 0:
        return float("nan")
    level, group = np.unique(p, return_inverse=True)
    weight = np.bincount(group, w, len(level))
    middle = np.cumsum(weight) - weight / 2
    bins = np.minimum(middle / total * n_bins, n_bins - 1).astype(np.int64)[group]
    return float(np.abs(np.bincount(bins, w * (p - y))).sum() / total)


def calibration_slope_intercept(
    y: ArrayLike, p: ArrayLike, sample_weight: ArrayLike | None = None
) -> CalibrationLine:
    """Return the slope and intercept of Cox's logistic recalibration of p; (1, 0) is perfect.

    A slope below 1 means probabilities too extreme. NaN where the line is undefined: one class, constant
    probabilities, or labels that p separates without error (the slope would be infinite).
    """
    y, p, w = _checked(y, p, sample_weight)
    q = np.clip(p, _CLIP, 1 - _CLIP)
    seen = w > 0
    if not seen.any() or np.ptp(q[seen]) == 0 or _separated(y[seen], q[seen]):
        return CalibrationLine(float("nan"), float("nan"))
    logit = np.log(q) - np.log1p(-q)
    slope, intercept = fit_logistic(np.column_stack([logit, np.ones_like(logit)]), y, w)
    return CalibrationLine(float(slope), float(intercept))


def _separated(y: np.ndarray, q: np.ndarray) -> bool:
    """Whether some cut of q divides rows that are not all-negative from rows that are not all-positive."""
    positive, negative = q[y > 0], q[y < 1]
    if len(positive) == 0 or len(negative) == 0:
        return True
    return bool(positive.min() >= negative.max() or positive.max() <= negative.min())


def bootstrap_interval(
    metric: Metric,
    y: ArrayLike,
    p: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return a metric with its percentile interval from a bootstrap over rows, or over whole groups.

    Parameters
    ----------
    metric : `metric(y, p, sample_weight=...) -> float`
    groups : array of shape (n_rows,) or None; rows of one group (a lead, an account) are drawn together
    n : number of resamples; those where the metric is NaN are left out
    seed : seed of the draws
    level : coverage, in (0, 1)

    Notes
    -----
    A draw is a vector of weights (how often each group came up), so nothing is copied and sorted afresh: the
    rows are sorted by score once.
    """
    y, p, w = _checked(y, p, sample_weight)
    if not 0 < level < 1:
        raise ValueError(f"level={level} must be inside (0, 1)")
    value = metric(y, p, sample_weight=w)
    order = np.argsort(-p, kind="stable")
    unit = np.arange(len(y)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    y, p, w, unit = y[order], p[order], w[order], unit[order]
    n_units, rng = int(unit.max(initial=-1)) + 1, np.random.default_rng(seed)
    draws = np.full(n, np.nan)
    for i in range(n if n_units else 0):
        times = np.bincount(rng.integers(0, n_units, n_units), minlength=n_units)
        draws[i] = metric(y, p, sample_weight=w * times[unit])
    draws = draws[~np.isnan(draws)]
    if len(draws) == 0:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
