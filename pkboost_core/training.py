"""The boosting loop: grow trees, stop when held-out loss does, replay the structure on all rows."""

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from pkboost_core.binning import GROUP, Binning
from pkboost_core.compiled import as_records
from pkboost_core.crew import Crew
from pkboost_core.dtypes import NODE
from pkboost_core.grower import add_leaf_values, set_weighted_cover
from pkboost_core.histogram import feature_by_feature, side_by_side
from pkboost_core.jobs import Growth
from pkboost_core.linear_leaves import add_linear_parts, fit_linear_leaves, group_by_leaf
from pkboost_core.loss import Loss
from pkboost_core.parts import in_parts
from pkboost_core.predictor import add_tree, find_leaves, refit_tree
from pkboost_core.progress import Progress
from pkboost_core.quantisation import hash_rows, quantise
from pkboost_core.renewal import renew_values
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
    loss : what is minimised
    base_scores : float64 (n_outputs,), raw scores before the first tree, on the scale of the boosted loss
    n_trees : most trees of an output
    patience : how many may pass without a better held-out loss; 0 stops at no loss and keeps all trees
    keep_positives : whether row sampling leaves out negative rows only
    positions : of bins, for linear leaves; without rows for constant ones
    subsample, colsample, max_delta_step, seed : as the estimator's parameters
    report : called after each round; True stops
    """

    binning: Binning
    rules: SplitRules
    monotonic: np.ndarray
    groups: np.ndarray
    loss: Loss
    base_scores: np.ndarray
    n_trees: int
    patience: int
    subsample: float
    colsample: float
    keep_positives: bool
    max_delta_step: float
    positions: np.ndarray
    seed: int
    report: Progress


@dataclass(frozen=True)
class Boosted:
    """Outcome of the loop.

    Attributes
    ----------
    trees : nodes of each tree, with indices from its root; tree t adds to output t % n_outputs
    losses : float64, held-out loss after each round
    raw : float64 (n_outputs, n), raw scores of the held-out rows
    """

    trees: Sequence[np.ndarray]
    losses: np.ndarray
    raw: np.ndarray


class GradientState:
    """Raw scores of some rows with the buffers that turn them into packed gradients."""

    def __init__(self, rows: Rows, plan: Plan, n_threads: int = 1) -> None:
        n, n_outputs = len(rows), plan.loss.n_outputs
        self.rows = rows
        self.plan = plan
        self.raw = base_raw(rows, plan)
        self.scales = np.ones(3)
        self.elements = np.empty(n, dtype=np.int64)
        self._gradient = np.empty((n_outputs, n), dtype=np.float32)
        self._hessian = np.empty((n_outputs, n), dtype=np.float32)
        self._row_hash = np.empty(n, dtype=np.uint32)
        in_parts(lambda start, stop: hash_rows(rows.codes, self._row_hash, start, stop), n, n_threads)

    def pack(self, tree: int, subsample: float) -> int:
        """Fill `elements` with the gradients for a tree; return how many rows take part.

        The trees of a round, one per output, share the gradients of the scores that the round began with.
        """
        rows, loss = self.rows, self.plan.loss
        output = tree % loss.n_outputs
        if output == 0:
            loss.gradients(self.raw, rows.target, rows.weight, self._gradient, self._hessian)
        seed = tree_seed(self.plan.seed, tree)
        gradient, hessian = self._gradient[output], self._hessian[output]
        if self.plan.keep_positives and subsample < 1.0:
            return self._pack_with_all_positives(gradient, hessian, seed, subsample)
        return quantise(gradient, hessian, self._row_hash, seed, subsample, self.scales, self.elements)

    def _pack_with_all_positives(
        self, gradient: np.ndarray, hessian: np.ndarray, seed: int, subsample: float
    ) -> int:
        """Sample negative rows alone; those that stay count for those that do not."""
        is_positive = self.rows.loss_target >= 0.5
        factor = np.where(is_positive, 1.0, 1.0 / subsample).astype(np.float32)
        quantise(gradient * factor, hessian * factor, self._row_hash, seed, 1.0, self.scales, self.elements)
        is_kept = is_positive | (np.random.default_rng([seed, 2]).random(len(self.rows)) < subsample)
        kept = self.elements[is_kept]
        self.elements[: len(kept)] = kept
        return len(kept)

    def renew(self, nodes: np.ndarray, output: int, level: float, used: np.ndarray) -> None:
        """Make a tree's values quantiles of the residuals of the rows `used`; add them to the raw scores."""
        rows, plan = self.rows, self.plan
        leaf = np.empty((len(rows), 1), dtype=np.int64)
        find_leaves(rows.codes, plan.binning.n_bins, nodes, np.array([0, len(nodes)]), leaf)
        residual = rows.target[used] - self.raw[output, used]
        weight = rows.weight[used] if len(rows.weight) else rows.weight
        rate = plan.rules.learning_rate
        renew_values(nodes, leaf[used, 0], residual, weight, level, rate, plan.max_delta_step, plan.monotonic)
        self.raw[output] += nodes["value"][leaf[:, 0]]

    def fit_lines(self, nodes: np.ndarray, elements: np.ndarray, spans: np.ndarray) -> None:
        """Give the leaves of a tree their linear parts, from the gradients it was grown on."""
        plan = self.plan
        bound = plan.max_delta_step
        fit_linear_leaves(
            self.rows.codes, plan.positions, elements, spans, self.scales, plan.rules, bound, nodes
        )

    def replay(self, tree: int, old: np.ndarray, raw: np.ndarray, keep_unseen: bool = False) -> np.ndarray:
        """Return the tree `old` with values, covers and counts of these rows; add its values to `raw`.

        The penalty pulls values to 0 or, with `keep_unseen`, to the old ones, which leaves without rows keep.
        """
        rows, plan, nodes = self.rows, self.plan, as_records(old.copy())
        anchors = old["value"] / plan.rules.learning_rate if keep_unseen else np.zeros(len(old))
        self.pack(tree, 1.0)
        refit_tree(
            rows.codes,
            plan.binning.n_bins,
            self.elements,
            rows.weight,
            self.scales,
            plan.monotonic,
            plan.max_delta_step,
            plan.rules,
            anchors,
            nodes,
            raw,
        )
        return nodes

    def refit_lines(self, nodes: np.ndarray, output: int) -> None:
        """Fit the linear parts of a replayed tree anew and add them to the raw scores."""
        rows, plan = self.rows, self.plan
        leaf = np.empty((len(rows), 1), dtype=np.int64)
        find_leaves(rows.codes, plan.binning.n_bins, nodes, np.array([0, len(nodes)]), leaf)
        spans, grouped = np.empty((len(nodes), 2), dtype=np.int64), np.empty_like(self.elements)
        group_by_leaf(self.elements, leaf[:, 0].copy(), spans, grouped)
        self.fit_lines(nodes, grouped, spans)
        add_linear_parts(rows.codes, plan.positions, nodes, leaf[:, 0].copy(), self.raw[output])


def leaf_spans(leaves: np.ndarray, n_nodes: int) -> np.ndarray:
    """Return where the rows of each node's leaf lie, int64 (n_nodes, 2); zeros for inner nodes."""
    spans = np.zeros((n_nodes, 2), dtype=np.int64)
    spans[leaves["node"]] = np.column_stack([leaves["start"], leaves["stop"]])
    return spans


def base_raw(rows: Rows, plan: Plan) -> np.ndarray:
    """Return the raw scores before the first tree, float64 (n_outputs, n)."""
    return np.repeat(plan.base_scores[:, np.newaxis], len(rows), axis=1)


def tree_seed(seed: int, tree: int) -> int:
    """Seed of one tree's rounding and sampling, 32 bits (the finaliser of splitmix64)."""
    z = (seed * 0x9E3779B97F4A7C15 + (tree + 1) * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return z >> 32


class TreeGrower:
    """Grows one tree after another on the same rows, on one thread or several; `close` ends the others."""

    def __init__(self, rows: Rows, plan: Plan, n_threads: int = 1) -> None:
        self.state = GradientState(rows, plan, n_threads)
        self.rows = rows
        self.plan = plan
        self._n_bins = plan.binning.n_bins
        self._payloads = [self._channel_payloads(k) for k in range(plan.loss.n_outputs)]
        self._growth = self._make_growth(n_threads)
        self._crew = Crew(self._growth, n_threads)

    def close(self) -> None:
        """End the threads that help; no tree can be grown after that."""
        self._crew.close()

    def grow(self, tree: int) -> np.ndarray:
        """Grow the next tree, add it to the raw scores of its output, return its nodes."""
        plan, state, growth = self.plan, self.state, self._growth
        output = tree % plan.loss.n_outputs
        n_rows = state.pack(tree, plan.subsample)
        growth.leaves[0]["lower"], growth.leaves[0]["upper"] = -plan.max_delta_step, plan.max_delta_step
        growth.features.is_active[:] = self._active_columns(tree)
        if plan.loss.n_outputs > 1:
            growth.payloads[:] = self._payloads[output]
        n_nodes = self._crew.grow(n_rows)
        nodes = growth.nodes[:n_nodes].copy()
        n_leaves = (n_nodes + 1) // 2
        if len(self.rows.weight):
            set_weighted_cover(state.elements, self.rows.weight, growth.leaves, nodes, n_leaves, n_nodes)
        raw = state.raw[output]
        if len(plan.positions):
            spans = leaf_spans(growth.leaves[:n_leaves], n_nodes)
            state.fit_lines(nodes, state.elements, spans)
        if plan.loss.level is not None:
            state.renew(nodes, output, plan.loss.level, state.elements[:n_rows] >> 32)
        elif n_rows == len(self.rows) and not len(plan.positions):
            add_leaf_values(state.elements, raw, growth.leaves, nodes, n_leaves)
        else:
            add_tree(self.rows.codes, self._n_bins, plan.positions, nodes, raw)
        return nodes

    def _make_growth(self, n_threads: int) -> Growth:
        plan, rows = self.plan, self.rows
        words = rows.codes.view(np.uint64)[:, :, 0]
        is_large = rows.codes.nbytes > LARGE_CODES
        stride = -(-(int(self._n_bins.max(initial=1)) + 1) // 8) * 8
        width = len(rows.codes) * GROUP * stride
        n_leaves, payloads = plan.rules.max_leaf_nodes, self._payloads[0]
        is_active = np.ones(plan.binning.n_features, dtype=np.bool_)
        return Growth(
            columns=feature_by_feature(rows.codes, n_threads),
            words=words,
            by_row=side_by_side(words if is_large else words[:, :0], n_threads),
            elements=self.state.elements,
            scratch=np.empty(len(rows), dtype=np.int64),
            payloads=payloads.copy() if plan.loss.n_outputs > 1 else payloads,
            histograms=np.empty((n_leaves, 1 + len(payloads), width), dtype=np.int64),
            features=FeatureTable(
                self._n_bins, plan.binning.is_categorical, plan.monotonic, is_active, plan.groups
            ),
            rules=plan.rules,
            scales=self.state.scales,
            leaves=as_records(np.zeros(n_leaves + 1, dtype=LEAF)),
            nodes=as_records(np.zeros(2 * n_leaves - 1, dtype=NODE)),
        )

    def _active_columns(self, tree: int) -> np.ndarray:
        plan, n_features = self.plan, self.plan.binning.n_features
        is_active = np.ones(n_features, dtype=np.bool_)
        if plan.colsample < 1.0 and n_features:
            kept = max(1, round(plan.colsample * n_features))
            rng = np.random.default_rng([plan.seed, tree, 1])
            is_active[rng.permutation(n_features)[kept:]] = False
        return is_active

    def _channel_payloads(self, output: int) -> np.ndarray:
        """Return what further channels sum for the trees of an output, uint32 (n_channels - 1, n)."""
        rules, rows = self.plan.rules, self.rows
        payloads = np.zeros((max(rules.count_channel, rules.label_channel, 0), len(rows)), dtype=np.uint32)
        if rules.count_channel >= 0:
            payloads[rules.count_channel - 1] = 1
        if rules.label_channel >= 0:
            labels = self.plan.loss.membership(rows.loss_target, output)
            payloads[rules.label_channel - 1], self.state.scales[2] = label_payload(labels, rows.loss_weight)
        return payloads


def label_payload(target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Pack each row's weight and positive weight, 16 bits each; return them and the factor back to floats."""
    w = weight.astype(np.float64) if len(weight) else np.ones(len(target))
    ratio = min(LABEL_FIELD_LIMIT / w.max(), (2.0**31 - len(w)) / w.sum())
    scale = 2.0 ** math.floor(math.log2(ratio))
    packed = (np.rint(w * scale).astype(np.uint32) << 16) | np.rint(w * target * scale).astype(np.uint32)
    return packed.astype(np.uint32), 1.0 / scale


def boost(rows: Rows, plan: Plan, holdout: Rows | None = None, n_threads: int = 1) -> Boosted:
    """Grow trees on `rows` until the held-out loss has not improved for `plan.patience` rounds.

    A round is one tree per output. Without `holdout` all `plan.n_trees` rounds are grown. The trees after
    the best round are dropped, unless `plan.patience` is 0; the best round is one of those grown even where
    no tree at all would lose less, since a constant score ranks no row. `raw` are the held-out scores (the
    scores of `rows` without a holdout) there.
    Every tree is grown on `n_threads`, which changes no byte.
    """
    with closing(TreeGrower(rows, plan, n_threads)) as grower:
        return _boost(grower, plan, holdout)


def _boost(grower: TreeGrower, plan: Plan, holdout: Rows | None) -> Boosted:
    loss, n_outputs = plan.loss, plan.loss.n_outputs
    trees: list[np.ndarray] = []
    losses: list[float] = []
    held_raw = np.empty((n_outputs, 0)) if holdout is None else base_raw(holdout, plan)
    best_loss, best_raw, best_round = math.inf, held_raw, 0
    for n_rounds in range(1, plan.n_trees + 1):
        grown = [grower.grow((n_rounds - 1) * n_outputs + k) for k in range(n_outputs)]
        if all(len(nodes) == 1 for nodes in grown) and plan.subsample == plan.colsample == 1.0:
            break
        trees += grown
        held_out_loss = math.nan
        if holdout is not None:
            for nodes, raw in zip(grown, held_raw, strict=True):
                add_tree(holdout.codes, plan.binning.n_bins, plan.positions, nodes, raw)
            held_out_loss = loss.mean(held_raw, holdout.loss_target, holdout.loss_weight)
            losses.append(held_out_loss)
            if held_out_loss < best_loss or plan.patience == 0:
                best_loss, best_raw, best_round = held_out_loss, held_raw.copy(), n_rounds
        is_stale = holdout is not None and 0 < plan.patience <= n_rounds - best_round
        if plan.report(n_rounds, held_out_loss) or is_stale:
            break
    if holdout is None:
        return Boosted(trees, np.array(losses), model_scores(grower.state.raw, loss))
    return Boosted(trees[: best_round * n_outputs], np.array(losses), model_scores(best_raw, loss))


def model_scores(raw: np.ndarray, loss: Loss) -> np.ndarray:
    """Turn boosted scores into the model's raw scores."""
    return raw * loss.factor + loss.shift


def refit(trees: Sequence[np.ndarray], rows: Rows, plan: Plan) -> list[np.ndarray]:
    """Replay the structure of trees on more rows and recompute their values in boosting order."""
    state, level = GradientState(rows, plan), plan.loss.level
    everything = np.arange(len(rows))
    refitted = []
    for tree, old in enumerate(trees):
        output = tree % plan.loss.n_outputs
        nodes = state.replay(tree, old, state.raw[output] if level is None else np.empty(len(rows)))
        if level is not None:
            state.renew(nodes, output, level, everything)
        if len(plan.positions):
            state.refit_lines(nodes, output)
        refitted.append(nodes)
    return refitted


def scores_of(trees: Sequence[np.ndarray], rows: Rows, plan: Plan) -> np.ndarray:
    """Return the model's raw scores that trees give to binned rows, float64 (n_outputs, n)."""
    raw = base_raw(rows, plan)
    for tree, nodes in enumerate(trees):
        add_tree(rows.codes, plan.binning.n_bins, plan.positions, nodes, raw[tree % plan.loss.n_outputs])
    return model_scores(raw, plan.loss)
