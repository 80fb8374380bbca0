"""Other libraries at their nearest settings, and how soon each side reaches LightGBM's best held-out loss."""

import math

import numpy as np
import tables
from speed_fits import LEAVES, RATE, ROUNDS, draw, fit_pkboost, lightgbm_options, timed

from pkboost_core import PKBoostClassifier

ROWS = 100_000
PATIENCE = 50


def xgboost(X: np.ndarray, y: np.ndarray) -> None:
    from xgboost import XGBClassifier

    shape = {"max_leaves": LEAVES, "max_depth": 0, "grow_policy": "lossguide", "max_bin": 127}
    XGBClassifier(n_estimators=ROUNDS, learning_rate=RATE, n_jobs=1, tree_method="hist", **shape).fit(X, y)


def hgb(X: np.ndarray, y: np.ndarray) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    HistGradientBoostingClassifier(
        max_iter=ROUNDS,
        learning_rate=RATE,
        max_leaf_nodes=LEAVES,
        max_bins=127,
        l2_regularization=1,
        early_stopping=False,
    ).fit(X, y)


def catboost(X: np.ndarray, y: np.ndarray) -> None:
    from catboost import CatBoostClassifier

    shape = {"grow_policy": "Lossguide", "max_leaves": LEAVES, "border_count": 127, "max_depth": 16}
    fixed = {"thread_count": 1, "verbose": False, "allow_writing_files": False}
    CatBoostClassifier(iterations=ROUNDS, learning_rate=RATE, **shape, **fixed).fit(X, y)


def chimeraboost(X: np.ndarray, y: np.ndarray) -> None:
    from chimeraboost import ChimeraBoostClassifier

    fixed = {"thread_count": 1, "ensemble_n_jobs": 1, "early_stopping": False}
    ChimeraBoostClassifier(n_estimators=ROUNDS, learning_rate=RATE, **fixed).fit(X, y)


def perpetual(X: np.ndarray, y: np.ndarray) -> None:
    from perpetual import PerpetualBooster

    PerpetualBooster(objective="LogLoss", num_threads=1).fit(X, y)


def pkboost(X: np.ndarray, y: np.ndarray) -> None:
    fit_pkboost(X, y)


PEERS = {
    "PKBoost": pkboost,
    "XGBoost hist": xgboost,
    "HGB": hgb,
    "CatBoost (Lossguide)": catboost,
    "ChimeraBoost (its own tree shape)": chimeraboost,
    "Perpetual (its own number of trees)": perpetual,
}


def fit_peer(name: str) -> dict[str, float]:
    """Fit a peer twice, the first time on few rows so that nothing is compiled or loaded in the second."""
    PEERS[name](*draw(2_000, 1))
    X, y = draw(ROWS, 0)
    return {"seconds": timed(lambda: PEERS[name](X, y))[0]}


def peer_table(found: dict[str, dict[str, float]]) -> str:
    """Return the peers by seconds, the slow and the missing ones last."""
    ranked = sorted(found.items(), key=lambda pair: pair[1].get("seconds", pair[1].get("limit", math.inf)))
    cells = [[name, _peer_seconds(one)] for name, one in ranked]
    return tables.markdown([f"{ROWS:,} rows, one thread, one fit", "seconds"], cells)


def _peer_seconds(found: dict[str, float]) -> str:
    if "seconds" in found:
        return f"{found['seconds']:.2f}"
    return f"over {found['limit']:.0f}" if "limit" in found else "not installed"


def time_to_loss() -> dict[str, dict[str, float]]:
    """Seconds and trees to LightGBM's early-stopped held-out log-loss, one thread, the same rows held out.

    LightGBM is run again for just the trees it needed, without evaluating them; PKBoost evaluates each, and
    stops at the first that is as good.
    """
    import lightgbm as lgb

    X, y = draw(ROWS, 0)
    Z, truth = draw(ROWS // 4, 1)
    options = lightgbm_options(1, max_bin=127, metric="binary_logloss")
    data = lgb.Dataset(X, y, params=options).construct()
    held = lgb.Dataset(Z, truth, reference=data)
    stopped = lgb.train(
        options, data, 1000, valid_sets=[held], callbacks=[lgb.early_stopping(PATIENCE, verbose=False)]
    )
    aim = stopped.best_score["valid_0"]["binary_logloss"]
    theirs, _ = timed(lambda: lgb.train(options, lgb.Dataset(X, y, params=options), stopped.best_iteration))
    losses: list[float] = []

    def reached(n_trees: int, loss: float) -> bool:
        losses.append(loss)
        return loss <= aim

    shape = {"max_leaf_nodes": LEAVES, "max_depth": None, "min_child_hessian": 1.0, "max_bins": 127}
    whole = {"subsample": 1.0, "colsample": 1.0, "refit": False, "calibration": "none"}
    model = PKBoostClassifier(1000, RATE, n_iter_no_change=PATIENCE, callbacks=[reached], **shape, **whole)
    ours, _ = timed(lambda: model.fit(X, y, eval_set=(Z, truth)))
    return {
        "LightGBM": {"seconds": theirs, "trees": stopped.best_iteration, "loss": aim},
        "PKBoost": {"seconds": ours, "trees": len(losses), "loss": min(losses)},
    }


def loss_table(found: dict[str, dict[str, float]]) -> str:
    """Return seconds, trees and loss of both."""
    rows = [[name, f"{v['seconds']:.2f}", int(v["trees"]), f"{v['loss']:.5f}"] for name, v in found.items()]
    return tables.markdown([f"{ROWS:,} rows, one thread", "seconds", "trees", "best held-out log-loss"], rows)
