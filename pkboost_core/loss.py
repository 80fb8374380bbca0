"""What a booster minimises: gradients, hessians and the held-out loss, for classes.

Raw scores are float64 (n_outputs, n): row k holds the scores of output k, contiguous for the kernels.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numba import types

from pkboost_core.compiled import fast_helper, kernel
from pkboost_core.params import min_child_hessian_for
from pkboost_core.targets import weighted_mean

SMALLEST_PRIOR = 1e-9
"""Share that a class without weight is given, so that its base score stays finite."""


class Loss(ABC):
    """A twice differentiable (or majorised) loss of raw scores.

    Attributes
    ----------
    label : what the held-out loss is called in messages
    n_outputs : raw scores per row, and trees per round
    shift, factor : the model's raw score is `shift + factor * boosted score`
    pos_weight : weight of positive rows in the loss that is boosted
    largest_step : bound on a leaf's step before the learning rate where the user sets none
    level : where leaf values are quantiles of residuals rather than Newton steps, which quantile; else None
    """

    label: ClassVar[str]
    n_outputs: int = 1
    shift: float = 0.0
    factor: float = 1.0
    pos_weight: float = 1.0
    largest_step: float = math.inf
    level: float | None = None

    @abstractmethod
    def base_scores(self, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the boosted scores before the first tree, float64 (n_outputs,), rounded to 10 decimals.

        Rounding keeps the order in which rows were summed from showing.
        """

    @abstractmethod
    def gradients(
        self,
        raw: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        gradient: np.ndarray,
        hessian: np.ndarray,
    ) -> None:
        """Write first and second derivatives, float32 (n_outputs, n); an empty `weight` means ones."""

    @abstractmethod
    def mean(self, raw: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """Return the weighted mean of the loss that is reported, in the units of the user's targets."""

    @abstractmethod
    def strata(self, target: np.ndarray) -> np.ndarray:
        """Number the rows' strata, int64 (n,), for random shares in which each stratum keeps its part."""

    def membership(self, target: np.ndarray, output: int) -> np.ndarray:
        """Return how much of each row is positive for an output, in [0, 1]: what label entropy counts."""
        return target

    def min_child_hessian(self, n_rows: int, weight: np.ndarray) -> float:
        """Return the smallest hessian of a child under "auto"."""
        return min_child_hessian_for(n_rows)


@dataclass(frozen=True)
class LogLoss(Loss):
    """Binary log-loss of log-odds F with p = sigmoid(F): g = w (p - y), h = w p (1 - p)."""

    pos_weight: float = 1.0
    label: ClassVar[str] = "log-loss"

    def __post_init__(self) -> None:
        """Let `shift` take back what `pos_weight` adds to the log-odds."""
        object.__setattr__(self, "shift", -math.log(self.pos_weight))

    def base_scores(self, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the log-odds of the weighted base rate."""
        mean = weighted_mean(target, weight)
        return np.array([round(math.log(mean / (1.0 - mean)), 10)])

    def gradients(
        self,
        raw: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        gradient: np.ndarray,
        hessian: np.ndarray,
    ) -> None:
        """Write w (p - y) and w p (1 - p)."""
        logistic_gradients(raw[0], target, weight, gradient[0], hessian[0])

    def mean(self, raw: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """Return the mean log-loss with the effect of `pos_weight` taken back."""
        return float(logistic_loss(raw[0] + self.shift, target, weight))

    def strata(self, target: np.ndarray) -> np.ndarray:
        """Return the class nearer to each target."""
        return (target >= 0.5).astype(np.int64)


@dataclass(frozen=True)
class Softmax(Loss):
    """Multinomial log-loss; targets are class numbers, p = softmax of a row's raw scores.

    g_k = w (p_k - [y = k]) and h_k = w p_k (1 - p_k) K / (K - 1). The factor (Friedman 2001, algorithm 6)
    makes up for steps that ignore the other classes' trees: for K = 2 it gives the step of binary log-loss.
    """

    n_outputs: int = 3
    label: ClassVar[str] = "log-loss"

    def base_scores(self, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the logarithms of the classes' weighted shares."""
        weights = weight.astype(np.float64) if len(weight) else None
        counts = np.bincount(target.astype(np.int64), weights, self.n_outputs)
        return np.round(np.log(np.maximum(counts / counts.sum(), SMALLEST_PRIOR)), 10)

    def gradients(
        self,
        raw: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        gradient: np.ndarray,
        hessian: np.ndarray,
    ) -> None:
        """Write w (p_k - [y = k]) and w p_k (1 - p_k) K / (K - 1)."""
        p = softmax(raw)
        curvature = p * (1.0 - p) * (self.n_outputs / (self.n_outputs - 1))
        p[target.astype(np.int64), np.arange(len(target))] -= 1.0
        write(gradient, hessian, p, curvature, weight)

    def mean(self, raw: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """Return the mean multinomial log-loss in nats."""
        return weighted_mean(softmax_loss(raw, target), weight)

    def strata(self, target: np.ndarray) -> np.ndarray:
        """Return the classes."""
        return target.astype(np.int64)

    def membership(self, target: np.ndarray, output: int) -> np.ndarray:
        """Return 1 for rows of the class, else 0."""
        return (target == output).astype(np.float32)


def write(gradient: np.ndarray, hessian: np.ndarray, first: Any, second: Any, weight: np.ndarray) -> None:
    """Store derivatives times weights; an empty `weight` means ones."""
    gradient[:] = first
    hessian[:] = second
    if len(weight):
        gradient *= weight
        hessian *= weight


def softmax(raw: np.ndarray) -> np.ndarray:
    """Return exp(F_k) / sum_j exp(F_j) along the first axis."""
    p = np.exp(raw - raw.max(axis=0))
    p /= p.sum(axis=0)
    return p


def softmax_loss(raw: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return -ln p of each row's class, float64 (n,)."""
    centred = raw - raw.max(axis=0)
    own = centred[target.astype(np.int64), np.arange(len(target))]
    return np.log(np.exp(centred).sum(axis=0)) - own


@fast_helper
def exponential(x):
    """Return exp(x) to about 6e-8, by a polynomial that compiles to vector code: five times libm's speed."""
    x = min(max(x, -700.0), 700.0)
    k = math.floor(x * 1.4426950408889634 + 0.5)
    r = x - k * 0.6931471805599453
    series = 1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040)))
    series = 1.0 + r * (1.0 + r * (0.5 + r * (1 / 6 + r * series)))
    bits = np.int64((np.int64(k) + 1023) << 52)
    return series * bits.view(np.float64)


@kernel(
    types.void(
        types.float64[::1], types.float32[::1], types.float32[::1], types.float32[::1], types.float32[::1]
    ),
    fastmath=True,
)
def logistic_gradients(raw, target, weight, gradient, hessian):
    """Write w (p - y) and w p (1 - p); an empty `weight` means ones."""
    for i in range(len(raw)):
        p = 1.0 / (1.0 + exponential(-raw[i]))
        gradient[i] = p - target[i]
        hessian[i] = p * (1.0 - p)
    if len(weight) > 0:
        for i in range(len(raw)):
            gradient[i] *= weight[i]
            hessian[i] *= weight[i]


@kernel(types.float64(types.float64[::1], types.float32[::1], types.float32[::1]))
def logistic_loss(raw, target, weight):
    """Weighted mean log-loss in nats; an empty `weight` means ones."""
    is_weighted = len(weight) > 0
    loss = 0.0
    total = 0.0
    for i in range(len(raw)):
        w = np.float64(weight[i]) if is_weighted else 1.0
        softplus = max(raw[i], 0.0) + math.log1p(math.exp(-abs(raw[i])))
        loss += w * (softplus - np.float64(target[i]) * raw[i])
        total += w
    return loss / total
