"""Real sets as streams, scored block by block in order of time.

Olist and the bank have late labels (drift_late_streams.py). Elec2 and weather are the classics of the field
and have no delay; their dummy repeats the last label.
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from datasets import Dataset, elec2, noaa_weather
from drift_late_streams import late_worlds, run_late

from pkboost_core import PKBoostClassifier
from pkboost_core.metrics import average_precision, log_loss

N_BLOCKS, QUICK_BLOCKS = 40, 12
BURN_IN_SHARE = 0.2
SLIDING_BLOCKS = 8

Probabilities = Callable[[np.ndarray], np.ndarray]
Policy = Callable[[Dataset, list[np.ndarray]], Iterator[np.ndarray]]


def run_streams(is_quick: bool) -> list[dict[str, Any]]:
    """Run every policy on every set that is there; a quick run takes the smallest alone, without river."""
    found: list[dict[str, Any]] = []
    forest = None if is_quick else _river()
    if not is_quick:
        others = [] if forest is None else [forest.run_forest]
        for world in late_worlds():
            found += run_late(world, others)
    for load in (noaa_weather,) if is_quick else (elec2, noaa_weather):
        try:
            data = load()
        except FileNotFoundError as error:
            print(f"skipped: {error.filename} is not there (set LEADSCORE_DATA_DIR)", file=sys.stderr)
            continue
        found += _run(data, QUICK_BLOCKS if is_quick else N_BLOCKS, forest)
    return found


def _river() -> Any:
    """Return the module of river's policy, or None where river is not installed."""
    try:
        import drift_river
    except ModuleNotFoundError as error:
        print(f"skipped: {error.name} is not installed", file=sys.stderr)
        return None
    return drift_river


def _run(data: Dataset, n_blocks: int, forest: Any) -> list[dict[str, Any]]:
    policies: dict[str, Policy] = {
        "LightGBM static": _policy(_lightgbm, static=True),
        "LightGBM each block, expanding": _policy(_lightgbm),
        "LightGBM each block, sliding": _policy(_lightgbm, window=SLIDING_BLOCKS),
        "PKBoost static": _policy(_pkboost, static=True),
        "PKBoost each block, expanding": _policy(_pkboost),
        "PKBoost repaired each block": _repaired,
        "dummy: the last label": _no_change,
    }
    if forest is not None:
        policies["river's adaptive random forest"] = forest.run_blocks
    first = int(BURN_IN_SHARE * len(data.y))
    blocks = [block for block in np.array_split(np.arange(first, len(data.y)), n_blocks) if len(block)]
    return [_measured(data, blocks, name, policy) for name, policy in policies.items()]


def _measured(data: Dataset, blocks: list[np.ndarray], name: str, policy: Policy) -> dict[str, Any]:
    started = time.process_time()
    p = np.clip(np.concatenate(list(policy(data, blocks))), 1e-6, 1 - 1e-6)
    y = data.y[np.concatenate(blocks)]
    return {
        "name": data.name,
        "policy": name,
        "average_precision": average_precision(y, p),
        "log_loss": log_loss(y, p),
        "accuracy": float(np.mean((p > 0.5) == (y > 0.5))),
        "cpu_seconds": time.process_time() - started,
    }


def _policy(fit: Any, *, static: bool = False, window: int | None = None) -> Policy:
    def run(data: Dataset, blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
        model: Probabilities | None = None
        for block in blocks:
            if model is None or not static:
                rows = np.arange(block[0])
                model = fit(data, rows if window is None else _newest(data, rows, window * len(block)))
            yield model(data.X[block])

    return run


def _newest(data: Dataset, rows: np.ndarray, size: int) -> np.ndarray:
    """Return the newest rows, or all where those hold one label only."""
    newest = rows[-size:]
    return newest if 0 < data.y[newest].sum() < len(newest) else rows


def _repaired(data: Dataset, blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Fit once, then adapt to the rows that came since the model last changed."""
    learnt = int(blocks[0][0])
    model = _classifier(data).fit(data.X[:learnt], data.y[:learnt])
    for block in blocks:
        fresh = slice(learnt, int(block[0]))
        try:
            found = model.adapt(data.X[fresh], data.y[fresh]) if block[0] > learnt else None
        except ValueError:  # too few rows of a class yet
            found = None
        if found is not None and found.is_accepted:
            model, learnt = found.model, int(block[0])
        yield model.predict_proba(data.X[block])[:, 1]


def _no_change(data: Dataset, blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        yield np.where(data.y[block - 1] > 0.5, 0.9, 0.1)


def _classifier(data: Dataset) -> PKBoostClassifier:
    return PKBoostClassifier(categorical_features=list(data.categorical), random_state=0)


def _pkboost(data: Dataset, rows: np.ndarray) -> Probabilities:
    model = _classifier(data).fit(data.X[rows], data.y[rows])
    return lambda X: model.predict_proba(X)[:, 1]


def _lightgbm(data: Dataset, rows: np.ndarray) -> Probabilities:
    import lightgbm as lgb

    options = {"objective": "binary", "num_threads": 1, "verbose": -1, "seed": 0, "force_col_wise": True}
    train = lgb.Dataset(data.X[rows], data.y[rows], categorical_feature=list(data.categorical))
    return lgb.train(options, train, 100).predict
