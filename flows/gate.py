"""Sanity checks of a freshly trained model before it may become champion."""

from dataclasses import dataclass

import numpy as np

from flows.training import Trained

CALIBRATION_RATIO = (0.4, 2.5)


class NoUsableModelError(RuntimeError):
    """There is no champion and the new model cannot be used; nothing is published."""


@dataclass(frozen=True)
class GateDecision:
    """Whether a model may be promoted, and every check with its value: a record to store."""

    is_promoted: bool
    reasons: tuple[str, ...]
    checks: dict[str, bool]


def decide(trained: Trained, open_probabilities: np.ndarray, *, has_champion: bool) -> GateDecision:
    """Decide on promotion.

    A model that fails a check never replaces a champion. Without a champion, only a model whose probabilities
    are unusable is refused: doubtful scores with a warning serve sales better than none.

    Parameters
    ----------
    trained : the model and its backtest
    open_probabilities : float64 (n,), what it says of today's open leads
    has_champion : whether there is one to keep
    """
    evaluation = trained.evaluation
    ratio, roc_auc_high = evaluation.calibration_ratio, evaluation.roc_auc_high
    low, high = CALIBRATION_RATIO
    checks = {
        "probabilities are finite": bool(np.isfinite(open_probabilities).all()),
        "probabilities differ between leads": len(open_probabilities) < 2
        or bool(np.ptp(open_probabilities) > 0),
        "ranking is not worse than chance": roc_auc_high is None or roc_auc_high > 0.5,
        "calibrated in the large": ratio is None or low <= ratio <= high,
        "no leakage alarm": not trained.leakage.is_alarm,
    }
    failed = tuple(name for name, passed in checks.items() if not passed)
    is_usable = checks["probabilities are finite"]
    return GateDecision(is_usable and (not failed or not has_champion), failed, checks)


def _differ(probabilities: np.ndarray) -> bool:
    return len(probabilities) < 2 or bool(np.ptp(probabilities) > 0)
