"""From raw scores to probabilities: leave them, shift them, or bend them, whichever held-out data asks for.

Beta calibration (Kull, Silva Filho, Flach 2017) maps s = sigmoid(F) by logit(p) = a ln(s) - b ln(1 - s) + c
with a, b >= 0, so the order of scores never flips; a = b = 1 is a shift by c, and c = 0 with it leaves s
alone.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

KINDS = ("none", "intercept", "beta")
"""Simplest first: `fit_calibration` prefers the earlier kind unless the later one is clearly better."""

_EDGE = 1e-12
_SHRINKAGE = 1e-3
_N_FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """A monotone map from raw scores (log-odds) to probabilities.

    Attributes
    ----------
    kind : "none", "intercept" or "beta"
    a, b, c : logit(p) = a ln(s) - b ln(1 - s) + c with s = sigmoid(raw score)
    """

    kind: str = "none"
    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"calibration kind={self.kind!r} is unknown; expected one of {', '.join(KINDS)}")
        if not all(math.isfinite(v) for v in (self.a, self.b, self.c)) or min(self.a, self.b) < 0:
            raise ValueError(
                f"calibration needs finite a, b >= 0 and finite c, got a={self.a}, b={self.b}, c={self.c}"
            )

    def predict(self, raw_score: ArrayLike) -> np.ndarray:
        """Return probabilities, float64, same shape, inside (0, 1), never falling with the score."""
        log_odds = _beta_basis(np.asarray(raw_score, dtype=np.float64)) @ np.array([self.a, self.b, self.c])
        return np.clip(_sigmoid(log_odds), _EDGE, 1 - _EDGE)

    def to_state(self) -> dict[str, Any]:
        """Return the state as JSON scalars."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Calibration":
        """Rebuild from `to_state`; ValueError where a field is missing or out of range."""
        try:
            return cls(str(state["kind"]), float(state["a"]), float(state["b"]), float(state["c"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"calibration state is incomplete: {error!r}; expected kind, a, b, c") from error


def fit_calibration(
    raw_score: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    kind: str = "auto",
    seed: int = 0,
) -> Calibration:
    """Fit a calibration on rows that the scores were not trained on.

    Parameters
    ----------
    raw_score : array of float, shape (n,), log-odds
    y : array of float, shape (n,), in [0, 1]
    sample_weight : array of float, shape (n,), or None
    kind : "none", "intercept", "beta", or "auto": by log-loss over 5 folds, the simplest kind within one
        standard error (of the paired difference per row) of the best
    seed : seed of the folds

    Returns
    -------
    Calibration; "none" under "auto" where fewer than 10 rows of either class are there to judge by.
    """
    f, y = np.asarray(raw_score, dtype=np.float64), np.asarray(y, dtype=np.float64)
    w = np.ones(len(f)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if not (f.ndim == 1 and f.shape == y.shape == w.shape):
        raise ValueError(
            f"scores, labels and weights must be vectors of one length: {f.shape}, {y.shape}, {w.shape}"
        )
    if kind == "auto":
        kind = _choose(f, y, w, seed)
    return _fit(kind, f, y, w)


def _choose(f: np.ndarray, y: np.ndarray, w: np.ndarray, seed: int) -> str:
    if min(np.sum(y >= 0.5), np.sum(y < 0.5)) < 2 * _N_FOLDS:
        return "none"
    fold = np.empty(len(y), dtype=np.int64)
    fold[np.lexsort((np.random.default_rng(seed).random(len(y)), y))] = np.arange(len(y)) % _N_FOLDS
    loss = np.empty((len(KINDS), len(y)))
    for k in range(_N_FOLDS):
        train, held_out = fold != k, fold == k
        for i, kind in enumerate(KINDS):
            p = _fit(kind, f[train], y[train], w[train]).predict(f[held_out])
            loss[i, held_out] = -(y[held_out] * np.log(p) + (1 - y[held_out]) * np.log1p(-p))
    best = int(np.argmin(loss @ w))
    return next(kind for i, kind in enumerate(KINDS) if not is_clearly_positive(loss[i] - loss[best], w))


def is_clearly_positive(excess: np.ndarray, w: np.ndarray) -> bool:
    """Whether the weighted mean of differences per row exceeds its standard error."""
    mean = excess @ w / w.sum()
    standard_error = math.sqrt(np.sum((w * (excess - mean)) ** 2)) / w.sum()
    return bool(mean > standard_error)


def _fit(kind: str, f: np.ndarray, y: np.ndarray, w: np.ndarray) -> Calibration:
    if kind == "none":
        return Calibration()
    if kind == "intercept":
        ones = np.ones((len(f), 1))
        return Calibration(
            "intercept", c=float(fit_logistic(ones, y, w, np.zeros(1), _SHRINKAGE, offset=f)[0])
        )
    if kind != "beta":
        raise ValueError(f"calibration kind={kind!r} is unknown; expected auto, {', '.join(KINDS)}")
    a, b, c = _fit_beta(f, y, w)
    return Calibration("beta", a, b, c)


def _fit_beta(f: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[float, float, float]:
    """Minimise the log-loss over a, b >= 0: the best feasible of four choices of slopes held at zero."""
    basis, identity = _beta_basis(f), np.array([1.0, 1.0, 0.0])
    best, best_loss = identity, math.inf
    for columns in ([0, 1, 2], [0, 2], [1, 2], [2]):
        theta = np.zeros(3)
        theta[columns] = fit_logistic(basis[:, columns], y, w, identity[columns], _SHRINKAGE)
        loss = _deviance(basis @ theta, y, w) + _SHRINKAGE / 2 * float(np.sum((theta - identity) ** 2))
        if min(theta[0], theta[1]) >= 0 and loss < best_loss:
            best, best_loss = theta, loss
    return float(best[0]), float(best[1]), float(best[2])


def fit_logistic(
    x: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    start: np.ndarray | None = None,
    shrinkage: float = 0.0,
    offset: np.ndarray | float = 0.0,
    max_iter: int = 100,
) -> np.ndarray:
    """Fit a logistic regression by damped Newton steps.

    Parameters
    ----------
    x : array of float, shape (n, k); a column of ones where an intercept is wanted
    y, w : arrays of float, shape (n,): labels in [0, 1] and weights
    start : array of float, shape (k,), or None for zeros; also the point that `shrinkage` pulls towards
    shrinkage : weight of the penalty shrinkage / 2 * |theta - start|^2; > 0 keeps separable data finite
    offset : array of float, shape (n,), or 0; added to the log-odds

    Returns
    -------
    array of float64, shape (k,)
    """
    start = np.zeros(x.shape[1]) if start is None else start
    theta, loss = start.copy(), _deviance(x @ start + offset, y, w)
    for _ in range(max_iter):
        p = _sigmoid(x @ theta + offset)
        gradient = x.T @ (w * (p - y)) + shrinkage * (theta - start)
        hessian = (x * (w * p * (1 - p))[:, None]).T @ x + shrinkage * np.eye(len(theta))
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        scale, previous = 1.0, loss
        while scale > 1e-6:
            trial = theta - scale * step
            penalty = shrinkage / 2 * float(np.sum((trial - start) ** 2))
            loss = _deviance(x @ trial + offset, y, w) + penalty
            if loss <= previous:
                theta = trial
                break
            scale /= 2
        if previous - loss <= 1e-12 * (1 + abs(previous)):
            break
    return theta


def _deviance(log_odds: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    return float(w @ (np.logaddexp(0, log_odds) - y * log_odds))


def _beta_basis(f: np.ndarray) -> np.ndarray:
    """Columns ln(s), -ln(1 - s), 1 for s = sigmoid(f); with a = b they add up to a f."""
    return np.stack([-np.logaddexp(0, -f), np.logaddexp(0, f), np.ones_like(f)], axis=-1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))
