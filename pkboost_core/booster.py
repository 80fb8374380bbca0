"""Gradient boosting for rare positives: the estimator that users see."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from pkboost_core.binning import Binning, fit_binning
from pkboost_core.calibration import Calibration, fit_calibration
from pkboost_core.columns import column_positions, feature_names, to_matrix, to_vector, to_weights
from pkboost_core.dtypes import NODE
from pkboost_core.ensemble import Ensemble
from pkboost_core.estimator import Estimator
from pkboost_core.params import (
    check_parameters,
    learning_rate_for,
    max_bins_for,
    min_child_hessian_for,
    pos_weight_for,
)
from pkboost_core.predictor import leaf_ids, raw_scores
from pkboost_core.splitting import SplitRules
from pkboost_core.training import Boosted, Plan, Rows, boost, cross_validate, join_trees, refit

MIN_HELD_OUT_POSITIVES = 20
"""With fewer rows of either class in the holdout, early stopping goes by K folds instead."""

N_FOLDS = 5

UNCHECKED_TREES = 100
"""Trees grown when early stopping is asked for but there are too few rows of a class to judge by."""


class PKBoostClassifier(Estimator):
    """Binary classifier: Newton boosting on histograms with defaults that follow from the data.

    Parameters
    ----------
    n_estimators : int, default 1000
        Most trees; early stopping usually ends before.
    learning_rate : float in (0, 1] or "auto"
        "auto": .05 up to 10,000 rows, rising to .10 at 50,000.
    max_leaf_nodes, max_depth : int (max_depth may be None)
        Size of a tree; leaves are split best gain first.
    min_samples_leaf : int, default 1
        Fewest rows of a leaf. The default leaves the matter to `min_child_hessian`, which is free to check.
    min_child_hessian : float or "auto"
        Smallest sum of w p (1 - p) in a leaf. "auto": .1 below 500 rows, rising to 1 at 2,000.
    l2_regularization, min_split_gain : float
        lambda and gamma of the gain.
    max_delta_step : float or None
        Bound on a leaf's Newton step, in log-odds, before the learning rate.
    max_bins : int in 2..255 or "auto"
        Bins of observed values; "auto": 64 below 20,000 rows, else 128. Missing values have their own bin.
    subsample, colsample : float in (0, 1]
        Shares of rows and of columns that each tree sees, drawn afresh from the seed.
    mi_weight, mi_decay : float
        Weight of the label entropy in the gain at the root, and its exponential decay with depth.
    scale_pos_weight : float, "sqrt" or None
        Weight of positive rows in the loss that is boosted; raw scores and probabilities are corrected back.
    categorical_features : sequence of column names or indices, or None
        Columns of non-negative integer codes (NaN = missing). The 64 most frequent levels are kept apart and
        split by gradient order; rarer and unseen levels count as missing.
    categorical_smoothing : float
        Hessian by which a level's gradient ratio is drawn to the node's when levels are ordered.
    monotonic_constraints : mapping or sequence of -1, 0, 1, or None
        By column name, by column index, or one per column. 1: the score never falls when the feature rises.
    interaction_constraints : sequence of sequences of columns, or None
        Features may meet on a path only within one of the groups; columns in no group stay alone.
    early_stopping : bool
        Stop on the log-loss of `eval_set`, or of a random stratified share of the rows, or of K folds when
        that share has fewer than 20 rows of a class.
    validation_fraction, n_iter_no_change : float, int
        The share, and how many trees may pass without improvement.
    refit : bool
        After early stopping, replay the trees' structure on all rows and recompute the leaf values.
    calibration : "auto", "none", "intercept" or "beta"
        Map from raw scores to probabilities, fitted on the held-out scores.
    random_state : int or None
        Seed; None draws one from the operating system and keeps it in `random_state_`.
    n_threads : int
        Threads; the fitted model is the same, byte for byte, for any number.
    verbose : int
        Print a line every `verbose` trees.
    callbacks : sequence of callables, or None
        Called after each tree with (number of trees, held-out loss or NaN); a true result stops the fit.

    Attributes
    ----------
    ensemble_ : Ensemble
    calibration_ : Calibration
    classes_ : ndarray, shape (2,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str, only when X was a frame with text names
    feature_importances_ : ndarray of float64, shape (n_features,)
        Share of the total gain.
    n_trees_ : int
    validation_loss_ : ndarray of float64
        Held-out log-loss after each tree, empty without early stopping or with K folds.
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        n_estimators: int = 1000,
        learning_rate: float | str = "auto",
        max_leaf_nodes: int = 31,
        max_depth: int | None = 8,
        min_samples_leaf: int = 1,
        min_child_hessian: float | str = "auto",
        l2_regularization: float = 1.0,
        min_split_gain: float = 0.0,
        max_delta_step: float | None = 3.0,
        max_bins: int | str = "auto",
        subsample: float = 0.7,
        colsample: float = 0.7,
        mi_weight: float = 0.0,
        mi_decay: float = 0.5,
        scale_pos_weight: float | str | None = None,
        categorical_features: Sequence[int | str] | None = None,
        categorical_smoothing: float = 10.0,
        monotonic_constraints: Mapping[Any, int] | Sequence[int] | None = None,
        interaction_constraints: Sequence[Sequence[int | str]] | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 50,
        refit: bool = True,
        calibration: str = "auto",
        random_state: int | None = 0,
        n_threads: int = 1,
        verbose: int = 0,
        callbacks: Sequence[Callable[[int, float], Any]] | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.min_child_hessian = min_child_hessian
        self.l2_regularization = l2_regularization
        self.min_split_gain = min_split_gain
        self.max_delta_step = max_delta_step
        self.max_bins = max_bins
        self.subsample = subsample
        self.colsample = colsample
        self.mi_weight = mi_weight
        self.mi_decay = mi_decay
        self.scale_pos_weight = scale_pos_weight
        self.categorical_features = categorical_features
        self.categorical_smoothing = categorical_smoothing
        self.monotonic_constraints = monotonic_constraints
        self.interaction_constraints = interaction_constraints
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.refit = refit
        self.calibration = calibration
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose
        self.callbacks = callbacks

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None, groups: Any = None
    ) -> Self:
        """Fit the trees.

        Parameters
        ----------
        X : array or frame (n_rows, n_features) of numbers; NaN and nulls are missing, infinities extreme
        y : two class labels, or float targets in [0, 1] where the label is not certain
        sample_weight : non-negative weights (n_rows,), or None
        eval_set : (X, y) or (X, y, sample_weight) to stop on instead of a share of the rows; a list with one
            such tuple is accepted. No refit follows then: every row of X was trained on already.
        groups : labels (n_rows,), or None. Rows of one group are never split between growing and stopping:
            needed where rows repeat one subject (a lead at several dates), or stopping comes far too late.

        Raises
        ------
        ValueError, TypeError
            Naming the parameter or input that is wrong.
        """
        check_parameters(self.get_params())
        values = self._start_fit(X)
        target, self.classes_ = encode_target(y, len(values))
        weight = to_weights(sample_weight, len(values))
        check_two_classes(target, weight)
        rng = np.random.default_rng(self.random_state_)
        binning = fit_binning(values, self._max_bins(len(values)), self._is_categorical, weight, rng)
        pos_weight = pos_weight_for(self.scale_pos_weight, _mean(target, weight))
        rows = make_rows(binning, values, target, weight, pos_weight)
        plan = self._plan(binning, rows, pos_weight)
        held = None if eval_set is None else self._held_out(eval_set, binning, pos_weight)
        trees, truth, raw = self._boost(rows, plan, held, rng, to_units(groups, len(values)))
        self._finish(trees, plan)
        self._calibrate(truth, raw)
        return self

    def _start_fit(self, X: Any) -> np.ndarray:
        names = feature_names(X)
        values = to_matrix(X)
        check_not_empty(values)
        self.n_features_in_ = values.shape[1]
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.random_state_ = drawn_seed() if self.random_state is None else int(self.random_state)
        chosen = column_positions(
            self.categorical_features if self.categorical_features is not None else (),
            names,
            self.n_features_in_,
            "categorical_features",
        )
        self._is_categorical = np.zeros(self.n_features_in_, dtype=np.bool_)
        self._is_categorical[chosen] = True
        for f in chosen:
            check_codes(values[:, f], names[f] if names else f)
        return values

    def _max_bins(self, n_rows: int) -> int:
        return max_bins_for(n_rows) if self.max_bins == "auto" else int(self.max_bins)

    def _plan(self, binning: Binning, rows: Rows, pos_weight: float) -> Plan:
        names = list(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None
        monotonic = monotonic_directions(self.monotonic_constraints, names, binning)
        self._directions = monotonic
        base = math.log(_mean(rows.target, rows.weight) / (1.0 - _mean(rows.target, rows.weight)))
        return Plan(
            binning=binning,
            rules=self._rules(len(rows), bool(monotonic.any())),
            monotonic=monotonic,
            groups=interaction_groups(self.interaction_constraints, names, binning.n_features),
            base_score=round(base, 10),
            score_shift=-math.log(pos_weight),
            n_trees=int(self.n_estimators),
            patience=int(self.n_iter_no_change),
            subsample=float(self.subsample),
            colsample=float(self.colsample),
            max_delta_step=math.inf if self.max_delta_step is None else float(self.max_delta_step),
            seed=int(self.random_state_),
            report=self._report,
        )

    def _rules(self, n_rows: int, is_bounded: bool) -> SplitRules:
        auto_rate = self.learning_rate == "auto"
        auto_hessian = self.min_child_hessian == "auto"
        count_channel = 1 if self.min_samples_leaf > 1 else -1
        label_channel = (2 if count_channel > 0 else 1) if self.mi_weight > 0 else -1
        return SplitRules(
            l2=float(self.l2_regularization),
            min_child_hessian=min_child_hessian_for(n_rows)
            if auto_hessian
            else float(self.min_child_hessian),
            min_split_gain=float(self.min_split_gain),
            mi_weight=float(self.mi_weight),
            mi_decay=float(self.mi_decay),
            categorical_smoothing=float(self.categorical_smoothing),
            min_samples_leaf=int(self.min_samples_leaf),
            max_depth=1000 if self.max_depth is None else int(self.max_depth),
            max_leaf_nodes=int(self.max_leaf_nodes),
            learning_rate=learning_rate_for(n_rows) if auto_rate else float(self.learning_rate),
            is_bounded=int(is_bounded),
            count_channel=count_channel,
            label_channel=label_channel,
        )

    def _report(self, n_trees: int, loss: float) -> bool:
        if self.verbose and n_trees % self.verbose == 0:
            print(f"{n_trees} trees, held-out log-loss {loss:.6f}", file=sys.stderr, flush=True)
        results = [callback(n_trees, loss) for callback in self.callbacks or ()]
        return any(results)

    def _held_out(self, eval_set: Any, binning: Binning, pos_weight: float) -> Rows:
        if isinstance(eval_set, list):
            if len(eval_set) != 1:
                raise ValueError(f"eval_set should hold one (X, y) pair, got {len(eval_set)}")
            eval_set = eval_set[0]
        values = self._matrix(eval_set[0])
        check_not_empty(values)
        target = self._encode_known(eval_set[1], len(values))
        weight = to_weights(eval_set[2] if len(eval_set) > 2 else None, len(values))
        return make_rows(binning, values, target, weight, pos_weight)

    def _encode_known(self, y: Any, n_rows: int) -> np.ndarray:
        labels = to_vector(y, n_rows, "y of eval_set")
        if not np.isin(labels, self.classes_).all():
            target = labels.astype(np.float64)
            if not ((target >= 0) & (target <= 1)).all():
                raise ValueError(f"y of eval_set has labels other than {self.classes_.tolist()}")
            return target
        return (labels == self.classes_[1]).astype(np.float64)

    def _boost(
        self,
        rows: Rows,
        plan: Plan,
        held: Rows | None,
        rng: np.random.Generator,
        units: np.ndarray,
    ) -> tuple[Sequence[np.ndarray], Rows | None, np.ndarray]:
        """Return the trees, and rows they were not trained on (None when there are none) with raw scores."""
        self.validation_loss_ = np.zeros(0)
        if held is not None:
            patience = plan.patience if self.early_stopping else plan.n_trees
            fit = boost(rows, _with(plan, patience=patience), held)
            self.validation_loss_ = fit.losses
            return fit.trees, held, fit.raw
        if not self.early_stopping:
            return boost(rows, plan).trees, None, np.zeros(0)
        is_positive = np.bincount(units, weights=rows.loss_target >= 0.5) > 0
        fewest = int(min(is_positive.sum(), (~is_positive).sum()))
        if fewest * self.validation_fraction >= MIN_HELD_OUT_POSITIVES:
            return self._boost_with_holdout(rows, plan, is_positive, units, rng)
        if fewest < 2:
            return (
                boost(rows, _with(plan, n_trees=min(plan.n_trees, UNCHECKED_TREES))).trees,
                None,
                np.zeros(0),
            )
        folds = stratified_folds(is_positive, min(N_FOLDS, fewest), rng)[units]
        best, raw = cross_validate(rows, plan, folds)
        return boost(rows, _with(plan, n_trees=best)).trees, rows, raw

    def _boost_with_holdout(
        self, rows: Rows, plan: Plan, is_positive: np.ndarray, units: np.ndarray, rng: np.random.Generator
    ) -> tuple[Sequence[np.ndarray], Rows, np.ndarray]:
        is_held = stratified_share(is_positive, self.validation_fraction, rng)[units]
        held = rows.take(np.flatnonzero(is_held))
        fit: Boosted = boost(rows.take(np.flatnonzero(~is_held)), plan, held)
        self.validation_loss_ = fit.losses
        return (refit(fit.trees, rows, plan) if self.refit else fit.trees), held, fit.raw

    def _finish(self, trees: Sequence[np.ndarray], plan: Plan) -> None:
        nodes, offsets = join_trees(trees, plan.binning)
        base_score = np.array([plan.base_score + plan.score_shift])
        self.ensemble_ = Ensemble(
            nodes, offsets, base_score, plan.binning.thresholds, plan.binning.is_categorical
        )
        self.n_trees_ = len(trees)

    def _calibrate(self, truth: Rows | None, raw: np.ndarray) -> None:
        if truth is None or self.calibration == "none":
            self.calibration_ = Calibration()
            return
        weight = truth.loss_weight if len(truth.loss_weight) else None
        self.calibration_ = fit_calibration(
            raw, truth.loss_target, weight, kind=self.calibration, seed=int(self.random_state_)
        )

    def _matrix(self, X: Any) -> np.ndarray:
        names = feature_names(X)
        values = to_matrix(X)
        if values.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {values.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        expected = getattr(self, "feature_names_in_", None)
        if names is not None and expected is not None and names != list(expected):
            at = next(i for i, pair in enumerate(zip(names, expected, strict=True)) if pair[0] != pair[1])
            raise ValueError(
                f"feature order differs from the model: expected {expected[at]} at {at}, got {names[at]}"
            )
        return values

    def decision_function(self, X: Any) -> np.ndarray:
        """Return raw scores (log-odds before calibration), float64 (n_rows,)."""
        self._check_is_fitted()
        return raw_scores(self.ensemble_, self._matrix(X))[:, 0]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return calibrated probabilities, float64 (n_rows, 2), strictly inside (0, 1)."""
        raw = self.decision_function(X)
        positive = self.calibration_.predict(raw)
        return np.column_stack([1.0 - positive, positive])

    def predict(self, X: Any) -> np.ndarray:
        """Return the more probable class of each row."""
        is_positive = self.predict_proba(X)[:, 1] > 0.5
        return self.classes_[is_positive.astype(np.intp)]

    def apply(self, X: Any) -> np.ndarray:
        """Return the leaf of each row in each tree, counted from the tree's root, int64 (n_rows, n_trees)."""
        self._check_is_fitted()
        return leaf_ids(self.ensemble_, self._matrix(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    @property
    def feature_importances_(self) -> np.ndarray:
        """Share of the total gain by feature, float64 (n_features,)."""
        self._check_is_fitted()
        nodes = self.ensemble_.nodes[~self.ensemble_.nodes["is_leaf"]]
        gain = np.bincount(nodes["feature"], weights=nodes["gain"], minlength=self.n_features_in_)
        return gain / gain.sum() if gain.sum() > 0 else gain

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model as numbers, arrays and JSON values."""
        self._check_is_fitted()
        ensemble = self.ensemble_
        params = {k: _plain(v) for k, v in self.get_params().items() if k != "callbacks"}
        if isinstance(self.monotonic_constraints, Mapping):
            params["monotonic_constraints"] = self._directions.tolist()
        nodes = {name: np.ascontiguousarray(ensemble.nodes[name]) for name in NODE.names or ()}
        names = getattr(self, "feature_names_in_", None)
        cuts = [np.zeros(0), *ensemble.bin_thresholds]
        return {
            "params": params,
            "classes": self.classes_.tolist(),
            "classes_dtype": self.classes_.dtype.str,
            "n_features": int(self.n_features_in_),
            "feature_names": None if names is None else [str(name) for name in names],
            "random_state": int(self.random_state_),
            "calibration": self.calibration_.to_state(),
            "validation_loss": self.validation_loss_,
            "nodes": nodes,
            "tree_offsets": ensemble.tree_offsets,
            "base_score": ensemble.base_score,
            "thresholds": np.concatenate(cuts),
            "threshold_counts": np.array([len(c) for c in ensemble.bin_thresholds], dtype=np.int64),
            "is_categorical": ensemble.is_categorical,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild a fitted model from `to_state`."""
        model = cls(**state["params"])
        check_parameters(model.get_params())
        nodes = np.zeros(len(state["nodes"]["feature"]), dtype=NODE)
        for name in NODE.names or ():
            nodes[name] = state["nodes"][name]
        counts = np.asarray(state["threshold_counts"])
        thresholds = tuple(
            np.split(np.asarray(state["thresholds"], dtype=np.float64), np.cumsum(counts)[:-1])
        )
        model.ensemble_ = Ensemble(
            nodes,
            np.asarray(state["tree_offsets"], dtype=np.int64),
            np.asarray(state["base_score"], dtype=np.float64),
            thresholds if len(counts) else (),
            np.asarray(state["is_categorical"], dtype=np.bool_),
        )
        model.classes_ = np.array(state["classes"], dtype=np.dtype(state["classes_dtype"]))
        model.n_features_in_ = int(state["n_features"])
        if state["feature_names"] is not None:
            model.feature_names_in_ = np.array(state["feature_names"], dtype=object)
        model.random_state_ = int(state["random_state"])
        model.calibration_ = Calibration.from_state(state["calibration"])
        model.validation_loss_ = np.asarray(state["validation_loss"], dtype=np.float64)
        model.n_trees_ = model.ensemble_.n_trees
        return model


def drawn_seed() -> int:
    """Return a seed from the operating system, 32 bits."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def _with(plan: Plan, **changes: Any) -> Plan:
    return replace(plan, **changes)


def _mean(target: np.ndarray, weight: np.ndarray | None) -> float:
    if weight is None or not len(weight):
        return float(np.mean(target, dtype=np.float64))
    return float(np.average(target.astype(np.float64), weights=weight.astype(np.float64)))


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays, tuples and mappings into what JSON can hold."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(v) for v in value]
    return value


def check_not_empty(values: np.ndarray) -> None:
    """Raise ValueError for a matrix without rows or columns."""
    if values.shape[0] == 0:
        raise ValueError(f"X has 0 rows (Found array with 0 sample(s), shape={values.shape})")
    if values.shape[1] == 0:
        raise ValueError(
            f"X has no columns: 0 feature(s) (shape={values.shape}) while a minimum of 1 is required."
        )


def check_codes(column: np.ndarray, name: Any) -> None:
    """Raise ValueError when a categorical column holds anything but non-negative integers and NaN."""
    known = column[~np.isnan(column)]
    bad = known[(known < 0) | (known != np.floor(known)) | np.isinf(known)]
    if len(bad):
        raise ValueError(
            f"categorical column {name!r} holds {bad[0]:g}; expected integer codes >= 0, NaN where missing"
        )


def encode_target(y: Any, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn labels into float64 targets in [0, 1] and return them with the two classes.

    Floats within [0, 1] with values strictly between are soft targets for the classes 0 and 1.
    """
    labels = to_vector(y, n_rows, "y")
    if labels.dtype.kind == "O" and all(isinstance(label, bool | int | float) for label in labels):
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ValueError(f"y contains NaN or infinity at row {np.flatnonzero(~np.isfinite(labels))[0]}")
        if (labels != np.floor(labels)).any():
            if labels.min() < 0 or labels.max() > 1:
                raise ValueError(
                    f"Unknown label type: y has values from {labels.min():g} to {labels.max():g}; "
                    "expected two classes, or soft targets in [0, 1]"
                )
            return labels.astype(np.float64), np.array([0, 1])
    classes = np.unique(labels)
    if len(classes) > 2:
        shown = ", ".join(map(repr, classes[:5].tolist()))
        raise ValueError(f"Only binary classification is supported. y has {len(classes)} classes: {shown}")
    return (labels == classes[-1]).astype(np.float64), classes


def check_two_classes(target: np.ndarray, weight: np.ndarray | None) -> None:
    """Raise ValueError when all weight lies on one class."""
    mean = _mean(target, weight)
    if mean <= 0.0 or mean >= 1.0 or target.min() == target.max() in (0.0, 1.0):
        raise ValueError("y has one class only (classifier can't train when only one class is present.)")


def monotonic_directions(constraints: Any, names: list[str] | None, binning: Binning) -> np.ndarray:
    """Return one direction per feature, int64."""
    directions = np.zeros(binning.n_features, dtype=np.int64)
    if constraints is None:
        return directions
    if isinstance(constraints, Mapping):
        pairs = list(constraints.items())
    elif len(constraints) == binning.n_features:
        pairs = list(enumerate(constraints))
    else:
        raise ValueError(
            f"monotonic_constraints has {len(constraints)} entries, X has {binning.n_features} columns"
        )
    for column, direction in pairs:
        position = column_positions([column], names, binning.n_features, "monotonic_constraints")[0]
        if direction not in (-1, 0, 1):
            raise ValueError(f"monotonic_constraints[{column!r}]={direction!r} should be -1, 0 or 1")
        if direction and binning.is_categorical[position]:
            raise ValueError(f"monotonic_constraints[{column!r}]={direction!r}: that column is categorical")
        directions[position] = direction
    return directions


def interaction_groups(constraints: Any, names: list[str] | None, n_features: int) -> np.ndarray:
    """Return the groups of each feature as bits of uint64."""
    if constraints is None:
        return np.full(n_features, ~np.uint64(0), dtype=np.uint64)
    groups = [column_positions(group, names, n_features, "interaction_constraints") for group in constraints]
    alone = sorted(set(range(n_features)) - {f for group in groups for f in group})
    groups += [[f] for f in alone]
    if len(groups) > 64:
        raise ValueError(
            f"interaction_constraints make {len(groups)} groups (single columns included), at most 64"
        )
    bits = np.zeros(n_features, dtype=np.uint64)
    for position, group in enumerate(groups):
        bits[group] |= np.uint64(1 << position)
    return bits


def make_rows(
    binning: Binning, values: np.ndarray, target: np.ndarray, weight: np.ndarray | None, pos_weight: float
) -> Rows:
    """Bin a matrix and join it with targets and weights, positives weighted by `pos_weight` for boosting."""
    loss_target = target.astype(np.float32)
    loss_weight = np.zeros(0, np.float32) if weight is None else weight.astype(np.float32)
    boost_target, boost_weight = loss_target, loss_weight
    if pos_weight != 1.0:
        factor = 1.0 - target + pos_weight * target
        boost_target = (pos_weight * target / factor).astype(np.float32)
        boost_weight = (factor if weight is None else factor * weight).astype(np.float32)
    return Rows(binning.transform(values), boost_target, boost_weight, loss_target, loss_weight)


def to_units(groups: Any, n_rows: int) -> np.ndarray:
    """Number the groups, int64 (n_rows,); without groups every row is its own."""
    if groups is None:
        return np.arange(n_rows)
    labels = np.asarray(groups)
    if labels.shape != (n_rows,):
        raise ValueError(f"groups has shape {labels.shape}, X has {n_rows} rows: give one label per row")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def stratified_share(is_positive: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Mark a random share of the units (rows or groups) of each class."""
    is_held = np.zeros(len(is_positive), dtype=bool)
    for mask in (is_positive, ~is_positive):
        index = rng.permutation(np.flatnonzero(mask))
        is_held[index[: round(share * len(index))]] = True
    return is_held


def stratified_folds(is_positive: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Deal the units (rows or groups) of each class to folds, at random."""
    folds = np.empty(len(is_positive), dtype=np.int64)
    for mask in (is_positive, ~is_positive):
        index = rng.permutation(np.flatnonzero(mask))
        folds[index] = np.arange(len(index)) % n_folds
    return folds
