"""Exact tail probabilities and control of false discoveries, in plain numbers.

scipy has the same functions but is here only because other packages bring it; the tests use it as an oracle.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pkboost_core.drift import chi2_quantile

BoolArray = NDArray[np.bool_]
_TINY = 1e-300


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), by Lentz's continued fraction (DLMF
    8.17.22).

    Parameters
    ----------
    x : inside [0, 1].
    a, b : positive.
    """
    if not (0 <= x <= 1 and a > 0 and b > 0):
        raise ValueError(f"x must be inside [0, 1] and a, b positive, got x={x}, a={a}, b={b}")
    if x in (0.0, 1.0):
        return float(x)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or _TINY)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for numerator in (even, odd):
            d = 1 / (1 + numerator * d or _TINY)
            c = 1 + numerator / c or _TINY
            change = c * d
            value *= change
        if abs(change - 1) < 1e-14:
            break
    return min(math.exp(scale) * value / a, 1.0)


def binomial_tail(k: float, n: float, p: float) -> float:
    """Return P(X >= k) for X binomial(n, p); k and n may be fractions, as effective counts are."""
    if k <= 0:
        return 1.0
    return incomplete_beta(p, k, n - k + 1) if k <= n else 0.0


def poisson_gamma_p_value(new: float, past: float, n_past: int, dispersion: float = 1.0) -> float:
    """Return the two-sided p-value of one more count after `n_past` counts that sum to `past`.

    Counts of one rate are, given their total, binomial(new + past, 1 / (n_past + 1)): no prior is needed.
    Counts that vary `dispersion` times as much as Poisson ones are divided by it.
    """
    new, past, share = new / dispersion, past / dispersion, 1 / (n_past + 1)
    above = binomial_tail(new, new + past, share)
    below = binomial_tail(past, new + past, 1 - share)
    return min(1.0, 2 * min(above, below))


def hypergeometric_tail(k: int, drawn: int, marked: int, total: int) -> float:
    """Return P(X >= k) for X marked items among `drawn` from `total` of which `marked` are marked."""
    if not (0 <= drawn <= total and 0 <= marked <= total):
        raise ValueError(f"drawn={drawn} and marked={marked} must be inside [0, total={total}]")
    lowest, highest = max(0, drawn + marked - total), min(drawn, marked)
    if k <= lowest:
        return 1.0
    if k > highest:
        return 0.0
    term = math.exp(
        _log_choose(marked, k) + _log_choose(total - marked, drawn - k) - _log_choose(total, drawn)
    )
    tail = 0.0
    for x in range(k, highest + 1):
        tail += term
        term *= (marked - x) * (drawn - x) / ((x + 1) * (total - marked - drawn + x + 1))
        if term < tail * 1e-16:
            break
    return min(tail, 1.0)


def share_p_value(k: int, n: int, past_k: int, past_n: int, dispersion: float = 1.0) -> float:
    """Return Fisher's two-sided p-value (twice the smaller tail) of k of n against past_k of past_n.

    Counts that vary `dispersion` times as much as binomial ones are shrunk to effective counts, rounded
    towards equal shares.
    """
    rate = past_k / past_n
    n, past_n = max(int(n / dispersion), 1) if n else 0, max(int(past_n / dispersion), 1)
    exact = k / dispersion
    k = min(math.floor(exact) if exact > rate * n else math.ceil(exact), n)
    past_k = min(round(rate * past_n), past_n)
    if k < rate * n:
        k, past_k = n - k, past_n - past_k
    return min(1.0, 2 * hypergeometric_tail(k, n, k + past_k, n + past_n))


def dispersion(observed: ArrayLike, expected: ArrayLike, variance: ArrayLike, n_fitted: int) -> float:
    """Return how many times as much counts vary as their law says: an upper bound, at least 1.

    Pearson's statistic over the 20 % quantile of chi-square: too high in 80 of 100 samples, so that a lucky
    quiet month does not make the next one look wild.

    Parameters
    ----------
    observed, expected, variance : floats (n,); cells without variance are left out.
    n_fitted : parameters behind `expected`, taken off the degrees of freedom.
    """
    o, e, v = (np.asarray(values, dtype=np.float64) for values in (observed, expected, variance))
    used = v > 0
    df = int(used.sum()) - n_fitted
    if df < 1:
        return 1.0
    return max(1.0, float((((o - e) ** 2)[used] / v[used]).sum()) / _lower_chi2(df))


def student_t_quantile(q: float, df: int) -> float:
    """Return x with P(t_df <= x) = q, for q of at least a half, by bisection."""
    if not 0.5 <= q < 1 or df < 1:
        raise ValueError(f"q must be inside [0.5, 1) and df at least 1, got q={q}, df={df}")
    low, high = 0.0, 1.0
    while _t_upper_tail(high, df) > 1 - q:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_upper_tail(middle, df) > 1 - q else (low, middle)
    return high


def benjamini_hochberg(p_values: ArrayLike, q: float) -> BoolArray:
    """Return which hypotheses to reject at false discovery rate q (Benjamini and Hochberg 1995)."""
    p = np.asarray(p_values, dtype=np.float64)
    ranked = np.sort(p)
    passed = np.flatnonzero(ranked <= q * np.arange(1, len(p) + 1) / max(len(p), 1))
    return p <= ranked[passed[-1]] if len(passed) else np.zeros(len(p), dtype=bool)


def e_benjamini_hochberg(e_values: ArrayLike, q: float) -> BoolArray:
    """Return which hypotheses to reject from e-values, however dependent (Wang and Ramdas 2022)."""
    e = np.asarray(e_values, dtype=np.float64)
    ranked = np.sort(e)[::-1]
    passed = np.flatnonzero(ranked * np.arange(1, len(e) + 1) >= len(e) / q)
    return e >= ranked[passed[-1]] if len(passed) else np.zeros(len(e), dtype=bool)


def p_to_e(p_value: float) -> float:
    """Return the e-value 1 / (2 sqrt(p)) (Vovk and Wang 2021, calibrator with kappa = 1/2)."""
    return 0.5 / math.sqrt(max(p_value, _TINY))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _t_upper_tail(x: float, df: int) -> float:
    return incomplete_beta(df / (df + x * x), df / 2, 0.5) / 2


@lru_cache(maxsize=512)
def _lower_chi2(df: int) -> float:
    return chi2_quantile(0.2, df)
