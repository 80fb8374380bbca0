"""What a policy's scores were worth, by the true chances of the leads it scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from drift_worlds import World

from pkboost_core.metrics import average_precision, calibration_slope_intercept, log_loss

CAPACITY_SHARE = 0.1
RECOVERED_SHARE = 0.95
SMOOTHED_WEEKS = 4
RECOVERED_WEEKS = 12
_FLOOR = 1e-6


@dataclass(frozen=True)
class Week:
    """One night's scores against the truth; outcomes are replaced by their chances, so no draw is in it.

    Attributes
    ----------
    precision, revenue : expected share of conversions, and expected amount, among the best tenth.
    average_precision, ceiling : expected, of the scores and of the truth itself.
    log_loss, least_loss : expected, of the scores and of the truth itself.
    """

    night: date
    precision: float
    revenue: float
    average_precision: float
    ceiling: float
    log_loss: float
    least_loss: float


def measure(world: World, night: date, p: np.ndarray) -> Week:
    """Measure the scores of the leads open on a night."""
    return measure_by(world.truth[world.rows(night)], night, p, world.deal)


def measure_by(truth: np.ndarray, night: date, p: np.ndarray, deal: float) -> Week:
    """Measure scores by the chances of the same leads."""
    best = np.argsort(-p, kind="stable")[: max(1, int(CAPACITY_SHARE * len(p)))]
    return Week(
        night,
        float(truth[best].mean()),
        float(truth[best].sum() * deal),
        _average_precision(truth, p),
        _average_precision(truth, truth),
        _log_loss(truth, p),
        _log_loss(truth, truth),
    )


def _both(truth: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every row twice: converted with the weight of its chance, and not with the rest."""
    y = np.repeat([1.0, 0.0], len(truth))
    return y, np.concatenate([p, p]), np.concatenate([truth, 1 - truth])


def _log_loss(truth: np.ndarray, p: np.ndarray) -> float:
    return log_loss(*_both(truth, np.clip(p, _FLOOR, 1 - _FLOOR)))


def _average_precision(truth: np.ndarray, p: np.ndarray) -> float:
    y, scores, weight = _both(truth, p)
    return average_precision(y, scores, weight)


def slope(world: World, scores: Mapping[date, np.ndarray]) -> float:
    """Return the calibration slope over some nights; 1 is right, below 1 is too extreme."""
    truth = np.concatenate([world.truth[world.rows(night)] for night in scores])
    p = np.clip(np.concatenate(list(scores.values())), _FLOOR, 1 - _FLOOR)
    return calibration_slope_intercept(*_both(truth, p)).slope


def share_of_ceiling(weeks: Sequence[Week]) -> float:
    """Return the PR-AUC over some weeks as a share of what the truth would reach."""
    return sum(week.average_precision for week in weeks) / sum(week.ceiling for week in weeks)


def weeks_to_recover(weeks: Sequence[Week], drift_date: date) -> float:
    """Weeks from the drift until four weeks together are back at 95 % of the share before."""
    before = share_of_ceiling([week for week in weeks if week.night < drift_date])
    after = [week for week in weeks if week.night >= drift_date]
    for k in range(len(after) - SMOOTHED_WEEKS + 1):
        rest = after[k : k + SMOOTHED_WEEKS]
        if share_of_ceiling(rest) >= RECOVERED_SHARE * before:
            return float(k)
    return float("inf")  # never
