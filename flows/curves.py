"""The curves of an evaluation as small tables: gains and lift, precision-recall, calibration, scores."""

from collections.abc import Mapping

import numpy as np

Table = Mapping[str, list[float]]

MAX_POINTS = 200
_Z = 1.959964  # 95 % of a normal distribution


def tables(y: np.ndarray, p: np.ndarray) -> dict[str, Table]:
    """Return every curve of labels `y` in {0, 1} and probabilities `p`, (n,); none with one class only."""
    if not _has_both_classes(y, p):
        return {}
    return {
        "gains": gains(y, p),
        "precision_recall": precision_recall(y, p),
        "calibration": calibration(y, p),
    }


def gains(y: np.ndarray, p: np.ndarray) -> Table:
    """Share of leads worked from the top, share of conversions they hold, and their lift over the prevalence.

    Leads of equal probability are taken together: their order is chance.
    """
    rows, positives = _cumulate(y, p)
    share, capture = rows / rows[-1], positives / positives[-1]
    keep = _thin(len(share))
    lift = np.divide(capture, share, out=np.full(len(share), np.nan), where=share > 0)
    lift[0] = lift[1]
    return _table(share=share[keep], capture=capture[keep], lift=lift[keep])


def precision_recall(y: np.ndarray, p: np.ndarray) -> Table:
    """Recall and precision at every distinct probability, highest first."""
    rows, positives = _cumulate(y, p)
    recall, precision = positives[1:] / positives[-1], positives[1:] / rows[1:]
    keep = _thin(len(recall))
    return _table(recall=recall[keep], precision=precision[keep])


def calibration(y: np.ndarray, p: np.ndarray, n_bins: int = 10) -> Table:
    """Mean probability and share of conversions in bins of equal size, with Wilson's 95 % interval."""
    order = np.argsort(p, kind="stable")
    bins = [b for b in np.array_split(order, n_bins) if len(b)]
    n = np.array([len(b) for b in bins], dtype=np.float64)
    forecast = np.array([p[b].mean() for b in bins])
    observed = np.array([y[b].mean() for b in bins])
    middle = (observed + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(observed * (1 - observed) / n + _Z**2 / (4 * n**2))
    low, high = np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)
    return _table(n=n, forecast=forecast, observed=observed, observed_low=low, observed_high=high)


def score_histogram(p: np.ndarray, n_bins: int = 36) -> Table:
    """Count leads by log-odds of their probability: bin edges as probabilities, and counts.

    On a log-odds axis 1 % and 10 % are as far apart as they are for the people who choose whom to call.
    """
    q = np.clip(p, 1e-4, 1 - 1e-4)
    log_odds = np.log(q / (1 - q))
    low, high = np.log(0.001 / 0.999), np.log(0.9 / 0.1)
    edges = np.linspace(
        min(low, log_odds.min(initial=low)), max(high, log_odds.max(initial=high)), n_bins + 1
    )
    count, _ = np.histogram(log_odds, edges)
    probability = 1 / (1 + np.exp(-edges))
    return _table(low=probability[:-1], high=probability[1:], n=count.astype(np.float64))


def _has_both_classes(y: np.ndarray, p: np.ndarray) -> bool:
    return len(y) > 0 and 0 < y.sum() < len(y) and bool(np.isfinite(p).all())


def _cumulate(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and positives at or above each distinct probability, highest first, starting with 0."""
    order = np.argsort(-p, kind="stable")
    last = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))
    positives = np.cumsum(y[order])[last]
    return np.append(0.0, last + 1.0), np.append(0.0, positives)


def _thin(n: int) -> np.ndarray:
    """Indices of at most `MAX_POINTS` of n points, first and last included, denser at the top leads."""
    if n <= MAX_POINTS:
        return np.arange(n)
    return np.unique(np.rint((n - 1) * np.linspace(0, 1, MAX_POINTS) ** 2).astype(np.int64))


def _table(**columns: np.ndarray) -> Table:
    return {name: [float(v) for v in np.round(values, 6)] for name, values in columns.items()}
