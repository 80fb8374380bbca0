"""The boosting loop: grow trees, stop when held-out loss does, replay the structure on all rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pkboost_core.binning import GROUP, Binning
from pkboost_core.compiled import as_records
from pkboost_core.dtypes import NODE
from pkboost_core.grower import add_leaf_values, grow_tree, set_weighted_cover
from pkboost_core.loss import hash_rows, logistic_gradients, logistic_loss, quantise
from pkboost_core.predictor import add_tree, refit_tree
from pkboost_core.rows import Rows
from pkboost_core.splitting import LEAF, FeatureTable, SplitRules

LABEL_FIELD_LIMIT = 32_000.0
"""Largest quantised label weight: a signed 16-bit field."""

LARGE_CODES = 1 << 24
"""Bytes of bin codes, too many for caches, from which on a second copy is kept row by row."""


@dataclass(frozen=True)
class Plan:
    """What the loop needs beside rows.

    Attributes
    ----------
    binning : cut points of the features
    rules : numbers that govern splits and leaf values
    monotonic : int64 (n_features,), -1, 0 or 1
    groups : uint64 (n_features,), interaction groups as bits
    base_score : raw score before the first tree, on the scale of the boosted loss
    score_shift : what to add to a raw score to undo `scale_pos_weight`
    n_trees, patience : most trees, and how many may pass without a better held-out loss
    subsample, colsample, max_delta_step, seed : as the estimator's parameters
    report : called with (trees grown, held-out loss or NaN); True stops
    """

    binning: Binning
    rules: SplitRules
    monotonic: np.ndarray
    groups: np.ndarray
    base_score: float
    score_shift: float
    n_trees: int
    patience: int
    subsample: float
    colsample: float
    max_delta_step: float
    seed: int
    report: Callable[[int, float], bool]


@dataclass(frozen=True)
class Boosted:
    """Outcome of the loop: trees (nodes with indices from each root), held-out losses and raw scores."""

    trees: Sequence[np.ndarray]
    losses: np.ndarray
    raw: np.ndarray


class GradientState:
    """Raw scores of some rows with the buffers that turn them into packed gradients."""

    def __init__(self, rows: Rows, plan: Plan) -> None:
        n = len(rows)
        self.rows = rows
        self.plan = plan
        self.raw = np.full(n, plan.base_score)
        self.scales = np.ones(3)
        self.elements = np.empty(n, dtype=np.int64)
        self._gradient = np.empty(n, dtype=np.float32)
        self._hessian = np.empty(n, dtype=np.float32)
        self._row_hash = np.empty(n, dtype=np.uint32)
        hash_rows(rows.codes, self._row_hash)

    def pack(self, tree: int, subsample: float) -> int:
        """Fill `elements` with the gradients of the current scores; return how many rows take part."""
        rows = self.rows
        logistic_gradients(self.raw, rows.target, rows.weight, self._gradient, self._hessian)
        seed = tree_seed(self.plan.seed, tree)
        return quantise(
            self._gradient, self._hessian, self._row_hash, seed, subsample, self.scales, self.elements
        )


def tree_seed(seed: int, tree: int) -> int:
    """Seed of one tree's rounding and sampling, 32 bits (the finaliser of splitmix64)."""
    z = (seed * 0x9E3779B97F4A7C15 + (tree + 1) * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return z >> 32


class TreeGrower:
    """Grows one tree after another on the same rows."""

    def __init__(self, rows: Rows, plan: Plan) -> None:
        self.state = GradientState(rows, plan)
        self.rows = rows
        self.plan = plan
        self._n_bins = plan.binning.n_bins
        self._words = rows.codes.view(np.uint64)[:, :, 0]
        is_large = rows.codes.nbytes > LARGE_CODES
        self._by_row = np.ascontiguousarray((self._words if is_large else self._words[:, :0]).T)
        self._scratch = np.empty(len(rows), dtype=np.int64)
        self._payloads = self._channel_payloads()
        stride = -(-(int(self._n_bins.max(initial=1)) + 1) // 8) * 8
        width = len(rows.codes) * GROUP * stride
        n_leaves = plan.rules.max_leaf_nodes
        self._histograms = np.empty((n_leaves, 1 + len(self._payloads), width), dtype=np.int64)
        self._leaves = as_records(np.zeros(n_leaves + 1, dtype=LEAF))
        self._nodes = as_records(np.zeros(2 * n_leaves - 1, dtype=NODE))

    def grow(self, tree: int) -> np.ndarray:
        """Grow the next tree, add it to the raw scores, return its nodes."""
        plan, state = self.plan, self.state
        n_rows = state.pack(tree, plan.subsample)
        self._leaves[0]["lower"], self._leaves[0]["upper"] = -plan.max_delta_step, plan.max_delta_step
        n_nodes = grow_tree(
            self.rows.codes,
            self._words,
            self._by_row,
            state.elements,
            self._scratch,
            n_rows,
            self._payloads,
            self._histograms,
            self._features(tree),
            plan.rules,
            state.scales,
            self._leaves,
            self._nodes,
        )
        nodes = self._nodes[:n_nodes].copy()
        n_leaves = (n_nodes + 1) // 2
        if len(self.rows.weight):
            set_weighted_cover(state.elements, self.rows.weight, self._leaves, nodes, n_leaves, n_nodes)
        if n_rows == len(self.rows):
            add_leaf_values(state.elements, state.raw, self._leaves, nodes, n_leaves)
        else:
            add_tree(self.rows.codes, self._n_bins, nodes, state.raw)
        return nodes

    def _features(self, tree: int) -> FeatureTable:
        plan = self.plan
        n_features = plan.binning.n_features
        is_active = np.ones(n_features, dtype=np.bool_)
        if plan.colsample < 1.0 and n_features:
            kept = max(1, round(plan.colsample * n_features))
            rng = np.random.default_rng([plan.seed, tree, 1])
            is_active[rng.permutation(n_features)[kept:]] = False
        return FeatureTable(self._n_bins, plan.binning.is_categorical, plan.monotonic, is_active, plan.groups)

    def _channel_payloads(self) -> np.ndarray:
        rules, rows = self.plan.rules, self.rows
        payloads = np.zeros((max(rules.count_channel, rules.label_channel, 0), len(rows)), dtype=np.uint32)
        if rules.count_channel >= 0:
            payloads[rules.count_channel - 1] = 1
        if rules.label_channel >= 0:
            payloads[rules.label_channel - 1], self.state.scales[2] = label_payload(
                rows.loss_target, rows.loss_weight
            )
        return payloads


def label_payload(target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Pack each row's weight and positive weight, 16 bits each; return them and the factor back to floats."""
    w = weight.astype(np.float64) if len(weight) else np.ones(len(target))
    ratio = min(LABEL_FIELD_LIMIT / w.max(), (2.0**31 - len(w)) / w.sum())
    scale = 2.0 ** math.floor(math.log2(ratio))
    packed = (np.rint(w * scale).astype(np.uint32) << 16) | np.rint(w * target * scale).astype(np.uint32)
    return packed.astype(np.uint32), 1.0 / scale


def boost(rows: Rows, plan: Plan, holdout: Rows | None = None) -> Boosted:
    """Grow trees on `rows` until the held-out loss has not improved for `plan.patience` trees.

    Without `holdout` all `plan.n_trees` are grown. The trees after the best one are dropped; `raw` are the
    held-out scores (the scores of `rows` without a holdout) at the best number of trees.
    """
    grower = TreeGrower(rows, plan)
    trees: list[np.ndarray] = []
    losses: list[float] = []
    held_raw = np.full(0 if holdout is None else len(holdout), plan.base_score)
    best_loss, best_raw, best_size = math.inf, held_raw, 0
    for tree in range(plan.n_trees):
        nodes = grower.grow(tree)
        if len(nodes) == 1 and plan.subsample == plan.colsample == 1.0:
            break
        trees.append(nodes)
        loss = math.nan
        if holdout is not None:
            add_tree(holdout.codes, plan.binning.n_bins, nodes, held_raw)
            loss = held_out_loss(held_raw, holdout, plan)
            losses.append(loss)
            if loss < best_loss:
                best_loss, best_raw, best_size = loss, held_raw.copy(), len(trees)
        if plan.report(len(trees), loss) or (holdout is not None and len(trees) - best_size >= plan.patience):
            break
    if holdout is None:
        return Boosted(trees, np.array(losses), grower.state.raw + plan.score_shift)
    return Boosted(trees[:best_size], np.array(losses), best_raw + plan.score_shift)


def held_out_loss(raw: np.ndarray, rows: Rows, plan: Plan) -> float:
    """Mean log-loss with the effect of `scale_pos_weight` taken back."""
    return float(logistic_loss(raw + plan.score_shift, rows.loss_target, rows.loss_weight))


def refit(trees: Sequence[np.ndarray], rows: Rows, plan: Plan) -> list[np.ndarray]:
    """Replay the structure of trees on more rows and recompute their values in boosting order."""
    state = GradientState(rows, plan)
    refitted = []
    for tree, old in enumerate(trees):
        nodes = as_records(old.copy())
        state.pack(tree, 1.0)
        refit_tree(
            rows.codes,
            plan.binning.n_bins,
            state.elements,
            rows.weight,
            state.scales,
            plan.monotonic,
            plan.max_delta_step,
            plan.rules,
            nodes,
            state.raw,
        )
        refitted.append(nodes)
    return refitted


def scores_of(trees: Sequence[np.ndarray], rows: Rows, plan: Plan) -> np.ndarray:
    """Return the raw scores that trees give to binned rows, float64 (n,)."""
    raw = np.full(len(rows), plan.base_score)
    for nodes in trees:
        add_tree(rows.codes, plan.binning.n_bins, nodes, raw)
    return raw + plan.score_shift
