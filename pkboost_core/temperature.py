"""Calibration for more than two classes: one temperature for all raw scores.

p = softmax(beta F) with beta > 0, the inverse temperature (Guo, Pleiss, Sun, Weinberger 2017): the order of
the classes never changes. Its log-loss is convex in beta.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pkboost_core.calibration import is_clearly_positive
from pkboost_core.loss import softmax, softmax_loss
from pkboost_core.targets import weighted_mean

_EDGE = 1e-12
_LIMITS = (1e-3, 1e3)
_MIN_ROWS = 20


@dataclass(frozen=True)
class Temperature:
    """Raw scores (n, K) to probabilities; `inverse` = 1 leaves them as they are."""

    inverse: float = 1.0

    def __post_init__(self) -> None:
        if not _LIMITS[0] <= self.inverse <= _LIMITS[1]:
            raise ValueError(
                f"inverse temperature {self.inverse!r} should lie in [{_LIMITS[0]}, {_LIMITS[1]}]"
            )

    def predict(self, raw: np.ndarray) -> np.ndarray:
        """Return probabilities, float64 (n, K), inside (0, 1), rows adding up to 1."""
        p = np.clip(softmax(self.inverse * raw.T).T, _EDGE, 1.0 - _EDGE)
        return p / p.sum(axis=1, keepdims=True)

    def to_state(self) -> dict[str, Any]:
        """Return the state as JSON scalars."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Temperature":
        """Rebuild from `to_state`; ValueError where a field is missing or out of range."""
        try:
            return cls(float(state["inverse"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"calibration state is incomplete: {error!r}; expected inverse") from error


def fit_temperature(
    raw: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None, kind: str = "auto"
) -> Temperature:
    """Fit the temperature on rows that the scores were not trained on.

    Parameters
    ----------
    raw : float64 (n, K)
    target : class numbers (n,)
    weight : (n,), or None
    kind : "temperature", or "auto": only where the log-loss falls by more than one standard error (of the
        paired difference per row), and at least 20 rows are there to judge by
    """
    if kind == "auto" and len(raw) < _MIN_ROWS:
        return Temperature()
    fitted = Temperature(_best_inverse(raw.T, target, weight))
    if kind == "auto":
        saved = softmax_loss(raw.T, target) - softmax_loss(fitted.inverse * raw.T, target)
        w = np.ones(len(saved)) if weight is None else weight.astype(np.float64)
        return fitted if is_clearly_positive(saved, w) else Temperature()
    return fitted


def _best_inverse(raw: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> float:
    """Find the zero of the slope, which rises with beta, by bisection on a logarithmic scale."""
    own = raw[target.astype(np.int64), np.arange(len(target))]
    low, high = map(math.log, _LIMITS)
    for _ in range(50):
        middle = 0.5 * (low + high)
        expected = (softmax(math.exp(middle) * raw) * raw).sum(axis=0)
        if weighted_mean(expected - own, weight) < 0.0:
            low = middle
        else:
            high = middle
    return min(max(math.exp(0.5 * (low + high)), _LIMITS[0]), _LIMITS[1])
