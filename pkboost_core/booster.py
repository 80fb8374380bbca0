"""Gradient boosting for rare positives: the classifier that users see."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pkboost_core.adaptation import Adaptation, adapt
from pkboost_core.boosting import Booster
from pkboost_core.calibration import Calibration, fit_calibration
from pkboost_core.loss import LogLoss, Loss, Softmax
from pkboost_core.open_loss import OpenLogLoss, expected_target, with_open
from pkboost_core.params import pos_weight_for
from pkboost_core.stopping import Fitted
from pkboost_core.targets import check_odds, check_two_classes, encode_known, encode_target, weighted_mean
from pkboost_core.temperature import Temperature, fit_temperature

MAX_LABEL_BYTES = 1 << 16
"""Longest label of a class that is read from a file."""


class PKBoostClassifier(Booster):
    """Classifier: Newton boosting on histograms with defaults that follow from the data.

    Two classes share one raw score, the log-odds of the second. K > 2 classes have K raw scores under one
    softmax: a round grows a tree for each on the gradients of the multinomial log-loss.

    Parameters
    ----------
    n_estimators : int, default 1000
        Most trees (of each class where there are more than two); early stopping usually ends before.
    learning_rate : float in (0, 1] or "auto"
        "auto": .05.
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
    keep_positives : bool
        Draw negative rows only, those drawn weighing 1 / subsample; for two classes.
    mi_weight, mi_decay : float
        Weight of the label entropy in the gain at the root, and its exponential decay with depth.
    scale_pos_weight : float, "sqrt" or None
        Weight of positive rows in the loss that is boosted; raw scores and probabilities are corrected back.
        For two classes only.
    categorical_features : sequence of column names or indices, or None
        Columns of non-negative integer codes (NaN = missing); columns of text and categories are found by
        themselves. The 64 most frequent levels are kept apart and split by gradient order; rarer and unseen
        levels count as missing.
    categorical_smoothing : float
        Hessian by which a level's gradient ratio is drawn to the node's when levels are ordered.
    monotonic_constraints : mapping or sequence of -1, 0, 1, or None
        By column name, by column index, or one per column. 1: the score never falls when the feature rises.
    interaction_constraints : sequence of sequences of columns, or None
        Features may meet on a path only within one of the groups, at most 64; columns in no group form one
        more, as in scikit-learn. For a column that meets none give it a group of its own.
    early_stopping : bool
        Stop on the log-loss of `eval_set`, or of a random stratified share of the rows, or of K folds when
        that share has fewer than 20 rows outside the largest class.
    validation_fraction, n_iter_no_change : float, int
        The share, and how many trees may pass without improvement.
    refit : bool
        After early stopping, replay the trees' structure on all rows and recompute the leaf values.
    linear_leaves : bool or "auto"
        Let a leaf add a small ridge regression on the numeric features of its path, `l2_regularization` its
        penalty: closer where the truth is smooth, 1.3 times the time; the scores then depend on the scale of
        a feature (its logarithm gives others, mere units do not). "auto": with mode="quality" from 2,500
        rows on. Not with monotonic constraints.
    cross_features : bool or "auto"
        Let a bag have five more members: trees of depth 4 that also test differences and products of the (up
        to eight) numeric columns of greatest gain, where there are two. How much each five count in the mean
        is voted by the loss on rows that members never saw; those without a vote are dropped. Attributions
        and importances credit a cross to its two columns in halves. "auto": from 2,500 rows on, without
        monotonic or interaction constraints. Twice the time.
    mode : "fast" or "quality"
        "quality": a bag of five members, each fitted as above on a random stratified 80 % of the rows (of the
        groups, where given), raw scores averaged. Fitting takes three to five times as long, with
        `cross_features` twice that.
    calibration : "auto", "none", "intercept", "beta" or "temperature"
        Map from raw scores to probabilities, fitted on the held-out scores; for a bag, on each
        row's mean over the members that never saw it. "intercept" and "beta" are for two classes,
        "temperature" is for more.
    robust : bool, default False
        Keep a profile of the training rows and align every batch of 50 rows or more before it is scored (see
        `align`). Undoes new units, zeros and signs of a column without labels. The price: the profile makes
        the model and its file larger, a row's score depends on its batch, and where values never repeat a
        population that moved may be taken for an instrument; docs/pkboost_perturbation.md has the numbers.
    random_state : int or None
        Seed; None draws one from the operating system and keeps it in `random_state_`.
    n_threads : int
        Threads that grow a tree together, or fit members of a bag or folds side by side, one each; the model
        is the same, byte for byte, for any number.
    verbose : int
        Print a line every `verbose` rounds.
    callbacks : sequence of callables, or None
        Called after each round with (number of rounds, held-out loss or NaN); a true result stops the fit.
        Of a bag, it is each member's number of rounds, and that member stops; members then come one after
        another.

    Attributes
    ----------
    ensemble_ : Ensemble
    calibration_ : Calibration, or Temperature for more than two classes
    classes_ : ndarray, shape (n_classes,)
    columns_ : Columns
        Names and levels.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, only when X was a frame with text names
    feature_importances_ : ndarray of float64, shape (n_features,)
        Share of the total gain.
    n_trees_ : int
        Trees of all classes and members together.
    validation_loss_ : ndarray of float64
        Held-out log-loss after each round, empty without early stopping, with K folds or for a bag.
    """

    _estimator_type = "classifier"
    _is_multiclass = True

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
        keep_positives: bool = False,
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
        linear_leaves: bool | str = "auto",
        cross_features: bool | str = "auto",
        mode: str = "fast",
        calibration: str = "auto",
        robust: bool = False,
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
        self.keep_positives = keep_positives
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
        self.linear_leaves = linear_leaves
        self.cross_features = cross_features
        self.mode = mode
        self.calibration = calibration
        self.robust = robust
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose
        self.callbacks = callbacks

    def _encode(self, y: Any, n_rows: int, weight: np.ndarray | None) -> tuple[Loss, np.ndarray]:
        target, self.classes_ = encode_target(y, n_rows)
        check_two_classes(target, weight)
        kinds = (
            ("auto", "none", "temperature") if self._has_softmax else ("auto", "none", "intercept", "beta")
        )
        if self.calibration not in kinds:
            raise ValueError(
                f"calibration={self.calibration!r} should be one of {', '.join(map(repr, kinds))} "
                f"for {len(self.classes_)} classes"
            )
        if not self._has_softmax:
            share = weighted_mean(target, weight)
            pos_weight = pos_weight_for(self.scale_pos_weight, share)
            check_odds(pos_weight * share / max(1.0 - share, 1e-30))
            return LogLoss(pos_weight), target
        if self.scale_pos_weight is not None:
            raise ValueError(
                f"scale_pos_weight={self.scale_pos_weight!r} should be None for more than two classes; pass "
                "sample_weight"
            )
        if self.keep_positives:
            raise ValueError("keep_positives=True should be False for more than two classes")
        return Softmax(len(self.classes_)), target

    def _encode_open(self, loss: Loss, target: np.ndarray, open_odds: np.ndarray) -> tuple[Loss, np.ndarray]:
        if self._has_softmax:
            return super()._encode_open(loss, target, open_odds)
        if self.scale_pos_weight is not None:
            raise ValueError(f"scale_pos_weight={self.scale_pos_weight!r} should be None with open_odds")
        return OpenLogLoss(), with_open(target, open_odds.astype(np.float64))

    def _encode_known(self, y: Any, n_rows: int, loss: Loss) -> np.ndarray:
        return encode_known(y, n_rows, self.classes_)

    @property
    def _has_softmax(self) -> bool:
        return len(self.classes_) > 2

    def _finish(self, fit: Fitted) -> None:
        self.calibration_ = self._calibrated(fit)

    def _calibrated(self, fit: Fitted) -> Calibration | Temperature:
        weight = fit.weight if len(fit.weight) else None
        kind = self.calibration if fit.raw.size else "none"
        if self._has_softmax:
            return fit_temperature(fit.raw.T, fit.target, weight, kind) if kind != "none" else Temperature()
        if kind == "none":
            return Calibration()
        target, seed = expected_target(fit.raw[0], fit.target), int(self.random_state_)
        return fit_calibration(fit.raw[0], target, weight, kind=kind, seed=seed)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return raw scores before calibration, float64.

        Log-odds of the second class (n_rows,); for more than two classes (n_rows, n_classes), whose softmax
        is the probabilities.
        """
        raw = self._raw_scores(X)
        return raw if self._has_softmax else raw[:, 0]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return calibrated probabilities, float64 (n_rows, n_classes), strictly inside (0, 1)."""
        return self._probabilities(self._raw_scores(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row."""
        return self._classes_of(self.predict_proba(X))

    def staged_predict_proba(self, X: Any) -> Iterator[np.ndarray]:
        """Yield `predict_proba` after each round, as calibrated for the whole; of a bag, of every member."""
        for raw in self._staged_raw_scores(X):
            yield self._probabilities(raw)

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Yield `predict` after each round."""
        for p in self.staged_predict_proba(X):
            yield self._classes_of(p)

    def _probabilities(self, raw: np.ndarray) -> np.ndarray:
        if self._has_softmax:
            return self.calibration_.predict(raw)
        positive = self.calibration_.predict(raw[:, 0])
        return np.column_stack([1.0 - positive, positive])

    def _classes_of(self, p: np.ndarray) -> np.ndarray:
        return self.classes_[np.argmax(p, axis=1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    def adapt(self, X: Any, y: Any, sample_weight: Any = None, **options: Any) -> Adaptation:
        """Repair the model on newer rows and report; `pkboost_core.adaptation.adapt` says how and takes what.

        The model itself stays as it is: the repaired one is `.model` of what is returned. For two classes.
        """
        self._check_is_fitted()
        return adapt(self, X, y, sample_weight, **options)

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model as numbers, names and arrays."""
        return {
            **super().to_state(),
            "classes": self.classes_.tolist(),
            "classes_dtype": self.classes_.dtype.str,
            "calibration": self.calibration_.to_state(),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        dtype = np.dtype(state["classes_dtype"])
        if dtype.itemsize > MAX_LABEL_BYTES:
            raise ValueError(f"class labels of {dtype.itemsize} bytes, at most {MAX_LABEL_BYTES}")
        self.classes_ = np.array(state["classes"], dtype)
        if self.classes_.ndim != 1 or len(self.classes_) < 2:
            raise ValueError(f"a classifier needs two classes or more, got {state['classes']!r}")
        kind = Temperature if self._has_softmax else Calibration
        self.calibration_ = kind.from_state(state["calibration"])
        n_outputs = len(self.classes_) if self._has_softmax else 1
        if self.ensemble_.n_outputs != n_outputs:
            raise ValueError(
                f"{len(self.classes_)} classes need {n_outputs} raw scores, the trees give "
                f"{self.ensemble_.n_outputs}"
            )
