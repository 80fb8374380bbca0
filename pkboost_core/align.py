"""Undo, without labels, what an instrument did to a batch of inputs, and leave alone what a population did.

A column in other units, a new zero, a flipped sign, a slow drift of a meter: the numbers move though the
things measured do not. Mapping quantiles back onto the training values undoes that, but where a population
truly moved the same map destroys the signal, so the gate matters more than the map. Four facts help:

* A population moves among values seen before; an instrument makes values nobody has seen. Most columns of
  business data repeat their values (counts, prices, ages), so the share of *novel* values stays near what the
  column showed in its own past under any change of population, and nears one under any change of scale.
* Where values never repeat, an instrument keeps the *shape*: an affine map brings the column back onto its
  training distribution. A population changes the shape.
* How much a column moves by itself is known: tenths of the training rows are compared with the rows before.
* A batch of a few huge lumps where training had a spread (an economic index, say) is another time, not
  another instrument: no map brings it back, so none is used.

The limits were chosen on the sets of benchmarks/perturbation.py. Without the lump rule the map cost up to
11 % of PR-AUC on splits by time (bank_time), without the column's own past up to 10 % (noaa_weather).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pkboost_core.reference import (
    MIN_ROWS,
    ColumnReference,
    Reference,
    as_float32,
    is_novel,
    ks_distance,
    middle_ranks,
    rank_correlation,
)

_NOVELTY_MARGIN = 0.3
_MIN_SHARE = 0.2
_MAX_LUMP = 0.1
_OUTLIER_SHARE = (0.04, 0.2)
_SHAPE_RATIO = 0.35
_MAX_BLOCKS = 20
_KS_CRITICAL = 1.63


@dataclass(frozen=True)
class Touched:
    """What was done to one column of a batch.

    Attributes
    ----------
    column : index
    reason : "sign", "novel values", "shape", "correlation" or "outliers"
    is_flipped : whether the sign was turned
    row_share : share of the batch's rows that changed
    name : of the column, where it is known
    """

    column: int
    reason: str
    is_flipped: bool
    row_share: float
    name: str = ""


def align(reference: Reference, X: ArrayLike) -> tuple[np.ndarray, list[Touched]]:
    """Return a copy of the batch with disturbed columns mapped back, and what was touched.

    Parameters
    ----------
    reference : of `fit_reference`
    X : array of float, shape (n, k); one batch. The order of rows matters: drifts along it are followed

    Returns
    -------
    X : float64, shape (n, k)
    touched : one entry per changed column; empty when nothing looked like an instrument
    """
    rows = np.array(X, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(reference.columns):
        raise ValueError(f"expected a matrix with {len(reference.columns)} columns, got shape {rows.shape}")
    touched = []
    for j, known in enumerate(reference.columns):
        observed = np.flatnonzero(np.isfinite(rows[:, j]))
        if known is None or len(observed) < MIN_ROWS:
            continue
        values, reason, is_flipped = _align_column(known, rows[observed, j])
        changed = ~np.equal(values, rows[observed, j])
        if changed.any():
            rows[observed, j] = values
            touched.append(Touched(j, reason, is_flipped, float(changed.sum() / len(rows))))
    return rows, touched + _turn_by_correlation(reference, rows, touched)


def _align_column(known: ColumnReference, x: np.ndarray) -> tuple[np.ndarray, str, bool]:
    """Values to use instead of x, why, and whether the sign was turned."""
    if not known.repeats:
        return _align_shape(known, x)
    sample, limit = as_float32(known.sample), known.novelty + _NOVELTY_MARGIN
    novel = is_novel(sample, as_float32(x))
    blocks = _blocks(len(x))
    disturbed = np.concatenate([np.full(len(b), novel[b].mean() > limit) for b in blocks])
    if disturbed.sum() < max(MIN_ROWS, _MIN_SHARE * len(x)):
        return _drop_outliers(known, x, novel), "outliers", False
    out, part = x.copy(), x[disturbed]
    if is_novel(sample, as_float32(-part)).mean() <= known.novelty + 0.1:
        out[disturbed] = -part
        return out, "sign", True
    is_flipped = _shape_distance(known, -part) < 0.5 * _shape_distance(known, part)
    mapped = _map_quantiles(known, -part if is_flipped else part)
    if ks_distance(known.sample, mapped) > _MAX_LUMP:
        return x, "", False
    out[disturbed] = mapped
    return out, "novel values", is_flipped


def _align_shape(known: ColumnReference, x: np.ndarray) -> tuple[np.ndarray, str, bool]:
    """Map a column whose values never repeat, if an affine map alone would bring its distribution back."""
    critical = _KS_CRITICAL * np.sqrt(1 / len(x) + 1 / len(known.sample))
    before = ks_distance(known.sample, x)
    if before <= max(1.3 * critical, 1.1 * known.movement):
        return _drop_outliers(known, x, np.ones(len(x), bool)), "outliers", False
    level = _without_drift(x)
    as_is, turned = _shape_distance(known, level), _shape_distance(known, -level)
    if min(as_is, turned) > max(critical, _SHAPE_RATIO * before):
        return _drop_outliers(known, x, np.ones(len(x), bool)), "outliers", False
    is_flipped = turned < 0.5 * as_is
    return _map_quantiles(known, -x if is_flipped else x), "shape", bool(is_flipped)


def _drop_outliers(known: ColumnReference, x: np.ndarray, novel: np.ndarray) -> np.ndarray:
    """Treat as missing what lies far outside, if it is too much for chance and too little for a trend."""
    low, high = known.sample[0], known.sample[-1]
    margin = 0.05 * (high - low)
    far = novel & ((x < low - margin) | (x > high + margin))
    has_trend = known.repeats and known.novelty > 0.5
    is_fault = _OUTLIER_SHARE[0] < far.mean() < _OUTLIER_SHARE[1] and not has_trend
    return np.where(far, np.nan, x) if is_fault else x


def _blocks(n: int) -> list[np.ndarray]:
    """Cut n rows into at most 20 runs of at least 50."""
    return np.array_split(np.arange(n), max(1, min(_MAX_BLOCKS, n // MIN_ROWS)))


def _drifts(x: np.ndarray) -> bool:
    """Whether mean ranks differ between blocks by more than chance (four standard deviations)."""
    blocks, rank = _blocks(len(x)), middle_ranks(x) - 0.5
    excess = sum(len(b) * rank[b].mean() ** 2 for b in blocks) / max(rank.var(), 1e-12)
    df = len(blocks) - 1
    return df > 0 and excess > df + 4 * np.sqrt(2 * df)


def _without_drift(x: np.ndarray) -> np.ndarray:
    if not _drifts(x):
        return x
    return np.concatenate([x[b] - np.median(x[b]) for b in _blocks(len(x))])


def _map_quantiles(known: ColumnReference, x: np.ndarray) -> np.ndarray:
    """Replace each value by the training value of its rank; block by block where the column drifts."""
    out = np.empty_like(x)
    for block in _blocks(len(x)) if _drifts(x) else [np.arange(len(x))]:
        at = (middle_ranks(x[block]) * len(known.sample)).astype(np.int64)
        out[block] = known.sample[np.minimum(at, len(known.sample) - 1)]
    return out


def _shape_distance(known: ColumnReference, x: np.ndarray) -> float:
    """KS distance after location and scale are taken from the quartiles; 1 where x has no spread."""
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
    a, b, c = np.quantile(known.sample, [0.25, 0.5, 0.75])
    if high == low or a == c:
        return 1.0
    return ks_distance(known.sample, (x - middle) / (high - low) * (c - a) + b)


def _turn_by_correlation(reference: Reference, rows: np.ndarray, touched: list[Touched]) -> list[Touched]:
    """Turn columns, one at a time, whose correlations with the rest have changed sign; changes `rows`.

    Only columns whose values never repeat, or that were mapped, qualify: any other would have novel values.
    """
    if len(rows) < MIN_ROWS:
        return []
    mapped = {t.column for t in touched if t.reason in ("novel values", "shape")}
    eligible = [
        j
        for j, known in enumerate(reference.columns)
        if known is not None and (j in mapped or not known.repeats)
    ]
    if not eligible:
        return []
    strength = (reference.correlation**2).sum(axis=1)
    agreement = reference.correlation * rank_correlation(rows, reference.columns)
    turned: list[Touched] = []
    for _ in eligible:
        support = agreement.sum(axis=1)
        j = min(eligible, key=lambda i: support[i])
        if support[j] > -max(0.25 * strength[j], 4 * np.sqrt(strength[j] / len(rows))):
            break
        agreement[j] *= -1
        agreement[:, j] *= -1
        known, seen = reference.columns[j], np.isfinite(rows[:, j])
        if known is not None:
            rows[seen, j] = _map_quantiles(known, -rows[seen, j])
        turned.append(Touched(j, "correlation", True, float(seen.mean())))
    return turned
