"""Gradient boosting for rare positives: the estimator that users see."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from pkboost_core.adaptation import Adaptation, adapt
from pkboost_core.bag import MEMBER_SHARE, fit_bag
from pkboost_core.binning import Binning, fit_binning
from pkboost_core.calibration import Calibration, fit_calibration
from pkboost_core.columns import (
    check_codes,
    check_not_empty,
    check_same_columns,
    column_positions,
    feature_names,
    to_matrix,
    to_weights,
)
from pkboost_core.ensemble import Ensemble, join_trees
from pkboost_core.estimator import Estimator
from pkboost_core.holdout import to_units
from pkboost_core.params import check_parameters, drawn_seed, max_bins_for, plain, pos_weight_for
from pkboost_core.plan import make_plan
from pkboost_core.predictor import leaf_ids, raw_scores
from pkboost_core.rows import Rows, make_rows
from pkboost_core.stopping import Fitted, Stopping, fit_trees
from pkboost_core.targets import check_two_classes, encode_known, encode_target, weighted_mean
from pkboost_core.training import Plan


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
    mode : "fast" or "quality"
        "quality": a bag of five members, each fitted as above on a random stratified 80 % of the rows (of the
        groups, where given), raw scores averaged. Fitting takes three to five times as long.
    calibration : "auto", "none", "intercept" or "beta"
        Map from raw scores to probabilities, fitted on the held-out scores; for a bag, on each
        row's mean over the members that never saw it.
    random_state : int or None
        Seed; None draws one from the operating system and keeps it in `random_state_`.
    n_threads : int
        Members of a bag, or folds, fitted side by side; the model is the same, byte for byte, for any number.
    verbose : int
        Print a line every `verbose` trees.
    callbacks : sequence of callables, or None
        Called after each tree with (number of trees, held-out loss or NaN); a true result stops the fit. Of a
        bag, it is each member's number of trees, and that member stops; members then come one after another.

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
        Trees of all members together.
    validation_loss_ : ndarray of float64
        Held-out log-loss after each tree, empty without early stopping, with K folds or for a bag.
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
        mode: str = "fast",
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
        self.mode = mode
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
        max_bins = max_bins_for(len(values)) if self.max_bins == "auto" else int(self.max_bins)
        binning = fit_binning(values, max_bins, self._is_categorical, weight, rng)
        pos_weight = pos_weight_for(self.scale_pos_weight, weighted_mean(target, weight))
        rows = make_rows(binning, values, target, weight, pos_weight)
        plan = make_plan(
            self.get_params(),
            binning,
            rows,
            self._names(),
            pos_weight,
            int(self.random_state_),
            self._report,
            len(rows) if self.mode == "fast" else round(MEMBER_SHARE * len(rows)),
        )
        self._directions = plan.monotonic
        held = None if eval_set is None else self._held_out(eval_set, binning, pos_weight)
        fit = self._fit_trees(rows, plan, held, rng, to_units(groups, len(values)))
        self.ensemble_ = join_trees(fit.trees, binning, plan.base_score + plan.score_shift)
        self.n_trees_ = len(fit.trees)
        self.validation_loss_ = fit.losses
        self.calibration_ = self._calibrated(fit)
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

    def _names(self) -> list[str] | None:
        return list(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None

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
        target = encode_known(eval_set[1], len(values), self.classes_)
        weight = to_weights(eval_set[2] if len(eval_set) > 2 else None, len(values))
        return make_rows(binning, values, target, weight, pos_weight)

    def _fit_trees(
        self, rows: Rows, plan: Plan, held: Rows | None, rng: np.random.Generator, units: np.ndarray
    ) -> Fitted:
        stopping = Stopping(self.early_stopping, float(self.validation_fraction), self.refit)
        if self.mode == "fast":
            return fit_trees(rows, plan, stopping, units, rng, held, int(self.n_threads))
        return fit_bag(rows, plan, stopping, units, held, 1 if self.callbacks else int(self.n_threads))

    def _calibrated(self, fit: Fitted) -> Calibration:
        if not len(fit.raw) or self.calibration == "none":
            return Calibration()
        weight = fit.weight if len(fit.weight) else None
        return fit_calibration(
            fit.raw, fit.target, weight, kind=self.calibration, seed=int(self.random_state_)
        )

    def _matrix(self, X: Any) -> np.ndarray:
        values = to_matrix(X)
        check_same_columns(values, feature_names(X), self.n_features_in_, self._names(), type(self).__name__)
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

    def adapt(self, X: Any, y: Any, sample_weight: Any = None, **options: Any) -> Adaptation:
        """Repair the model on newer rows and report; `pkboost_core.adaptation.adapt` says how and takes what.

        The model itself stays as it is: the repaired one is `.model` of what is returned.
        """
        self._check_is_fitted()
        return adapt(self, X, y, sample_weight, **options)

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model as numbers, arrays and JSON values."""
        self._check_is_fitted()
        params = {name: plain(value) for name, value in self.get_params().items() if name != "callbacks"}
        if isinstance(self.monotonic_constraints, Mapping):
            params["monotonic_constraints"] = self._directions.tolist()
        names = getattr(self, "feature_names_in_", None)
        return {
            "params": params,
            "classes": self.classes_.tolist(),
            "classes_dtype": self.classes_.dtype.str,
            "n_features": int(self.n_features_in_),
            "feature_names": None if names is None else [str(name) for name in names],
            "random_state": int(self.random_state_),
            "calibration": self.calibration_.to_state(),
            "validation_loss": self.validation_loss_,
            **self.ensemble_.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild a fitted model from `to_state`."""
        model = cls(**state["params"])
        check_parameters(model.get_params())
        model.ensemble_ = Ensemble.from_state(state)
        model.classes_ = np.array(state["classes"], dtype=np.dtype(state["classes_dtype"]))
        model.n_features_in_ = int(state["n_features"])
        if state["feature_names"] is not None:
            model.feature_names_in_ = np.array(state["feature_names"], dtype=object)
        model.random_state_ = int(state["random_state"])
        model.calibration_ = Calibration.from_state(state["calibration"])
        model.validation_loss_ = np.asarray(state["validation_loss"], dtype=np.float64)
        model.n_trees_ = model.ensemble_.n_trees
        return model
