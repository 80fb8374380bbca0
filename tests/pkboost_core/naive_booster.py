"""The booster once more, slow and plain: every candidate split is tried by summing its rows.

It shares the bin codes and the rounding of gradients to integers with the engine, nothing else: the gradients
themselves are computed here, row by row.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from pkboost_core.training import GradientState


@dataclass
class NaiveNode:
    """A node with its rows; `split` is None in a leaf."""

    rows: np.ndarray
    depth: int
    lower: float
    upper: float
    groups: int
    split: "NaiveSplit | None" = None
    candidate: "NaiveSplit | None" = None
    left: "NaiveNode | None" = None
    right: "NaiveNode | None" = None
    value: float = 0.0


@dataclass
class NaiveSplit:
    gain: float
    feature: int
    left_codes: frozenset = field(repr=False)


def logistic(scores, target, output):
    p = 1 / (1 + math.exp(-scores[0]))
    return p - target, p * (1 - p)


def multinomial(scores, target, output):
    parts = [math.exp(score) for score in scores]
    p = parts[output] / sum(parts)
    return p - (target == output), p * (1 - p) * len(scores) / (len(scores) - 1)


def squared(scores, target, output):
    return scores[0] - target, 1.0


class NaiveGrower:
    """Grows trees on `rows` by the rules of `plan`."""

    def __init__(self, rows, plan):
        self.plan, self.rules, self.rows = plan, plan.rules, rows
        n = len(rows)
        self.codes = rows.codes.transpose(1, 0, 2).reshape(n, -1)[:, : plan.binning.n_features].astype(int)
        self.n_bins = plan.binning.n_bins
        self.state = GradientState(rows, plan)
        self.weight = rows.loss_weight if len(rows.loss_weight) else np.ones(n)
        self.n_outputs = len(plan.base_scores)
        self.raw = np.tile(plan.base_scores, (n, 1))

    def gradients(self, output):
        """First and second derivative of each row's loss by the score of an output."""
        derivatives = {"LogLoss": logistic, "Softmax": multinomial, "SquaredLoss": squared}[
            type(self.plan.loss).__name__
        ]
        boosted_weight = self.rows.weight if len(self.rows.weight) else np.ones(len(self.rows))
        pairs = [
            derivatives(scores, target, output)
            for scores, target in zip(self.start.tolist(), self.rows.target.tolist(), strict=True)
        ]
        return np.array(pairs).T * boosted_weight

    def grow(self, tree):
        self.output = tree % self.n_outputs
        if self.output == 0:
            self.start = self.raw.copy()
        self.state.pack(tree, 1.0)
        elements = self.state.elements
        scales = np.array([self.state.scales[:2]]).T
        integers = np.stack([(((elements >> 16) & 0xFFFF) ^ 0x8000) - 0x8000, elements & 0xFFFF])
        assert (abs(integers * scales - self.gradients(self.output)) <= 1.001 * scales).all()
        self.g = (((elements >> 16) & 0xFFFF) ^ 0x8000) - 0x8000
        self.h = elements & 0xFFFF
        bound = self.plan.max_delta_step
        root = NaiveNode(np.arange(len(self.g)), 0, -bound, bound, (1 << 64) - 1)
        leaves = [root]
        self.evaluate(root)
        while len(leaves) < self.rules.max_leaf_nodes:
            gains = [leaf.candidate.gain if leaf.candidate else 0.0 for leaf in leaves]
            best = int(np.argmax(gains))
            if gains[best] <= 0:
                break
            left, right = self.divide(leaves[best])
            leaves[best] = left
            leaves.append(right)
        for leaf in leaves:
            self.raw[leaf.rows, self.output] += leaf.value
        self.state.raw[:] = self.raw.T
        return root

    def sums(self, rows):
        return self.state.scales[0] * int(self.g[rows].sum()), self.state.scales[1] * int(self.h[rows].sum())

    def newton_value(self, rows, lower, upper):
        g, h = self.sums(rows)
        return min(max(-g / (h + self.rules.l2), lower), upper)

    def loss_reduction(self, rows, node):
        g, h = self.sums(rows)
        if not self.rules.is_bounded:
            return 0.5 * g * g / (h + self.rules.l2)
        value = self.newton_value(rows, node.lower, node.upper)
        return -(g * value + 0.5 * (h + self.rules.l2) * value * value)

    def label_entropy(self, rows):
        w = self.weight[rows].astype(float)
        target = self.rows.loss_target[rows]
        total, positive = w.sum(), (w * (target if self.n_outputs == 1 else target == self.output)).sum()
        parts = [part for part in (positive, total - positive) if part > 1e-9]
        return sum(-part * math.log(part / total) for part in parts)

    def gain(self, node, goes_left, direction):
        left, right = node.rows[goes_left], node.rows[~goes_left]
        rules = self.rules
        if min(len(left), len(right)) < rules.min_samples_leaf:
            return -1.0
        if min(self.sums(left)[1], self.sums(right)[1]) < rules.min_child_hessian:
            return -1.0
        if direction:
            left_value = self.newton_value(left, node.lower, node.upper)
            right_value = self.newton_value(right, node.lower, node.upper)
            if direction * (right_value - left_value) < 0:
                return -1.0
        newton = self.loss_reduction(left, node) + self.loss_reduction(right, node)
        newton -= self.loss_reduction(node.rows, node) + rules.min_split_gain
        if newton <= 0 or rules.mi_weight == 0:
            return newton
        info = self.label_entropy(node.rows) - (self.label_entropy(left) + self.label_entropy(right))
        return newton + rules.mi_weight * math.exp(-rules.mi_decay * node.depth) * info

    def evaluate(self, node):
        node.value = self.rules.learning_rate * self.newton_value(node.rows, node.lower, node.upper)
        if node.depth >= self.rules.max_depth:
            return
        best_gain = 0.0
        for feature in range(self.plan.binning.n_features):
            if not int(self.plan.groups[feature]) & node.groups:
                continue
            codes = self.codes[node.rows, feature]
            for left_codes in self.candidates(node, feature, codes):
                goes_left = np.isin(codes, list(left_codes))
                gain = self.gain(node, goes_left, self.plan.monotonic[feature])
                if gain > best_gain:
                    best_gain = gain
                    node.candidate = NaiveSplit(gain, feature, left_codes)

    def candidates(self, node, feature, codes):
        """Sets of codes that may go left, in the engine's order of preference."""
        missing = int(self.n_bins[feature])
        if self.plan.binning.is_categorical[feature]:
            ranked = self.ranked_levels(node, codes)
            unseen = set(range(256)) - set(ranked)
            for k in range(1, len(ranked)):
                yield self.with_unseen(node, codes, frozenset(ranked[:k]), unseen)
            return
        has_missing = bool((codes == missing).any())
        for code in range(missing - 1 + has_missing):
            below = frozenset(range(code + 1))
            if has_missing:
                yield below
                if code < missing - 1:
                    yield below | {missing}
            else:
                yield self.with_unseen(node, codes, below, {missing})

    def ranked_levels(self, node, codes):
        g, h = self.sums(node.rows)
        smoothing = self.rules.categorical_smoothing

        def ratio(code):
            level_g, level_h = self.sums(node.rows[codes == code])
            return (level_g + smoothing * (g / h)) / (level_h + smoothing)

        return sorted(map(int, np.unique(codes)), key=lambda code: (ratio(code), code))

    def with_unseen(self, node, codes, left_codes, unseen):
        left_h = int(self.h[node.rows[np.isin(codes, list(left_codes))]].sum())
        return left_codes | unseen if 2 * left_h >= int(self.h[node.rows].sum()) else left_codes

    def divide(self, node):
        node.split = node.candidate
        feature = node.split.feature
        goes_left = np.isin(self.codes[node.rows, feature], list(node.split.left_codes))
        groups = node.groups & int(self.plan.groups[feature])
        node.left, node.right = (
            NaiveNode(node.rows[side], node.depth + 1, node.lower, node.upper, groups)
            for side in (goes_left, ~goes_left)
        )
        direction = self.plan.monotonic[feature]
        if direction:
            values = [
                self.newton_value(child.rows, child.lower, child.upper) for child in (node.left, node.right)
            ]
            middle = 0.5 * sum(values)
            low, high = (node.left, node.right) if direction > 0 else (node.right, node.left)
            low.upper = high.lower = middle
        self.evaluate(node.left)
        self.evaluate(node.right)
        return node.left, node.right
