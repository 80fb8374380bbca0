"""What a regressor minimises: squared error, Huber, Poisson deviance, pinball loss.

Targets are centred and scaled first, in float64, so that neither the units of y nor its distance from zero
cost precision afterwards: t = (y - shift) / factor. Boosting then starts at zero, the base score being the
shift. Gradients are plain NumPy: a pass of vector code, and nothing to compile.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from pkboost_core.loss import Loss, write
from pkboost_core.params import min_child_rows_for
from pkboost_core.targets import weighted_mean

LARGEST_EXPONENT = 30.0
"""Poisson scores are kept below: the predicted mean stays within e^30 of the overall one."""


class RegressionLoss(Loss):
    """A loss of one score per row; `fit` finds shift and factor."""

    @classmethod
    @abstractmethod
    def fit(cls, y: np.ndarray, weight: np.ndarray | None, alpha: float) -> Self:
        """Return the loss with what it takes from the targets, float64 (n,)."""

    def standardise(self, y: np.ndarray) -> np.ndarray:
        """Return the targets that are boosted, float64 (n,)."""
        return (y - self.shift) / self.factor

    @staticmethod
    def predict(raw: np.ndarray) -> np.ndarray:
        """Turn the model's raw scores into predictions."""
        return raw

    def base_scores(self, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return zero: the targets are centred."""
        return np.zeros(1)

    def strata(self, target: np.ndarray) -> np.ndarray:
        """Return 1 for the larger half of the targets, 0 for the smaller."""
        halves = np.zeros(len(target), dtype=np.int64)
        halves[np.argsort(target, kind="stable")[len(target) // 2 :]] = 1
        return halves

    def min_child_hessian(self, n_rows: int, weight: np.ndarray) -> float:
        """Return a number of rows, in units of their mean weight: the hessian of a row is its weight."""
        mean = float(np.mean(weight, dtype=np.float64)) if len(weight) else 1.0
        return min_child_rows_for(n_rows) * mean


@dataclass(frozen=True)
class SquaredLoss(RegressionLoss):
    """Squared error: g = w (F - t), h = w; reported as mean squared error."""

    shift: float = 0.0
    factor: float = 1.0
    label: ClassVar[str] = "mean squared error"

    @classmethod
    def fit(cls, y: np.ndarray, weight: np.ndarray | None, alpha: float) -> "SquaredLoss":
        """Centre at the mean, scale by the standard deviation."""
        mean = exact_mean(y, weight)
        return cls(mean, positive(math.sqrt(exact_mean((y - mean) ** 2, weight))))

    def gradients(
        self,
        raw: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        gradient: np.ndarray,
        hessian: np.ndarray,
    ) -> None:
        """Write w (F - t) and w."""
        write(gradient, hessian, raw - target, 1.0, weight)

    def mean(self, raw: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """Return the mean squared error."""
        return self.factor**2 * weighted_mean((raw[0] - target) ** 2, weight)


@dataclass(frozen=True)
class HuberLoss(RegressionLoss):
    """Huber's loss: quadratic up to `delta`, linear beyond; g = w clip(F - t, -delta, delta), h = w.

    The hessian is that of the quadratic that touches the loss from above, so that no step can overshoot.
    `delta` is the `alpha` quantile of |t| around the median of the targets, and stays fixed: held-out losses
    of different trees could not be compared otherwise. Reported in squared units of y, as 1/2 r^2 near zero.
    """

    shift: float = 0.0
    factor: float = 1.0
    delta: float = 1.0
    label: ClassVar[str] = "Huber loss"

    @classmethod
    def fit(cls, y: np.ndarray, weight: np.ndarray | None, alpha: float) -> "HuberLoss":
        """Centre at the median, scale by the median distance from it."""
        median, spread = median_and_spread(y, weight)
        distance = np.abs(y - median) / spread
        return cls(median, spread, positive(weighted_quantile(distance, weight, alpha)))

    def gradients(
        self,
        raw: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        gradient: np.ndarray,
        hessian: np.ndarray,
    ) -> None:
        """Write w clip(F - t, -delta, delta) and w."""
        write(gradient, hessian, np.clip(raw - target, -self.delta, self.delta), 1.0, weight)

    def mean(self, raw: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """Return the mean Huber loss."""
        distance = np.abs(raw[0] - target)
        inner = np.minimum(distance, self.delta)
        return self.factor**2 * weighted_mean(inner * (distance - 0.5 * inner), weight)


@dataclass(frozen=True)
class PoissonLoss(RegressionLoss):
    """Poisson deviance with log link: g = w (e^F - t), h = w e^F; reported as mean deviance.

    Targets are divided by their mean, whose logarithm is the base score.
    """

    shift: float = 0.0
    largest_step: float = 2.0
    label: ClassVar[str] = "Poisson deviance"

    @classmethod
    def fit(cls, y: np.ndarray, weight: np.ndarray | None, alpha: float) -> "PoissonLoss":
        """Check that counts are not negative, nor all zero; take the logarithm of their mean."""
        if (y < 0).any():
            raise ValueError(f"y={y.min():g} should not be smaller than 0 with loss='poisson'")
        mean = exact_mean(y, weight)
        if mean <= 0.0:
            raise ValueError("y is zero in every row with weight: loss='poisson' needs a positive sum")
        return cls(math.log(mean))

    def standardise(self, y: np.ndarray) -> np.ndarray:
        """Divide by the mean."""
        return y / math.exp(self.shift)

    @staticmethod
    def predict(raw: np.ndarray) -> np.ndarray:
        """Return e^F."""
        return np.exp(raw)

    def gradients(
        self,
        raw: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        gradient: np.ndarray,
        hessian: np.ndarray,
    ) -> None:
        """Write w (e^F - t) and w e^F."""
        mean = np.exp(np.minimum(raw, LARGEST_EXPONENT))
        write(gradient, hessian, mean - target, mean, weight)

    def mean(self, raw: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """Return the mean of 2 (t ln(t / m) - t + m), in the units of y."""
        t, f = target.astype(np.float64), np.minimum(raw[0], LARGEST_EXPONENT)
        logarithm = np.log(t, out=np.zeros_like(t), where=t > 0)
        return 2.0 * math.exp(self.shift) * weighted_mean(t * (logarithm - f) - t + np.exp(f), weight)


@dataclass(frozen=True)
class QuantileLoss(RegressionLoss):
    """Pinball loss of the `level` quantile: g = w ([F >= t] - level), h = w; reported as mean pinball loss.

    The hessian of the loss itself is zero, so it only decides where trees split; leaf values are the weighted
    quantiles of the residuals in each leaf, the exact minimiser (Friedman 2001, section 4.3).
    """

    shift: float = 0.0
    factor: float = 1.0
    level: float = 0.5
    label: ClassVar[str] = "pinball loss"

    @classmethod
    def fit(cls, y: np.ndarray, weight: np.ndarray | None, alpha: float) -> "QuantileLoss":
        """Centre at the quantile, scale by the median distance from the median."""
        return cls(weighted_quantile(y, weight, alpha), median_and_spread(y, weight)[1], alpha)

    def gradients(
        self,
        raw: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        gradient: np.ndarray,
        hessian: np.ndarray,
    ) -> None:
        """Write w ([F >= t] - level) and w."""
        write(gradient, hessian, (raw >= target) - self.level, 1.0, weight)

    def mean(self, raw: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """Return the mean pinball loss."""
        residual = target - raw[0]
        pinball = np.maximum(self.level * residual, (self.level - 1.0) * residual)
        return self.factor * weighted_mean(pinball, weight)


LOSSES: dict[str, type[RegressionLoss]] = {
    "squared": SquaredLoss,
    "huber": HuberLoss,
    "poisson": PoissonLoss,
    "quantile": QuantileLoss,
}
"""The losses of `PKBoostRegressor` by name."""


def exact_mean(values: np.ndarray, weight: np.ndarray | None) -> float:
    """Return the weighted mean, correctly rounded sums: the order of rows does not show."""
    if weight is None:
        return math.fsum(values) / len(values)
    return math.fsum(values * weight) / math.fsum(weight)


def weighted_quantile(values: np.ndarray, weight: np.ndarray | None, level: float) -> float:
    """Return the value that minimises the weighted pinball loss, the middle where an interval does.

    None or an empty `weight` means ones; without any weight the quantile is 0.
    """
    order = np.argsort(values, kind="stable")
    weights = np.ones(len(values)) if weight is None or not len(weight) else weight[order]
    below = np.cumsum(weights, dtype=np.float64)
    if not len(below) or below[-1] <= 0.0:
        return 0.0
    share = level * below[-1]
    last = int(np.searchsorted(below, below[-1], side="left"))
    low = min(int(np.searchsorted(below, share * (1.0 - 1e-12), side="left")), last)
    high = min(int(np.searchsorted(below, share * (1.0 + 1e-12), side="right")), last)
    return 0.5 * (float(values[order[low]]) + float(values[order[high]]))


def median_and_spread(y: np.ndarray, weight: np.ndarray | None) -> tuple[float, float]:
    """Return the median and the median distance from it; the mean distance where that is zero."""
    median = weighted_quantile(y, weight, 0.5)
    distance = np.abs(y - median)
    spread = weighted_quantile(distance, weight, 0.5)
    return median, spread if spread > 0.0 else positive(exact_mean(distance, weight))


def positive(scale: float) -> float:
    """Return a scale to divide by: 1 where there is none, as for targets that are all alike."""
    return scale if scale > 0.0 and math.isfinite(scale) else 1.0
