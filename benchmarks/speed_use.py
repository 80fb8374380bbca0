"""Beyond training: prediction, explanation, and two fits side by side."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tables
from speed_fits import best_of, draw, fit_lightgbm, fit_pkboost, timed

from pkboost_core.explain import shap_values
from pkboost_core.predictor import raw_scores

TREES = 200
SHAP_ROWS = 1_000


def use() -> dict[str, float]:
    """Time prediction per row and tree, single rows, SHAP by wall and by processor, and throughput."""
    X, y = draw(100_000, 0)
    ours, theirs = fit_pkboost(X, y, 127, TREES), fit_lightgbm(X, y, {"max_bin": 127}, 1, TREES)[2]
    per_row_and_tree = 1e9 / len(X) / TREES
    ours_seconds = best_of(5, lambda: raw_scores(ours.ensemble_, X))
    theirs_seconds = best_of(3, lambda: theirs.predict(X, num_threads=1))
    single = best_of(50, lambda: ours.predict_proba(X[:1]))
    larger = fit_pkboost(X[:10_000], y[:10_000], 127, TREES)
    shap_values(larger.ensemble_, X[:10])
    shap = best_of(4, lambda: shap_values(larger.ensemble_, X[:SHAP_ROWS]))
    start = time.process_time()
    shap_values(larger.ensemble_, X[:SHAP_ROWS])
    return {
        "prediction, ns per row and tree": ours_seconds * per_row_and_tree,
        "prediction, million rows/s through 200 trees": len(X) / ours_seconds / 1e6,
        "LightGBM's prediction, ns per row and tree": theirs_seconds * per_row_and_tree,
        "one row through 200 trees, ms": single * 1e3,
        "SHAP of 1,000 rows x 200 trees, s": shap,
        "the same, s of processor time": time.process_time() - start,
        "SHAP, rows/s": SHAP_ROWS / shap,
        "throughput of two fits on two threads (one = 1)": side_by_side(X, y),
    }


def side_by_side(X: np.ndarray, y: np.ndarray) -> float:
    """Median over five of twice the seconds of one fit over the seconds of two at once."""
    ratios = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            alone, _ = timed(lambda: fit_pkboost(X, y))
            both, _ = timed(lambda: list(pool.map(lambda _: fit_pkboost(X, y), range(2))))
            ratios.append(2 * alone / both)
    return float(np.median(ratios))


def use_table(found: dict[str, float]) -> str:
    """Return what was measured, by name."""
    return tables.markdown(["one core", "measured"], [[k, f"{v:.3g}"] for k, v in found.items()])
