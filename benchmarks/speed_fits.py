"""The rows and the fits that all speed measurements share: equal settings for PKBoost and LightGBM."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pkboost_core import PKBoostClassifier

N_FEATURES, LEAVES, ROUNDS, RATE = 40, 31, 100, 0.1


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows with about 8 % positives, float32, 2 % of the first twenty columns' values missing."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, N_FEATURES), dtype=np.float32)
    score = (
        X[:, :10] @ np.linspace(0.9, 0.1, 10, dtype=np.float32) + np.sin(2 * X[:, 10]) + X[:, 11] * X[:, 12]
    )
    y = (rng.random(n) < 1 / (1 + np.exp(4.3 - 1.2 * score))).astype(np.float64)
    for column in X.T[:20]:
        column[rng.random(n) < 0.02] = np.nan
    return X, y


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds an action took, and what it returned."""
    start = time.perf_counter()
    outcome = action()
    return time.perf_counter() - start, outcome


def best_of(repeats: int, action: Callable[[], Any]) -> float:
    """Return the fewest seconds an action took."""
    return min(timed(action)[0] for _ in range(repeats))


def fit_pkboost(
    X: np.ndarray, y: np.ndarray, max_bins: int = 127, rounds: int = ROUNDS, n_threads: int = 1
) -> PKBoostClassifier:
    """Fit PKBoost without what the peers do not do here."""
    return PKBoostClassifier(
        n_estimators=rounds,
        learning_rate=RATE,
        max_leaf_nodes=LEAVES,
        max_depth=None,
        min_child_hessian=1.0,
        max_bins=max_bins,
        subsample=1.0,
        colsample=1.0,
        mi_weight=0.0,
        early_stopping=False,
        refit=False,
        calibration="none",
        n_threads=n_threads,
    ).fit(X, y)


def lightgbm_options(n_threads: int, **setting: Any) -> dict[str, Any]:
    """Return LightGBM's parameters for the same trees."""
    options = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": RATE, "lambda_l2": 1.0}
    options |= {"min_sum_hessian_in_leaf": 1.0, "min_data_in_leaf": 1, "num_threads": n_threads}
    return options | {"verbose": -1} | setting


def fit_lightgbm(
    X: np.ndarray, y: np.ndarray, setting: dict, n_threads: int, rounds: int = ROUNDS
) -> tuple[float, float, Any]:
    """Return the seconds to construct the data set, the seconds to train, and the model."""
    import lightgbm as lgb

    options = lightgbm_options(n_threads, **setting)
    construction, data = timed(lambda: lgb.Dataset(X, y, params=options).construct())
    training, model = timed(lambda: lgb.train(options, data, rounds))
    return construction, training, model


def best_setting(n: int, n_threads: int) -> dict[str, Any]:
    """Return LightGBM's fastest setting for so many rows and threads, by two short fits of each."""
    X, y = draw(n, 1000)
    seconds = []
    for max_bin in (127, 255):
        for side in ("force_col_wise", "force_row_wise"):
            setting = {"max_bin": max_bin, side: True}
            pilots = [fit_lightgbm(X, y, setting, n_threads, ROUNDS // 5) for _ in range(2)]
            seconds.append((min(made + 5 * trained for made, trained, _ in pilots), setting))
    return min(seconds, key=lambda pair: pair[0])[1]
