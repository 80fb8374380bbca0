"""Leaf values that are quantiles of residuals, where the Newton step of a loss means nothing."""

import math

import numpy as np

from pkboost_core.regression_loss import weighted_quantile


def renew_values(
    nodes: np.ndarray,
    leaf: np.ndarray,
    residual: np.ndarray,
    weight: np.ndarray,
    level: float,
    learning_rate: float,
    bound: float,
    monotonic: np.ndarray,
) -> None:
    """Set the values of a tree to the weighted quantile of the residuals in each node, times the rate.

    Parameters
    ----------
    nodes : NODE (n_nodes,), one tree with indices from its root, parents before children
    leaf : int64 (n,), leaf of each row
    residual : float64 (n,), target less raw score
    weight : float32 (n,), empty for ones
    bound : largest absolute value before the learning rate
    monotonic : int64 (n_features,), -1, 0 or 1: as in growing, the values below a constrained split are kept
        on their side of the middle between its two children
    """
    members = _rows_by_node(nodes, leaf, include_inner=bool(monotonic.any()))
    values = np.zeros(len(nodes))
    for n, rows in members.items():
        own = weight[rows] if len(weight) else weight
        values[n] = weighted_quantile(residual[rows], own, level)
    lower, upper = np.full(len(nodes), -bound), np.full(len(nodes), bound)
    for n, node in enumerate(nodes):
        values[n] = min(max(values[n], lower[n]), upper[n])
        if not node["is_leaf"]:
            children = [node["left"], node["right"]]
            lower[children], upper[children] = lower[n], upper[n]
            _order_children(values, lower, upper, children, int(monotonic[node["feature"]]))
    nodes["value"] = learning_rate * values


def _rows_by_node(nodes: np.ndarray, leaf: np.ndarray, include_inner: bool) -> dict[int, np.ndarray]:
    order = np.argsort(leaf, kind="stable")
    ends = np.cumsum(np.bincount(leaf, minlength=len(nodes)))
    parts = np.split(order, ends[:-1])
    rows = {n: parts[n] for n in range(len(nodes)) if nodes[n]["is_leaf"]}
    if include_inner:
        for n in reversed(range(len(nodes))):
            if n not in rows:
                rows[n] = np.concatenate([rows[int(nodes[n]["left"])], rows[int(nodes[n]["right"])]])
    return rows


def _order_children(
    values: np.ndarray, lower: np.ndarray, upper: np.ndarray, children: list[int], direction: int
) -> None:
    if direction == 0:
        return
    below, above = children if direction > 0 else children[::-1]
    middle = 0.5 * math.fsum(min(max(values[c], lower[c]), upper[c]) for c in children)
    upper[below] = lower[above] = middle
