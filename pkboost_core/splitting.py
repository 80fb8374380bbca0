"""The best split of a node, found by scanning its histograms.

newton = 1/2 [GL^2/(HL+lambda) + GR^2/(HR+lambda) - G^2/(H+lambda)] - gamma
info   = W H(W1/W) - WL H(WL1/WL) - WR H(WR1/WR)
gain   = newton + mi_weight exp(-mi_decay depth) info

with H the entropy in nats and W, W1 the weights of all and of positive rows. A split needs newton > 0. Both
terms are reductions of log-loss summed over rows, so they share a scale.
Equal gains go to the earlier feature, the lower bin, then missing values to the right.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import from_dtype, types

from pkboost_core.compiled import helper
from pkboost_core.dtypes import N_CATEGORY_WORDS
from pkboost_core.histogram import gradient_of, hessian_of

TINY = 1e-12
"""Keeps a leaf without hessian and without regularisation from dividing by zero."""


class SplitRules(NamedTuple):
    """What a split must satisfy; plain numbers, so that compiled code takes it whole."""

    l2: float
    min_child_hessian: float
    min_split_gain: float
    mi_weight: float
    mi_decay: float
    categorical_smoothing: float
    min_samples_leaf: int
    max_depth: int
    max_leaf_nodes: int
    learning_rate: float
    is_bounded: int
    count_channel: int
    label_channel: int


RULES_TYPE = types.NamedTuple(
    [types.float64] * 6 + [types.int64] * 3 + [types.float64] + [types.int64] * 3, SplitRules
)


class FeatureTable(NamedTuple):
    """Per-feature facts the scan needs.

    n_bins int64, is_categorical bool, monotonic int64 (-1, 0, 1), is_active bool (column sampling), groups
    uint64 (bit b set: member of interaction group b).
    """

    n_bins: np.ndarray
    is_categorical: np.ndarray
    monotonic: np.ndarray
    is_active: np.ndarray
    groups: np.ndarray


FEATURES_TYPE = types.NamedTuple(
    [types.int64[::1], types.boolean[::1], types.int64[::1], types.boolean[::1], types.uint64[::1]],
    FeatureTable,
)

LEAF = np.dtype(
    [
        ("node", np.int64),  # index in the node array
        ("start", np.int64),  # its rows are elements[start:stop]
        ("stop", np.int64),
        ("n_rows", np.int64),  # on all machines; here stop - start
        ("slot", np.int64),  # histogram slot
        ("depth", np.int64),
        ("total", np.int64),  # packed gradient and hessian sums
        ("labels", np.int64),  # packed weights of all and of positive rows
        ("groups", np.uint64),  # interaction groups still open
        ("lower", np.float64),  # bounds on the leaf's value
        ("upper", np.float64),
        ("gain", np.float64),  # of the best split; <= 0: none
        ("feature", np.int64),
        ("bin", np.int64),  # codes <= bin go left
        ("left_total", np.int64),
        ("left_labels", np.int64),
        ("categories", np.uint64, (N_CATEGORY_WORDS,)),
        ("missing_left", np.bool_),
    ],
    align=True,
)
"""A leaf that may still be split, with its best split."""

LEAF_TYPE = from_dtype(LEAF)


@helper
def leaf_value(gradient, hessian, l2, lower, upper):
    """Newton step -G/(H+lambda), kept within bounds."""
    return min(max(-gradient / (hessian + l2 + TINY), lower), upper)


@helper
def reduction(gradient, hessian, l2, is_bounded, lower, upper):
    """Loss reduction of a leaf: G^2/(2(H+lambda)), or what is left of it when its value is bounded."""
    if is_bounded == 0:
        return 0.5 * gradient * gradient / (hessian + l2 + TINY)
    value = leaf_value(gradient, hessian, l2, lower, upper)
    return -(gradient * value + 0.5 * (hessian + l2) * value * value)


@helper
def entropy_sum(weight, positive):
    """W H(W1/W) in nats: W ln W - W1 ln W1 - W0 ln W0."""
    negative = weight - positive
    total = weight * math.log(weight) if weight > 0.0 else 0.0
    total -= positive * math.log(positive) if positive > 0.0 else 0.0
    return total - (negative * math.log(negative) if negative > 0.0 else 0.0)


@helper
def information(left, labels, scale):
    """Reduction of label entropy, in nats times weight, from packed label sums."""
    weight = scale * gradient_of(labels)
    positive = scale * hessian_of(labels)
    left_weight = scale * gradient_of(left)
    left_positive = scale * hessian_of(left)
    children = entropy_sum(left_weight, left_positive) + entropy_sum(
        weight - left_weight, positive - left_positive
    )
    return entropy_sum(weight, positive) - children


@helper
def split_gain(leaf, left, left_count, left_labels, monotonic, rules, scales, parent, mi_weight):
    """Gain of sending the packed sums `left` to the left; -1 when a rule forbids it."""
    right = leaf.total - left
    left_h = scales[1] * hessian_of(left)
    right_h = scales[1] * hessian_of(right)
    if left_h < rules.min_child_hessian or right_h < rules.min_child_hessian:
        return -1.0
    if rules.count_channel >= 0:
        fewest = min(left_count, leaf.n_rows - left_count)
        if fewest < rules.min_samples_leaf:
            return -1.0
    left_g = scales[0] * gradient_of(left)
    right_g = scales[0] * gradient_of(right)
    lower = leaf.lower
    upper = leaf.upper
    if monotonic != 0:
        left_value = leaf_value(left_g, left_h, rules.l2, lower, upper)
        right_value = leaf_value(right_g, right_h, rules.l2, lower, upper)
        if monotonic * (right_value - left_value) < 0.0:
            return -1.0
    newton = reduction(left_g, left_h, rules.l2, rules.is_bounded, lower, upper)
    newton += reduction(right_g, right_h, rules.l2, rules.is_bounded, lower, upper)
    newton -= parent
    if newton <= 0.0 or mi_weight == 0.0:
        return newton
    return newton + mi_weight * information(left_labels, leaf.labels, scales[2])


@helper
def record_split(leaf, gain, feature, bin_code, missing_left, left, left_labels):
    """Keep a split that is better than the leaf's best so far."""
    leaf.gain = gain
    leaf.feature = feature
    leaf.bin = bin_code
    leaf.missing_left = missing_left
    leaf.left_total = left
    leaf.left_labels = left_labels


@helper
def larger_side_is_left(leaf, left):
    """Where values go that the node never saw: to the side with more hessian."""
    return 2 * hessian_of(left) >= hessian_of(leaf.total)


@helper
def scan_ordered(leaf, feature, sums, counts, labels, features, rules, scales, parent, mi_weight):
    """Try every cut of an ordered feature, with missing values on either side when there are any."""
    n_bins = features.n_bins[feature]
    missing = sums[n_bins]
    has_missing = missing != 0
    monotonic = features.monotonic[feature]
    missing_count = counts[n_bins] if rules.count_channel >= 0 else 0
    missing_labels = labels[n_bins] if rules.label_channel >= 0 else 0
    left = np.int64(0)
    left_count = np.int64(0)
    left_labels = np.int64(0)
    last = n_bins if has_missing else n_bins - 1
    for code in range(last):
        left += sums[code]
        if rules.count_channel >= 0:
            left_count += counts[code]
        if rules.label_channel >= 0:
            left_labels += labels[code]
        gain = split_gain(leaf, left, left_count, left_labels, monotonic, rules, scales, parent, mi_weight)
        if gain > leaf.gain:
            default = False if has_missing else larger_side_is_left(leaf, left)
            record_split(leaf, gain, feature, code, default, left, left_labels)
        if has_missing and code < n_bins - 1:
            both = left + missing
            both_labels = left_labels + missing_labels
            gain = split_gain(
                leaf,
                both,
                left_count + missing_count,
                both_labels,
                monotonic,
                rules,
                scales,
                parent,
                mi_weight,
            )
            if gain > leaf.gain:
                record_split(leaf, gain, feature, code, True, both, both_labels)


@helper
def score_cuts(lefts, offset, n_cuts, total, rules, scales, out):
    """Write 1/2 [GL^2/(HL+lambda) + GR^2/(HR+lambda)] per cut, -1 where a side has too little hessian.

    One division and no branch, so that it runs eight cuts at a time. The expression is symmetric in left and
    right, bit for bit: mirrored splits tie exactly.
    """
    l2 = rules.l2 + TINY
    fewest = rules.min_child_hessian
    total_g = scales[0] * gradient_of(total)
    total_h = scales[1] * hessian_of(total)
    scale_g = scales[0]
    scale_h = scales[1]
    for cut in range(n_cuts):
        left = lefts[cut] + offset
        left_g = scale_g * gradient_of(left)
        left_h = scale_h * hessian_of(left)
        right_g = total_g - left_g
        right_h = total_h - left_h
        a = left_h + l2
        b = right_h + l2
        score = 0.5 * ((left_g * left_g) * b + (right_g * right_g) * a) / (a * b)
        out[cut] = score if min(left_h, right_h) >= fewest else -1.0


@helper
def scan_plain(leaf, feature, sums, n_bins, rules, scales, parent, lefts, scores):
    """Do as `scan_ordered` where only gradients and hessians matter; `lefts` and `scores` are scratch."""
    total = leaf.total
    missing = sums[n_bins]
    left = np.int64(0)
    for code in range(n_bins):
        left += sums[code]
        lefts[code] = left
    if missing == 0:
        score_cuts(lefts, 0, n_bins - 1, total, rules, scales, scores[0])
        best = parent + leaf.gain
        found = -1
        for code in range(n_bins - 1):
            if scores[0, code] > best:
                best = scores[0, code]
                found = code
        if found >= 0 and best - parent > leaf.gain:
            left = lefts[found]
            record_split(leaf, best - parent, feature, found, larger_side_is_left(leaf, left), left, 0)
        return
    score_cuts(lefts, 0, n_bins, total, rules, scales, scores[0])
    score_cuts(lefts, missing, n_bins - 1, total, rules, scales, scores[1])
    scores[1, n_bins - 1] = -1.0
    for code in range(n_bins):
        for side in range(2):
            gain = scores[side, code] - parent
            if gain > leaf.gain:
                record_split(leaf, gain, feature, code, side == 1, lefts[code] + side * missing, 0)


@helper
def scan_categories(leaf, feature, sums, counts, labels, features, rules, scales, parent, mi_weight):
    """Order the levels by smoothed gradient per hessian and try every cut of that order.

    Missing is a level like the others. The ratio of a level is shrunk towards the node's by
    `categorical_smoothing` units of hessian. Levels the node never saw join the side with more hessian.
    """
    n_codes = features.n_bins[feature] + 1
    order = np.empty(n_codes, np.int64)
    ratio = np.empty(n_codes, np.float64)
    smoothing = rules.categorical_smoothing
    prior = scales[0] * gradient_of(leaf.total) / (scales[1] * hessian_of(leaf.total) + TINY)
    n_seen = 0
    for code in range(n_codes):
        if sums[code] != 0:
            g = scales[0] * gradient_of(sums[code])
            h = scales[1] * hessian_of(sums[code])
            value = (g + smoothing * prior) / (h + smoothing + TINY)
            place = n_seen
            while place > 0 and ratio[place - 1] > value:
                ratio[place] = ratio[place - 1]
                order[place] = order[place - 1]
                place -= 1
            ratio[place] = value
            order[place] = code
            n_seen += 1
    left = np.int64(0)
    left_count = np.int64(0)
    left_labels = np.int64(0)
    best = -1
    for place in range(n_seen - 1):
        code = order[place]
        left += sums[code]
        if rules.count_channel >= 0:
            left_count += counts[code]
        if rules.label_channel >= 0:
            left_labels += labels[code]
        gain = split_gain(leaf, left, left_count, left_labels, np.int64(0), rules, scales, parent, mi_weight)
        if gain > leaf.gain:
            record_split(leaf, gain, feature, 0, False, left, left_labels)
            best = place
    if best >= 0:
        mark_categories(leaf, sums, order, best, n_codes)


@helper
def mark_categories(leaf, sums, order, best, n_codes):
    """Write the set of codes that go left: the first `best` + 1 in order, and unseen ones if it is larger."""
    for word in range(N_CATEGORY_WORDS):
        leaf.categories[word] = 0
    if larger_side_is_left(leaf, leaf.left_total):
        for code in range(256):
            if code >= n_codes or sums[code] == 0:
                leaf.categories[code >> 6] |= np.uint64(1) << np.uint64(code & 63)
    for place in range(best + 1):
        code = order[place]
        leaf.categories[code >> 6] |= np.uint64(1) << np.uint64(code & 63)
    missing = n_codes - 1
    bit = (leaf.categories[missing >> 6] >> np.uint64(missing & 63)) & np.uint64(1)
    leaf.missing_left = bit != 0


@helper
def find_split(leaf, histogram, features, rules, scales, stride):
    """Set the best split of a leaf from its histogram, int64 (n_channels, n_features padded * stride)."""
    leaf.gain = 0.0
    leaf.feature = -1
    if leaf.depth >= rules.max_depth or scales[1] * hessian_of(leaf.total) < 2.0 * rules.min_child_hessian:
        return
    is_plain = len(histogram) == 1 and rules.is_bounded == 0
    lefts = np.empty(256, np.int64)
    scores = np.empty((2, 256))
    gradient = scales[0] * gradient_of(leaf.total)
    hessian = scales[1] * hessian_of(leaf.total)
    parent = reduction(gradient, hessian, rules.l2, rules.is_bounded, leaf.lower, leaf.upper)
    parent += rules.min_split_gain
    mi_weight = rules.mi_weight * math.exp(-rules.mi_decay * leaf.depth)
    counts_of = histogram[max(rules.count_channel, 0)]
    labels_of = histogram[max(rules.label_channel, 0)]
    for feature in range(len(features.n_bins)):
        if not features.is_active[feature] or (features.groups[feature] & leaf.groups) == 0:
            continue
        low = feature * stride
        high = low + stride
        sums = histogram[0, low:high]
        counts = counts_of[low:high]
        labels = labels_of[low:high]
        if features.is_categorical[feature]:
            scan_categories(leaf, feature, sums, counts, labels, features, rules, scales, parent, mi_weight)
        elif is_plain:
            n_bins = features.n_bins[feature]
            scan_plain(leaf, feature, sums, n_bins, rules, scales, parent, lefts, scores)
        else:
            scan_ordered(leaf, feature, sums, counts, labels, features, rules, scales, parent, mi_weight)
