"""From parameters and data to the plan that the boosting loop follows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pkboost_core.binning import Binning
from pkboost_core.constraints import interaction_groups, monotonic_directions
from pkboost_core.linear_leaves import NO_POSITIONS, bin_positions
from pkboost_core.loss import Loss
from pkboost_core.params import learning_rate_of
from pkboost_core.progress import Progress
from pkboost_core.rows import Rows
from pkboost_core.splitting import SplitRules
from pkboost_core.training import Plan

LINEAR_ROWS = 2_000
"""Fewest rows for linear leaves to be chosen by "auto"."""


def make_plan(
    params: Mapping[str, Any],
    binning: Binning,
    rows: Rows,
    names: list[str] | None,
    loss: Loss,
    seed: int,
    report: Progress,
    n_rows: int,
) -> Plan:
    """Return the plan for an estimator's parameters.

    Parameters
    ----------
    params : checked parameters by name
    rows : all training rows, which base scores follow
    names : column names, None where X had none
    loss : what is minimised, on the targets that `rows` carry
    n_rows : rows that a booster is grown on, which "auto" parameters follow
    """
    monotonic = monotonic_directions(params["monotonic_constraints"], names, binning)
    max_step = params["max_delta_step"]
    return Plan(
        binning=binning,
        rules=_split_rules(params, rows, loss, n_rows, bool(monotonic.any())),
        monotonic=monotonic,
        groups=interaction_groups(params["interaction_constraints"], names, binning.n_features),
        loss=loss,
        base_scores=loss.base_scores(rows.target, rows.weight),
        n_trees=int(params["n_estimators"]),
        patience=int(params["n_iter_no_change"]),
        subsample=float(params["subsample"]),
        colsample=float(params["colsample"]),
        keep_positives=bool(params.get("keep_positives", False)),
        max_delta_step=loss.largest_step if max_step is None else float(max_step),
        positions=_positions(params, binning, loss, n_rows, bool(monotonic.any())),
        seed=seed,
        report=report,
    )


def _positions(
    params: Mapping[str, Any], binning: Binning, loss: Loss, n_rows: int, is_bounded: bool
) -> np.ndarray:
    """Return the positions of bins for linear leaves, or none where leaves are constant."""
    wanted = params["linear_leaves"]
    is_possible = not is_bounded and loss.level is None
    if wanted is True and not is_possible:
        why = "monotonic_constraints" if is_bounded else f"loss={params['loss']!r}"
        raise ValueError(f"linear_leaves=True does not go with {why}: set it to False")
    is_chosen = params["mode"] == "quality" and n_rows >= LINEAR_ROWS if wanted == "auto" else bool(wanted)
    return (
        bin_positions(binning.thresholds, binning.is_categorical)
        if is_chosen and is_possible
        else NO_POSITIONS
    )


def _split_rules(
    params: Mapping[str, Any], rows: Rows, loss: Loss, n_rows: int, is_bounded: bool
) -> SplitRules:
    hessian, max_depth = params["min_child_hessian"], params["max_depth"]
    count_channel = 1 if params["min_samples_leaf"] > 1 else -1
    mi_weight = float(params.get("mi_weight", 0.0))
    label_channel = (2 if count_channel > 0 else 1) if mi_weight > 0 else -1
    if hessian == "auto":
        hessian = loss.min_child_hessian(n_rows, rows.weight)
    return SplitRules(
        l2=float(params["l2_regularization"]),
        min_child_hessian=float(hessian),
        min_split_gain=float(params["min_split_gain"]),
        mi_weight=mi_weight,
        mi_decay=float(params.get("mi_decay", 0.0)),
        categorical_smoothing=float(params["categorical_smoothing"]),
        min_samples_leaf=int(params["min_samples_leaf"]),
        max_depth=1000 if max_depth is None else int(max_depth),
        max_leaf_nodes=int(params["max_leaf_nodes"]),
        learning_rate=learning_rate_of(params["learning_rate"]),
        is_bounded=int(is_bounded),
        count_channel=count_channel,
        label_channel=label_channel,
    )
