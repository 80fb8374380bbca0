"""T4, covariates: which features moved, and do leads fall into other leaves? A diagnosis for the report.

It never retrains and never pages.

PSI is compared with its own noise, (1/n + 1/m) chi-square (pkboost_core.drift); p-values become e-values, and
e-Benjamini-Hochberg holds the false discovery rate however the features depend on one another. A domain
classifier looks for what single columns cannot show.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from features.delay import FloatArray
from flows.monitors.exact import e_benjamini_hochberg, p_to_e
from flows.monitors.reading import Reading, log10, percent
from pkboost_core.drift import ColumnDrift, column_drift
from pkboost_core.metrics import roc_auc

FALSE_DISCOVERY_RATE = 0.05

FitPredict = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""(X, y, X_new) -> scores of X_new, higher for y = 1."""


def watch_covariates(
    reference: Mapping[str, ArrayLike], current: Mapping[str, ArrayLike], kind: str = "feature"
) -> list[Reading]:
    """Return one reading per feature, the most drifted first.

    Parameters
    ----------
    reference, current : feature -> counts over the same bins, the last one for missing values
        (`pkboost_core.drift.bin_histograms`), or over the leaves of a tree with a 0 at the end. One row per
        lead: the same lead at several dates is not new evidence.
    kind : what they are, the first word of each subject.

    Raises
    ------
    ValueError
        The two have different features, or a sample is empty.
    """
    if set(reference) != set(current):
        differing = sorted(set(reference) ^ set(current))
        raise ValueError(f"feature {differing[0]!r} is in only one of the two samples")
    drifts = {name: _drift(name, reference[name], current[name]) for name in reference}
    names = list(drifts)
    e_values = np.array([p_to_e(drifts[name].p_value) for name in names])
    hits = e_benjamini_hochberg(e_values, FALSE_DISCOVERY_RATE)
    needed = len(names) / (FALSE_DISCOVERY_RATE * max(int(hits.sum()), 1))
    readings = []
    for name, e_value, is_hit in zip(names, e_values.tolist(), hits.tolist(), strict=True):
        one = drifts[name]
        state = "has moved" if is_hit else "has not moved more than chance explains"
        words = f"{name} {state}: PSI {one.psi:.3f}, chance alone stays under {one.critical:.3f}"
        if abs(one.missing_change) >= 0.01:
            words += f"; missing values {100 * one.missing_change:+.0f} points"
        details = {"psi": one.psi, "critical": one.critical, "missing_change": one.missing_change}
        readings.append(
            Reading("T4", f"{kind} {name}", e_value, needed, log10(e_value), is_hit, one.psi, words, details)
        )
    return sorted(readings, key=lambda reading: -reading.statistic)


def watch_domain(
    reference: ArrayLike, current: ArrayLike, fit_predict: FitPredict, seed: int, max_rows: int = 5000
) -> Reading:
    """Train a classifier to tell current rows from reference rows on one half and test it on the other.

    On rows it was not trained on, the ROC-AUC has mean 1/2 and variance (n + m + 1) / (12 n m) while nothing
    moved (Mann and Whitney 1947), whatever the classifier.

    Parameters
    ----------
    reference, current : float (n, k) and (m, k), one row per lead, NaN = missing; at least 40 rows each.
    fit_predict : trains and scores, for instance a small PKBoostClassifier.
    seed, max_rows : of the sample taken from each.
    """
    rng = np.random.default_rng(seed)
    old, new = (_sample(np.asarray(rows, dtype=np.float64), rng, max_rows) for rows in (reference, current))
    n, m = len(old) // 2, len(new) // 2
    train = np.concatenate([old[:n], new[:m]])
    scores = fit_predict(train, np.repeat([0.0, 1.0], [n, m]), np.concatenate([old[n:], new[m:]]))
    n, m = len(old) - n, len(new) - m
    area = float(roc_auc(np.repeat([0, 1], [n, m]), scores))
    z = (area - 0.5) / math.sqrt((n + m + 1) / (12 * n * m))
    e_value = p_to_e(0.5 * math.erfc(z / math.sqrt(2)))
    needed = 1 / FALSE_DISCOVERY_RATE
    chance = percent(area)
    words = f"a classifier tells a new row from an old one in {chance} of pairs (50 % is chance)"
    details = {"roc_auc": area, "z": z, "reference_rows": len(old), "current_rows": len(new)}
    is_alarm = e_value >= needed
    return Reading("T4", "domain", e_value, needed, log10(e_value), is_alarm, area - 0.5, words, details)


def _sample(rows: FloatArray, rng: np.random.Generator, max_rows: int) -> FloatArray:
    if rows.ndim != 2 or len(rows) < 40:
        raise ValueError(f"a domain classifier needs a matrix of at least 40 rows, got shape {rows.shape}")
    return rows[rng.permutation(len(rows))[:max_rows]]


def _drift(name: str, reference: ArrayLike, current: ArrayLike) -> ColumnDrift:
    before, now = np.asarray(reference), np.asarray(current)
    if not before.sum() or not now.sum():
        raise ValueError(f"feature {name!r} has no rows in one of the samples")
    return column_drift(before, now, 1 - FALSE_DISCOVERY_RATE)
