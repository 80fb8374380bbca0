"""How precisely it is known how often leads with such a probability convert: a number in (0, 1).

The backtest's cohort is cut into bins of equal size by probability. In a lead's bin k of n leads converted;
the 95 % interval of that share, on log-odds with half a lead added to both sides (Haldane 1956, Anscombe
1956), lies strictly inside (0, 1). It is stretched to hold the lead's own probability, so that a forecast
that the bin contradicts is less sure. Confidence is 1 - (high - low) / (high + low): one half where the high
end is three times the low one.
"""

from collections.abc import Mapping, Sequence

import numpy as np

N_BINS = 10
MIN_BIN_ROWS = 50
_Z = 1.959964


def confidence(p: np.ndarray, cohort: Mapping[str, Sequence[float] | float]) -> np.ndarray | None:
    """Return the confidence of probabilities `p`, float64 (n,); None where there was no backtest.

    Parameters
    ----------
    cohort : `y` and `p` of the backtest, and `rows_per_lead`: a lead's snapshots convert together, so n and k
        are divided by it.
    """
    y, forecast = np.asarray(cohort["y"], dtype=np.float64), np.asarray(cohort["p"], dtype=np.float64)
    if not len(y):
        return None
    n_bins = int(np.clip(len(y) // MIN_BIN_ROWS, 1, N_BINS))
    order = np.argsort(forecast, kind="stable")
    bins = np.array_split(order, n_bins)
    edges = np.array([forecast[b[0]] for b in bins[1:]])
    per_lead = max(float(np.asarray(cohort.get("rows_per_lead", 1.0))), 1.0)
    n = np.array([len(b) for b in bins]) / per_lead
    k = np.array([y[b].sum() for b in bins]) / per_lead
    low, high = _interval(k, n)
    of = np.searchsorted(edges, p, side="right")
    low, high = np.minimum(low[of], p), np.maximum(high[of], p)
    return 1.0 - (high - low) / (high + low)


def _interval(k: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = np.log((k + 0.5) / (n - k + 0.5))
    half = _Z * np.sqrt(1.0 / (k + 0.5) + 1.0 / (n - k + 0.5))
    return 1.0 / (1.0 + np.exp(half - middle)), 1.0 / (1.0 + np.exp(-half - middle))
