"""The engine and the naive booster grow the same trees, whatever is switched on."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pkboost_core.binning import fit_binning
from pkboost_core.constraints import interaction_groups
from pkboost_core.linear_leaves import NO_POSITIONS
from pkboost_core.loss import LogLoss, Softmax
from pkboost_core.progress import SILENT
from pkboost_core.regression_loss import SquaredLoss
from pkboost_core.rows import make_rows
from pkboost_core.splitting import SplitRules
from pkboost_core.training import Plan, TreeGrower

sys.path.insert(0, str(Path(__file__).parent))

from naive_booster import NaiveGrower

N_ROWS = 180
N_TREES = 3


def lead_like_data(seed, categorical=False):
    """Ordered, coarse, noisy and missing columns; rare positives."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N_ROWS, 5))
    X[:, 1] = np.round(X[:, 1])
    X[:, 4] = rng.integers(0, 7, N_ROWS)
    X[rng.random(X.shape) < 0.12] = np.nan
    raw = 1.5 * np.nan_to_num(X[:, 0]) + (X[:, 4] == 2) + 0.7 * np.isnan(X[:, 2]) - 1.5
    return X, (rng.random(N_ROWS) < 1 / (1 + np.exp(-raw))).astype(float), rng


RULES = {
    "l2": 1.0,
    "min_child_hessian": 0.3,
    "min_split_gain": 0.0,
    "mi_weight": 0.0,
    "mi_decay": 0.3,
    "categorical_smoothing": 2.0,
    "min_samples_leaf": 1,
    "max_depth": 6,
    "max_leaf_nodes": 12,
    "learning_rate": 0.3,
    "is_bounded": 0,
    "count_channel": -1,
    "label_channel": -1,
}

CASES = {
    "plain": {},
    "deep, unregularised": {"l2": 0.0, "min_child_hessian": 1e-3, "max_leaf_nodes": 25, "max_depth": 30},
    "shallow": {"max_depth": 2},
    "gamma": {"min_split_gain": 0.8},
    "categorical": {"categorical": True},
    "weights": {"weights": True},
    "soft targets": {"soft": True},
    "min_samples_leaf": {"min_samples_leaf": 15, "count_channel": 1},
    "entropy": {"mi_weight": 0.5, "label_channel": 1},
    "entropy, weights, soft": {"mi_weight": 1.0, "label_channel": 1, "weights": True, "soft": True},
    "entropy and counts": {"mi_weight": 0.2, "label_channel": 2, "count_channel": 1, "min_samples_leaf": 9},
    "monotonic": {"monotonic": (1, -1, 0, 1, 0), "is_bounded": 1},
    "interactions": {"interactions": [[0, 1], [2, 3, 4]]},
    "few bins": {"max_bins": 4},
    "positives weigh more": {"pos_weight": 5.0},
    "squared": {"loss": "squared", "min_child_hessian": 4.0},
    "squared, everything": {
        "loss": "squared",
        "categorical": True,
        "weights": True,
        "monotonic": (1, 0, 0, -1, 0),
        "is_bounded": 1,
        "interactions": [[0, 1, 4], [2, 3, 4]],
        "count_channel": 1,
        "min_samples_leaf": 4,
    },
    "softmax": {"loss": "softmax"},
    "softmax, everything": {
        "loss": "softmax",
        "categorical": True,
        "weights": True,
        "monotonic": (0, 1, 0, 0, 0),
        "is_bounded": 1,
        "mi_weight": 0.3,
        "label_channel": 1,
    },
    "all at once": {
        "categorical": True,
        "weights": True,
        "soft": True,
        "monotonic": (1, 0, 0, -1, 0),
        "is_bounded": 1,
        "interactions": [[0, 1, 4], [2, 3, 4]],
        "mi_weight": 0.3,
        "label_channel": 2,
        "count_channel": 1,
        "min_samples_leaf": 4,
    },
}


def build(case, seed):
    options = dict(CASES[case])
    X, y, rng = lead_like_data(seed)
    is_categorical = np.zeros(5, dtype=bool)
    is_categorical[4] = options.pop("categorical", False)
    weight = rng.integers(1, 5, N_ROWS) / 4 if options.pop("weights", False) else None
    if options.pop("soft", False):
        y = np.clip(y * 0.75 + rng.integers(0, 3, N_ROWS) / 8, 0, 1)
    pos_weight = options.pop("pos_weight", 1.0)
    loss = {"log": LogLoss(pos_weight), "squared": SquaredLoss(), "softmax": Softmax(3)}[
        options.pop("loss", "log")
    ]
    if isinstance(loss, SquaredLoss):
        y = y + rng.normal(size=N_ROWS)
    if isinstance(loss, Softmax):
        y = np.where(np.nan_to_num(X[:, 1]) > 0.6, 2.0, y)
    binning = fit_binning(X, options.pop("max_bins", 40), is_categorical, weight, rng)
    rows = make_rows(binning, X, y, weight, pos_weight)
    plan = Plan(
        binning=binning,
        monotonic=np.array(options.pop("monotonic", (0,) * 5), dtype=np.int64),
        groups=interaction_groups(options.pop("interactions", None), None, 5),
        rules=SplitRules(**(RULES | options)),
        loss=loss,
        base_scores=np.linspace(-0.4, 0.4, loss.n_outputs),
        n_trees=N_TREES,
        patience=10,
        subsample=1.0,
        colsample=1.0,
        keep_positives=False,
        max_delta_step=2.0,
        positions=NO_POSITIONS,
        seed=seed,
        report=SILENT,
    )
    return rows, plan


def assert_same(nodes, index, naive, n_bins):
    node = nodes[index]
    assert node["count"] == len(naive.rows)
    assert node["value"] == pytest.approx(naive.value, rel=1e-9, abs=1e-12)
    assert node["is_leaf"] == (naive.split is None)
    if naive.split is None:
        return
    assert node["feature"] == naive.split.feature
    assert node["gain"] == pytest.approx(naive.split.gain, rel=1e-9)
    missing = int(n_bins[node["feature"]])
    if node["is_categorical"]:
        left = {c for c in range(256) if int(node["left_categories"][c >> 6]) >> (c & 63) & 1}
    else:
        left = {c for c in range(missing) if c <= node["bin_threshold"]}
        left |= {missing} if node["missing_left"] else set()
    assert left == set(naive.split.left_codes)
    assert node["missing_left"] == (missing in left)
    assert_same(nodes, node["left"], naive.left, n_bins)
    assert_same(nodes, node["right"], naive.right, n_bins)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("case", CASES)
def test_same_trees(case, seed):
    rows, plan = build(case, seed)
    engine, naive = TreeGrower(rows, plan), NaiveGrower(rows, plan)
    n_splits = 0
    for tree in range(N_TREES * plan.loss.n_outputs):
        nodes = engine.grow(tree)
        n_splits += len(nodes) // 2
        assert_same(nodes, 0, naive.grow(tree), plan.binning.n_bins)
        np.testing.assert_allclose(engine.state.raw, naive.state.raw, rtol=1e-8, atol=1e-10)
    assert n_splits > N_TREES
