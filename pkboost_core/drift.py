"""Has the population moved: histograms on the model's own bins, and a PSI that knows how much noise it holds.

PSI = sum over bins of (a - e) ln(a / e). Between two samples of one population of sizes n and m it is not
zero but about (1/n + 1/m) chi2 with B - 1 degrees of freedom (Yurdakul 2018), so the folklore limits .1 and
.25 cry wolf on small samples and sleep on large ones; `psi_critical` is the limit to compare with.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class ColumnDrift:
    """How far one column moved.

    Attributes
    ----------
    psi : population stability index over `n_groups` groups of bins
    critical : what PSI stays under with the chosen probability while nothing moves
    p_value : chance of a PSI at least this large while nothing moves
    missing_change : change in the share of missing values, current minus reference
    """

    psi: float
    critical: float
    p_value: float
    n_groups: int
    missing_change: float

    @property
    def is_drifted(self) -> bool:
        """Whether the column moved more than chance explains."""
        return self.psi > self.critical


def bin_histograms(
    X: ArrayLike, bin_thresholds: Sequence[np.ndarray], is_categorical: ArrayLike
) -> list[np.ndarray]:
    """Count rows per bin for each column; the last entry of a histogram counts missing values.

    Parameters
    ----------
    X : array of float, shape (n, k), NaN = missing
    bin_thresholds, is_categorical : as in `Ensemble`; category codes not among the thresholds count as
        missing

    Returns
    -------
    list of k arrays of int64: numeric columns have len(thresholds) + 2 entries, categorical len(thresholds) +
    1
    """
    rows, flags = np.asarray(X), np.asarray(is_categorical, dtype=bool)
    if rows.ndim != 2 or rows.shape[1] != len(bin_thresholds):
        raise ValueError(f"expected a matrix with {len(bin_thresholds)} columns, got shape {rows.shape}")
    return [_histogram(rows[:, j], thresholds, bool(flags[j])) for j, thresholds in enumerate(bin_thresholds)]


def _histogram(x: np.ndarray, thresholds: np.ndarray, is_categorical: bool) -> np.ndarray:
    bins = np.searchsorted(thresholds, x, side="left")
    missing_bin = len(thresholds) if is_categorical else len(thresholds) + 1
    missing = np.isnan(x)
    if is_categorical and len(thresholds):
        missing |= thresholds[np.minimum(bins, len(thresholds) - 1)] != x
    return np.bincount(np.where(missing, missing_bin, bins), minlength=missing_bin + 1)


def merge_bins(reference: ArrayLike, n_groups: int = 10) -> np.ndarray:
    """Assign fine bins to at most `n_groups` runs of about equal reference mass; missing keeps its own group.

    Parameters
    ----------
    reference : array of int, one histogram of `bin_histograms`

    Returns
    -------
    array of int64, same length: the group of each bin. PSI over hundreds of bins is mostly noise.
    """
    observed = np.asarray(reference, dtype=np.float64)[:-1]
    total = max(observed.sum(), 1.0)
    middle = np.cumsum(observed) - observed / 2
    raw = np.minimum(middle / total * n_groups, n_groups - 1).astype(np.int64)
    groups = np.unique(raw, return_inverse=True)[1]
    return np.append(groups, groups.max(initial=-1) + 1)


def psi(reference: ArrayLike, current: ArrayLike) -> float:
    """Return the population stability index of two count vectors over the same bins.

    Each cell gets half a count, so empty ones stay finite. Natural logarithm.
    """
    e = np.asarray(reference, dtype=np.float64) + 0.5
    a = np.asarray(current, dtype=np.float64) + 0.5
    if e.shape != a.shape or e.ndim != 1:
        raise ValueError(f"expected two count vectors over the same bins, got shapes {e.shape} and {a.shape}")
    e, a = e / e.sum(), a / a.sum()
    return float(np.sum((a - e) * np.log(a / e)))


def psi_critical(n: int, m: int, n_groups: int, q: float = 0.99) -> float:
    """Return what PSI between samples of n and m rows stays under with probability q while nothing moves."""
    if min(n, m) < 1:
        raise ValueError(f"both samples need rows, got n={n} and m={m}")
    return (1 / n + 1 / m) * chi2_quantile(q, n_groups - 1) if n_groups > 1 else 0.0


def column_drift(
    reference: ArrayLike, current: ArrayLike, q: float = 0.99, n_groups: int = 10
) -> ColumnDrift:
    """Compare two histograms of one column (from `bin_histograms`).

    Parameters
    ----------
    reference, current : arrays of int over the same bins
    q : probability of staying under the critical value while nothing moves; divide 1 - q by the number of
        columns watched
    n_groups : number of groups the bins are merged into, by reference mass
    """
    reference, current = np.asarray(reference), np.asarray(current)
    if reference.shape != current.shape:
        raise ValueError(
            f"histograms differ in bins: {reference.shape} and {current.shape}; use the same model's bins"
        )
    group = merge_bins(reference, n_groups)
    e, a = np.bincount(group, reference), np.bincount(group, current)
    used = (e + a) > 0
    e, a, n, m, count = e[used], a[used], int(reference.sum()), int(current.sum()), int(used.sum())
    value, critical = psi(e, a), psi_critical(n, m, count, q)
    p_value = chi2_sf(value / (1 / n + 1 / m), count - 1) if count > 1 else 1.0
    return ColumnDrift(value, critical, p_value, count, float(current[-1] / m - reference[-1] / n))


def chi2_sf(x: float, df: float) -> float:
    """Return the chance that a chi-square variable with df degrees of freedom exceeds x."""
    if x <= 0:
        return 1.0
    a, half = df / 2, x / 2
    scale = math.exp(a * math.log(half) - half - math.lgamma(a))
    return 1 - scale * _gamma_series(a, half) if half < a + 1 else scale * _gamma_fraction(a, half)


def _gamma_series(a: float, x: float) -> float:
    """Lower incomplete gamma over x^a e^-x, by its power series (quick for x < a + 1)."""
    term = total = 1 / a
    n = a
    while term > total * 1e-17:
        n += 1
        term *= x / n
        total += term
    return total


def _gamma_fraction(a: float, x: float) -> float:
    """Upper incomplete gamma over x^a e^-x, by Lentz's continued fraction (quick for x >= a + 1)."""
    b = x + 1 - a
    c, d = math.inf, 1 / b
    value, i = d, 0
    change = 0.0
    while abs(change - 1) > 1e-15 and i < 10_000:
        i += 1
        numerator = -i * (i - a)
        b += 2
        d = 1 / (numerator * d + b)
        c = b + numerator / c
        change = c * d
        value *= change
    return value


def chi2_quantile(q: float, df: float) -> float:
    """Return x with P(chi2_df <= x) = q, to about 12 digits: Wilson and Hilferty's start, then bisection."""
    if not 0 < q < 1 or df <= 0:
        raise ValueError(f"q must be inside (0, 1) and df positive, got q={q}, df={df}")
    spread = 2 / (9 * df)
    guess = df * max(1 - spread + NormalDist().inv_cdf(q) * math.sqrt(spread), 1e-3) ** 3
    low, high = 0.0, guess
    while chi2_sf(high, df) > 1 - q:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if chi2_sf(middle, df) > 1 - q else (low, middle)
    return high
