"""Why a score is what it is: attributions that add up (SHAP), gain, cover and permutation importance."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pkboost_core import treeshap
from pkboost_core.columns import Columns
from pkboost_core.crosses import credited
from pkboost_core.ensemble import Ensemble
from pkboost_core.predictor import line_contributions, raw_scores

_CHUNK_ROWS = 2048


def shap_values(ensemble: Ensemble, X: ArrayLike, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Attribute raw scores to features: their sum over features plus `expected` is the raw score.

    Constant parts go by path-dependent TreeSHAP: exact Shapley values. The rest is convention. A term of a
    linear leaf goes to its own feature, measured from the feature's mean in the leaf: the Shapley value of a
    linear function, given the leaf. What a cross of two features is attributed goes to them in halves.

    Parameters
    ----------
    ensemble : trees of a fitted booster
    X : array of float, shape (n, k), NaN = missing, categories as codes
    n_threads : rows are spread over so many threads; the bytes of the result do not depend on it

    Returns
    -------
    values : float64, shape (n, k) for one output, else (n, k, n_outputs); log-odds for binary targets
    expected : float64, shape (n_outputs,); mean raw score over the training rows, terms of linear leaves
        left out: in every leaf their mean, weighted by hessian, is zero

    Raises
    ------
    ValueError
        Wrong number of columns, or a path that tests more than 64 distinct features.
    """
    rows = np.asarray(X)
    if rows.ndim != 2 or rows.shape[1] != ensemble.n_features:
        raise ValueError(f"expected a matrix with {ensemble.n_features} columns, got shape {rows.shape}")
    paths = treeshap.leaf_paths(ensemble)
    values = np.zeros((len(rows), ensemble.n_columns, ensemble.n_outputs))

    def explain_chunk(start: int) -> None:
        chunk = slice(start, start + _CHUNK_ROWS)
        columns = _columns(ensemble, ensemble.widened(rows[chunk]))
        for output in range(ensemble.n_outputs):
            values[chunk, :, output] = treeshap.attributions(ensemble, paths, columns, output)

    def add_lines(start: int) -> None:
        chunk = slice(start, start + _CHUNK_ROWS)
        values[chunk] += line_contributions(ensemble, rows[chunk])

    with ThreadPoolExecutor(max(1, n_threads)) as pool:
        list(pool.map(explain_chunk, range(0, len(rows), _CHUNK_ROWS)))
        if ensemble.nodes["n_terms"].any():
            list(pool.map(add_lines, range(0, len(rows), _CHUNK_ROWS)))
    if len(ensemble.pairs):
        values = credited(values.swapaxes(1, 2), ensemble.pairs).swapaxes(1, 2)
    return (values[:, :, 0] if ensemble.n_outputs == 1 else values), treeshap.expected(ensemble, paths)


def gain_importance(ensemble: Ensemble) -> np.ndarray:
    """Return the share of total split gain that each feature earned; float64, shape (k,), sum 1 or 0."""
    return _share(ensemble, "gain")


def cover_importance(ensemble: Ensemble) -> np.ndarray:
    """Return the share of rows routed by each feature's splits; float64, shape (k,), sum 1 or 0."""
    return _share(ensemble, "cover")


def split_importance(ensemble: Ensemble) -> np.ndarray:
    """Return the share of splits that test each feature; float64, shape (k,), sum 1 or 0."""
    return _share(ensemble, None)


def _share(ensemble: Ensemble, field: str | None) -> np.ndarray:
    inner = ensemble.nodes[~ensemble.nodes["is_leaf"]]
    weights = np.ones(len(inner)) if field is None else inner[field]
    total = np.bincount(inner["feature"], weights, minlength=ensemble.n_columns).astype(np.float64)
    total = credited(total, ensemble.pairs)
    return total / total.sum() if total.sum() > 0 else total


@dataclass(frozen=True)
class Explanation:
    """Why one row has its raw score: `expected` plus all contributions is the raw score.

    Attributes
    ----------
    names : column names, x0, x1 ... where there were none
    values : the row as the model sees it: floats, level names, None where missing or never seen
    contributions : float64, shape (k,), or (k, n_outputs) for several raw scores
    expected, raw_score : float64, shape (n_outputs,), mean raw score in training, and the row's
    """

    names: tuple[str, ...]
    values: tuple[float | str | None, ...]
    contributions: np.ndarray
    expected: np.ndarray
    raw_score: np.ndarray

    def strongest(self, n: int = 5) -> list[tuple[str, float | str | None, float]]:
        """Return name, value and contribution of the n columns that move the (first) raw score most."""
        moves = self.contributions.reshape(len(self.names), -1)[:, 0]
        order = np.argsort(-np.abs(moves), kind="stable")[:n]
        return [(self.names[j], self.values[j], float(moves[j])) for j in order]


def explain_row(ensemble: Ensemble, columns: Columns, row: np.ndarray) -> Explanation:
    """Explain one row of a matrix, shape (1, k), as `Columns.matrix` returns it."""
    if len(row) != 1:
        raise ValueError(f"explain takes one row, got {len(row)}; call shap_values for many")
    contributions, expected = shap_values(ensemble, row)
    values = tuple(_shown(columns.levels.get(j), float(x)) for j, x in enumerate(row[0]))
    names = tuple(columns.label(j) for j in range(columns.n_columns))
    return Explanation(names, values, contributions[0], expected, raw_scores(ensemble, row)[0])


def _shown(levels: tuple[str, ...] | None, x: float) -> float | str | None:
    if math.isnan(x):
        return None
    return x if levels is None else levels[int(x)]


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
