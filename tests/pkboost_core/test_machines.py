"""Machines that add up what passes through the seam grow the tree of all their rows; without the compiler."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pkboost_core import grower
from pkboost_core.binning import fit_binning
from pkboost_core.compiled import is_jit_enabled
from pkboost_core.constraints import interaction_groups
from pkboost_core.linear_leaves import NO_POSITIONS
from pkboost_core.loss import LogLoss
from pkboost_core.progress import SILENT
from pkboost_core.rows import make_rows
from pkboost_core.splitting import SplitRules
from pkboost_core.team import make_team
from pkboost_core.training import Plan, TreeGrower

pytestmark = pytest.mark.skipif(is_jit_enabled(), reason="the seam is exchanged in interpreted functions")

N_ROWS, N_MACHINES = 240, 2
CASES = {
    "plain": {},
    "min_samples_leaf": {"min_samples_leaf": 14, "count_channel": 1},
    "entropy and counts": {"min_samples_leaf": 9, "count_channel": 1, "mi_weight": 0.5, "label_channel": 2},
}


def build(options):
    """Rows that the first column orders, so that the machines hold very different ones."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 3))
    X = X[np.argsort(X[:, 0])]
    X[rng.random(X.shape) < 0.1] = np.nan
    y = (np.nansum(X[:, :2], axis=1) + rng.normal(size=N_ROWS) > 0.8).astype(float)
    binning = fit_binning(X, 12, np.zeros(3, dtype=bool), None, rng)
    rules = {
        "l2": 1.0, "min_child_hessian": 0.1, "min_split_gain": 0.0, "mi_weight": 0.0, "mi_decay": 0.3,
        "categorical_smoothing": 2.0, "min_samples_leaf": 1, "max_depth": 6, "max_leaf_nodes": 9,
        "learning_rate": 0.3, "is_bounded": 0, "count_channel": -1, "label_channel": -1,
    }  # fmt: skip
    plan = Plan(
        binning=binning,
        rules=SplitRules(**rules | options),
        monotonic=np.zeros(3, dtype=np.int64),
        groups=interaction_groups(None, None, 3),
        loss=LogLoss(),
        base_scores=np.array([-0.4]),
        n_trees=1,
        patience=0,
        subsample=1.0,
        colsample=1.0,
        keep_positives=False,
        max_delta_step=2.0,
        positions=NO_POSITIONS,
        seed=0,
        report=SILENT,
    )
    return make_rows(binning, X, y, None, 1.0), plan


class Exchange:
    """Adds up what the machines, one thread each, bring to the same step."""

    def __init__(self):
        self.barrier = threading.Barrier(N_MACHINES, timeout=10)
        self.brought = {}

    def total(self, own):
        self.barrier.wait()
        self.brought[threading.get_ident()] = own
        self.barrier.wait()
        return sum(self.brought.values())


@pytest.fixture
def exchange(monkeypatch):
    exchange, sum_own, count_own = Exchange(), grower.node_histogram, grower.count_rows

    def node_histogram(growth, team, k):
        sum_own(growth, team, k)
        histogram = growth.histograms[growth.leaves[k].slot]
        histogram[:] = exchange.total(histogram.copy())

    def count_rows(leaf):
        count_own(leaf)
        leaf.n_rows = exchange.total(int(leaf.n_rows))

    monkeypatch.setattr(grower, "node_histogram", node_histogram)
    monkeypatch.setattr(grower, "count_rows", count_rows)
    return exchange


def handed(whole, rows, plan, own):
    """Return a machine's growth over its `own` rows, with the packed gradients and scales of all."""
    growth = TreeGrower(rows.take(own), plan)._growth
    packed = whole.elements[own] & 0xFFFFFFFF
    growth.elements[:] = (np.arange(len(own)) << 32) | packed
    growth.scales[:] = whole.scales
    growth.leaves[0].lower, growth.leaves[0].upper = -plan.max_delta_step, plan.max_delta_step
    return growth


def grown(growth):
    n_nodes = grower.grow_tree(growth, make_team(1, 1, 1, 1), 0, len(growth.elements))
    return growth.nodes[:n_nodes]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_first", [N_ROWS // 2, 40])
def test_two_machines_grow_the_tree_of_all_rows(case, n_first, request):
    rows, plan = build(CASES[case])
    alone = TreeGrower(rows, plan)
    alone.state.pack(0, 1.0)
    parts = np.split(np.arange(N_ROWS), [n_first])
    machines = [handed(alone.state, rows, plan, own) for own in parts]
    expected = alone.grow(0)
    request.getfixturevalue("exchange")
    with ThreadPoolExecutor(N_MACHINES) as pool:
        trees = list(pool.map(grown, machines))
    assert len(expected) > 8
    for nodes in trees:
        np.testing.assert_array_equal(np.asarray(nodes), np.asarray(expected))
