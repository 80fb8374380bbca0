"""Why a score is what it is: exact attributions (SHAP), gain, cover and permutation importance."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike

from pkboost_core import treeshap
from pkboost_core.ensemble import Ensemble

_CHUNK_ROWS = 2048


def shap_values(ensemble: Ensemble, X: ArrayLike, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Attribute raw scores to features, exactly: their sum over features plus `expected` is the raw score.

    Parameters
    ----------
    ensemble : trees of a fitted booster
    X : array of float, shape (n, k), NaN = missing, categories as codes
    n_threads : rows are spread over so many threads; the bytes of the result do not depend on it

    Returns
    -------
    values : float64, shape (n, k) for one output, else (n, k, n_outputs); log-odds for binary targets
    expected : float64, shape (n_outputs,); mean raw score over the training rows

    Raises
    ------
    ValueError
        Wrong number of columns, or a path that tests more than 64 distinct features.
    """
    rows = np.asarray(X)
    if rows.ndim != 2 or rows.shape[1] != ensemble.n_features:
        raise ValueError(f"expected a matrix with {ensemble.n_features} columns, got shape {rows.shape}")
    paths = treeshap.leaf_paths(ensemble)
    values = np.zeros((len(rows), ensemble.n_features, ensemble.n_outputs))

    def explain_chunk(start: int) -> None:
        chunk = slice(start, start + _CHUNK_ROWS)
        columns = _columns(ensemble, rows[chunk])
        for output in range(ensemble.n_outputs):
            values[chunk, :, output] = treeshap.attributions(ensemble, paths, columns, output)

    with ThreadPoolExecutor(max(1, n_threads)) as pool:
        list(pool.map(explain_chunk, range(0, len(rows), _CHUNK_ROWS)))
    return (values[:, :, 0] if ensemble.n_outputs == 1 else values), treeshap.expected(ensemble, paths)


def gain_importance(ensemble: Ensemble) -> np.ndarray:
    """Return the share of total split gain that each feature earned; float64, shape (k,), sum 1 or 0."""
    inner = ensemble.nodes[~ensemble.nodes["is_leaf"]]
    gain = np.bincount(inner["feature"], inner["gain"], minlength=ensemble.n_features).astype(np.float64)
    return gain / gain.sum() if gain.sum() > 0 else gain


def cover_importance(ensemble: Ensemble) -> np.ndarray:
    """Return the share of rows routed by each feature's splits; float64, shape (k,), sums to 1 (or 0)."""
    inner = ensemble.nodes[~ensemble.nodes["is_leaf"]]
    cover = np.bincount(inner["feature"], inner["cover"], minlength=ensemble.n_features).astype(np.float64)
    return cover / cover.sum() if cover.sum() > 0 else cover


def permutation_importance(
    predict: Callable[[np.ndarray], np.ndarray],
    X: ArrayLike,
    y: ArrayLike,
    metric: Callable[..., float],
    *,
    sample_weight: ArrayLike | None = None,
    n_repeats: int = 5,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much a metric falls when one column is shuffled.

    Parameters
    ----------
    predict : maps a matrix to scores, shape (n,)
    metric : `metric(y, score, sample_weight=...)`, larger is better (negate a loss)

    Returns
    -------
    mean, sd : float64, shape (k,), over `n_repeats` shuffles; correlated columns share what they hide from
        each other
    """
    X, rng = np.array(X), np.random.default_rng(seed)
    base = metric(y, predict(X), sample_weight=sample_weight)
    drop = np.zeros((n_repeats, X.shape[1]))
    for j in range(X.shape[1]):
        column = X[:, j].copy()
        for i in range(n_repeats):
            X[:, j] = rng.permutation(column)
            drop[i, j] = base - metric(y, predict(X), sample_weight=sample_weight)
        X[:, j] = column
    return drop.mean(axis=0), drop.std(axis=0)


def _columns(ensemble: Ensemble, X: np.ndarray) -> np.ndarray:
    """Feature-major float64 values; categories become bin codes, unseen ones NaN."""
    columns = np.array(X.T, dtype=np.float64, order="C")
    for j in np.flatnonzero(ensemble.is_categorical):
        codes, x = ensemble.bin_thresholds[j], columns[j]
        position = np.searchsorted(codes, x)
        seen = position < len(codes)
        seen[seen] = codes[position[seen]] == x[seen]
        columns[j] = np.where(seen, position, np.nan)
    return columns
