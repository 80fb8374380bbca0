"""Gradient boosting of numbers: the regressor that users see."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from pkboost_core.boosting import Booster
from pkboost_core.columns import n_rows_of, to_weights
from pkboost_core.loss import Loss
from pkboost_core.regression_loss import LOSSES, RegressionLoss
from pkboost_core.targets import encode_numbers

LARGEST_TARGET = 1e17
"""Standardised targets may not be larger: times the largest weight they would not be finite in float32."""


class PKBoostRegressor(Booster):
    """Regressor on the classifier's engine: Newton boosting on histograms, four losses.

    Parameters
    ----------
    loss : "squared", "huber", "poisson" or "quantile"
        "squared" and "huber" predict a mean (Huber's: of targets with gross errors), "poisson" the mean of
        non-negative targets as e^F, "quantile" the `alpha` quantile. Early stopping goes by the same loss.
    alpha : float in (0, 1]
        "quantile": which. "huber": the quantile of the distances from the median of y beyond which errors
        count linearly. No meaning for other losses.
    n_estimators : int, default 1000
        Most trees; early stopping usually ends before.
    learning_rate : float in (0, 1] or "auto"
        "auto": .05.
    max_leaf_nodes, max_depth, min_samples_leaf
        As for `PKBoostClassifier`.
    min_child_hessian : float or "auto"
        Smallest sum of hessians in a leaf: of weights, for "poisson" of weights times predicted mean over
        overall mean. "auto": of a tenth of the rows, at most of 20.
    l2_regularization, min_split_gain : float
        lambda and gamma of the gain; gamma in squared standard deviations of y ("squared"), squared median
        distances from the median ("huber"), mean deviances ("poisson") or rows ("quantile"). Leaf values of
        "quantile" are plain quantiles, without lambda.
    max_delta_step : float or None
        Bound on a leaf's step before the learning rate, in standard deviations ("squared") or median
        distances ("huber", "quantile") of y; for "poisson" in logarithms, where None means 2.
    max_bins, subsample, colsample, categorical_features, categorical_smoothing, monotonic_constraints
        As for `PKBoostClassifier`.
    interaction_constraints, early_stopping, validation_fraction, n_iter_no_change, refit, mode
        As for `PKBoostClassifier`; random shares of the rows keep their part of the larger half of y.
    linear_leaves, cross_features
        As for `PKBoostClassifier`; linear leaves not with "quantile", whose leaf values are plain quantiles.
    robust, random_state, n_threads, verbose, callbacks
        As for `PKBoostClassifier`.

    Attributes
    ----------
    ensemble_ : Ensemble
        Its raw scores are predictions, for "poisson" their logarithms.
    n_features_in_, feature_names_in_, feature_importances_, n_trees_
        As for `PKBoostClassifier`.
    validation_loss_ : ndarray of float64
        Held-out loss after each tree, in the units of y: mean squared error, Huber loss, Poisson deviance or
        pinball loss. Empty without early stopping, with K folds or for a bag.
    """

    _estimator_type = "regressor"

    def __init__(
        self,
        loss: str = "squared",
        alpha: float = 0.9,
        n_estimators: int = 1000,
        learning_rate: float | str = "auto",
        max_leaf_nodes: int = 31,
        max_depth: int | None = 8,
        min_samples_leaf: int = 1,
        min_child_hessian: float | str = "auto",
        l2_regularization: float = 1.0,
        min_split_gain: float = 0.0,
        max_delta_step: float | None = None,
        max_bins: int | str = "auto",
        subsample: float = 0.7,
        colsample: float = 0.7,
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
        robust: bool = False,
        random_state: int | None = 0,
        n_threads: int = 1,
        verbose: int = 0,
        callbacks: Sequence[Callable[[int, float], Any]] | None = None,
    ) -> None:
        self.loss = loss
        self.alpha = alpha
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
        self.robust = robust
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose
        self.callbacks = callbacks

    def _encode(self, y: Any, n_rows: int, weight: np.ndarray | None) -> tuple[Loss, np.ndarray]:
        values = encode_numbers(y, n_rows, "y")
        loss = LOSSES[self.loss].fit(values, weight, float(self.alpha))
        return loss, _standardised(loss, values, "y")

    def _encode_known(self, y: Any, n_rows: int, loss: Loss) -> np.ndarray:
        values = encode_numbers(y, n_rows, "y of eval_set")
        return _standardised(cast(RegressionLoss, loss), values, "y of eval_set")

    def predict(self, X: Any) -> np.ndarray:
        """Return predictions in the units of y, float64 (n_rows,)."""
        return LOSSES[self.loss].predict(self._raw_scores(X)[:, 0])

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Yield `predict` after each tree; of a bag, after a tree of every member."""
        for raw in self._staged_raw_scores(X):
            yield LOSSES[self.loss].predict(raw[:, 0])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R^2, the share of the variance of y that predictions explain."""
        y = encode_numbers(y, n_rows_of(X), "y")
        weight = to_weights(sample_weight, len(y))
        residual = np.average((y - self.predict(X)) ** 2, weights=weight)
        variance = np.average((y - np.average(y, weights=weight)) ** 2, weights=weight)
        if variance == 0.0:
            return 1.0 if residual == 0.0 else 0.0
        return float(1.0 - residual / variance)


def _standardised(loss: RegressionLoss, values: np.ndarray, what: str) -> np.ndarray:
    """Return the targets that are boosted; ValueError where one is too far from the rest to be held."""
    targets = loss.standardise(values)
    far = np.flatnonzero(~(np.abs(targets) <= LARGEST_TARGET))
    if len(far):
        raise ValueError(
            f"{what}={values[far[0]]:g} at row {far[0]} lies too far from the rest: {targets[far[0]]:g} times"
            f" their usual distance, at most {LARGEST_TARGET:g}; clip it or drop the row"
        )
    return targets
