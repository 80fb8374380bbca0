"""Metrics of a set of scored rows with known labels, with bootstrap intervals over leads."""

from dataclasses import asdict, dataclass

import numpy as np

from pkboost_core import metrics

N_BOOTSTRAP = 400


@dataclass(frozen=True)
class Evaluation:
    """Quality of probabilities `p` against labels `y`, prevalence beside PR-AUC.

    Intervals are percentile bootstraps that resample whole leads, because a lead appears at several
    snapshots. Every field is None where it is undefined (one class only).
    """

    protocol: str
    n_rows: int
    n_positives: int
    prevalence: float | None
    average_precision: float | None = None
    average_precision_low: float | None = None
    average_precision_high: float | None = None
    roc_auc: float | None = None
    roc_auc_low: float | None = None
    roc_auc_high: float | None = None
    lift_at_10pct: float | None = None
    precision_at_2pct: float | None = None
    log_loss: float | None = None
    log_loss_of_prevalence: float | None = None
    calibration_ratio: float | None = None

    def as_dict(self) -> dict[str, float | int | str | None]:
        """Return the fields as JSON-able values."""
        return asdict(self)


def evaluate(y: np.ndarray, p: np.ndarray, groups: np.ndarray, protocol: str, seed: int) -> Evaluation:
    """Measure probabilities on rows nobody trained on.

    Parameters
    ----------
    y, p : float64 (n,), labels in {0, 1} and probabilities in (0, 1)
    groups : (n,) cluster of each row for the bootstrap, the lead
    protocol : one line that says which rows these are and what the model had seen
    seed : of the bootstrap
    """
    n, n_positives = len(y), int(y.sum())
    prevalence = n_positives / n if n else None
    if n_positives in (0, n):
        return Evaluation(protocol, n, n_positives, prevalence)
    base = np.full(n, n_positives / n)
    ap = metrics.bootstrap_interval(metrics.average_precision, y, p, groups=groups, n=N_BOOTSTRAP, seed=seed)
    auc = metrics.bootstrap_interval(metrics.roc_auc, y, p, groups=groups, n=N_BOOTSTRAP, seed=seed)
    return Evaluation(
        protocol=protocol,
        n_rows=n,
        n_positives=n_positives,
        prevalence=prevalence,
        average_precision=ap.value,
        average_precision_low=ap.low,
        average_precision_high=ap.high,
        roc_auc=auc.value,
        roc_auc_low=auc.low,
        roc_auc_high=auc.high,
        lift_at_10pct=float(metrics.lift_at(y, p, share=0.10)),
        precision_at_2pct=float(metrics.precision_at(y, p, share=0.02)),
        log_loss=float(metrics.log_loss(y, p)),
        log_loss_of_prevalence=float(metrics.log_loss(y, base)),
        calibration_ratio=float(p.sum() / n_positives),
    )
