"""Log-loss with negatives that are still open: they may turn positive yet.

Having seen nothing so far multiplies the odds of an open row by a factor s below or above 1 (Bayes' theorem;
s = 1 - F where a share F of positives would have been seen by now: Chapelle 2014, "Modeling delayed feedback
in display advertising"). With p = sigmoid(raw) its chance to turn positive is r = sigmoid(raw + ln s), and

    loss = ln(1 + e^raw) - ln(1 + s e^raw),   gradient = p - r,   hessian bounded by p (1 - p)

so that r follows the model from round to round. s = 0 is an ordinary negative, s = 1 has no gradient.

Targets of open rows are coded as -s: rows are sampled, divided and weighted as before.
"""

from dataclasses import dataclass

import numpy as np

from pkboost_core.loss import LogLoss, logistic_loss
from pkboost_core.targets import LARGEST_ODDS, weighted_mean

N_PRIOR_STEPS = 50
LEAST_NEGATIVE_SHARE = 1e-9


@dataclass(frozen=True)
class OpenLogLoss(LogLoss):
    """Log-loss for targets in [0, 1], or -s for rows that are still open."""

    def base_scores(self, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the log-odds of the share of positives that makes the gradients sum to zero.

        Raises
        ------
        ValueError
            Nothing but 1 does: hardly a row is settled as negative.
        """
        raw = super().base_scores(np.maximum(target, 0.0), weight)[0]
        for _ in range(N_PRIOR_STEPS):
            mean = weighted_mean(expected_target(np.full(len(target), raw), target), weight)
            if 1.0 - mean < LEAST_NEGATIVE_SHARE:
                raise ValueError(
                    "by open_odds every open row turns positive, and hardly a row is settled as negative:"
                    " hand in rows that are, with open_odds of 0"
                )
            raw = np.log(mean / (1.0 - mean))
        return np.array([round(float(raw), 10)])

    def gradients(
        self,
        raw: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        gradient: np.ndarray,
        hessian: np.ndarray,
    ) -> None:
        """Write w (p - y) and w p (1 - p), with y = r for open rows."""
        super().gradients(raw, expected_target(raw[0], target), weight, gradient, hessian)

    def mean(self, raw: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """Return the mean loss of what was seen: open rows count as ln(1 + e^raw) - ln(1 + s e^raw)."""
        is_open = target < 0
        as_negatives = float(logistic_loss(raw[0], np.maximum(target, 0.0), weight))
        hope = np.logaddexp(0.0, raw[0, is_open] + np.log(-target[is_open].astype(np.float64)))
        w = weight[is_open].astype(np.float64) if len(weight) else np.ones(len(hope))
        return as_negatives - float(w @ hope) / (float(weight.sum()) if len(weight) else len(target))

    def membership(self, target: np.ndarray, output: int) -> np.ndarray:
        """Return the labels, 0 for open rows."""
        return np.maximum(target, 0.0)


def with_open(target: np.ndarray, open_odds: np.ndarray) -> np.ndarray:
    """Code the open rows of float64 targets: -s where `open_odds` is above 0.

    Raises
    ------
    ValueError
        An open row is labelled above 0, or a factor is negative, NaN or beyond `LARGEST_ODDS`.
    """
    bad = np.flatnonzero(~((open_odds >= 0) & (open_odds <= LARGEST_ODDS)))
    if len(bad):
        raise ValueError(
            f"open_odds={open_odds[bad[0]]:g} at row {bad[0]} should lie between 0 and {LARGEST_ODDS:g}"
        )
    is_open = open_odds > 0
    if target[is_open].any():
        row = int(np.flatnonzero(is_open & (target > 0))[0])
        raise ValueError(f"row {row} is labelled {target[row]:g} and open_odds says it is open; expected 0")
    return np.where(is_open, -open_odds, target)


def expected_target(raw: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return float32 targets with the chance of open rows to turn positive, r = sigmoid(raw + ln s)."""
    index = np.flatnonzero(target < 0)
    if not len(index):
        return target
    expected = target.astype(np.float32)
    odds = np.exp(np.clip(raw[index], -700.0, 700.0)) * -target[index].astype(np.float64)
    expected[index] = odds / (1.0 + odds)
    return expected
