"""What every repair of a fitted booster shares: the newer rows, the folds that judge, and the verdict."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pkboost_core.bag import N_MEMBERS
from pkboost_core.binning import Binning
from pkboost_core.calibration import Calibration, fit_calibration
from pkboost_core.columns import check_codes, check_not_empty, to_weights
from pkboost_core.ensemble import join_trees
from pkboost_core.holdout import stratified_folds, to_units
from pkboost_core.loss import LogLoss
from pkboost_core.params import check_parameters, max_bins_for
from pkboost_core.plan import make_plan
from pkboost_core.predictor import raw_scores
from pkboost_core.progress import SILENT
from pkboost_core.pruning import log_losses
from pkboost_core.rebinning import rebin, split_trees, widened_binning
from pkboost_core.rows import make_rows
from pkboost_core.targets import encode_known

if TYPE_CHECKING:
    from pkboost_core.booster import PKBoostClassifier

N_FOLDS = 5

MAX_MOVE = 3.0
"""Log-odds by which scores may move on average: twenty times the odds, or a twentieth, is no drift but wrong
labels. Odds that fall to a fifth move scores by 1.6, a concept that turns around by 1.5, flipped labels by
over 4."""

MIN_PER_CLASS = 2 * N_FOLDS
"""Fewest rows (groups) of each class with weight: two to each fold. Below that no fold could say anything."""


@dataclass(frozen=True)
class Adaptation:
    """A repair and what it was worth on rows that it was not made from.

    Attributes
    ----------
    model : the repaired model where the repair is accepted, else the one handed in, untouched
    is_accepted : the gain exceeds `min_gain_errors` of its standard errors, and `mean_move` is at most
        `MAX_MOVE`
    trees_dropped, trees_kept, trees_grown : of the repair, accepted or not
    log_loss_before, log_loss_after : mean over the new rows, the latter cross-fitted
    gain, gain_error : their difference (more is better) and its standard error over rows (groups)
    base_score_change : what the repair added to every raw score, in log-odds
    mean_move : mean absolute change of the cross-fitted log-odds, calibration included: how far scores move
    """

    model: PKBoostClassifier
    is_accepted: bool
    trees_dropped: int
    trees_kept: int
    trees_grown: int
    log_loss_before: float
    log_loss_after: float
    gain: float
    gain_error: float
    base_score_change: float
    mean_move: float


class Repair:
    """The newer rows in widened bins, the model's trees in the same bins, and the folds that judge."""

    def __init__(
        self,
        model: PKBoostClassifier,
        X: Any,
        y: Any,
        sample_weight: Any,
        groups: Any,
        changed: dict[str, Any],
    ) -> None:
        if len(model.classes_) > 2:
            raise ValueError(f"repairs are for two classes, the model has {len(model.classes_)}")
        if model.ensemble_.nodes["n_terms"].any():
            raise ValueError(
                "repairs need constant leaves: new bins would move the lines of linear ones; fit the model"
                " with linear_leaves=False"
            )
        if len(model.ensemble_.pairs) or len(model._member_sizes) > N_MEMBERS:
            raise ValueError(
                "repairs need trees on the columns of X alone, and of one kind; fit the model with"
                " cross_features=False"
            )
        params = model.get_params() | changed | {"linear_leaves": False}
        check_parameters(params)
        self.model = model
        values = model._batch(X)
        check_not_empty(values)
        for j in np.flatnonzero(model.ensemble_.is_categorical):
            check_codes(values[:, j], model.columns_.label(int(j)))
        self.raw = raw_scores(model.ensemble_, values)[:, 0]
        target = encode_known(y, len(values), model.classes_)
        weight = to_weights(sample_weight, len(values))
        self.weight = np.ones(len(values)) if weight is None else weight
        self.units = to_units(groups, len(values))
        rng = np.random.default_rng([model.random_state_, model.n_trees_])
        self.folds = _folds(self.units, target, self.weight, rng)
        ensemble = model.ensemble_
        max_bins = max_bins_for(len(values)) if model.max_bins == "auto" else int(model.max_bins)
        binning = widened_binning(ensemble, values, max_bins, weight, rng)
        old = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
        self.trees = rebin(split_trees(ensemble), old, binning)
        self.rows = make_rows(binning, values, target, weight, 1.0)
        self.target = target
        self.plan = make_plan(
            params,
            binning,
            self.rows,
            model._names(),
            LogLoss(),
            int(rng.integers(2**31)),
            SILENT,
            len(values),
        )

    def judged(
        self,
        raw: np.ndarray,
        trees: Sequence[np.ndarray],
        change: float,
        n_dropped: int,
        n_grown: int,
        min_gain_errors: float,
    ) -> Adaptation:
        """Compare cross-fitted raw scores with the old model's and put the repaired model together."""
        before = _log_odds(cast(Calibration, self.model.calibration_), self.raw)
        after = self._calibrated_log_odds(raw)
        gain, error = self._gain(before, after)
        move = self._mean(np.abs(after - before))
        is_accepted = gain > max(min_gain_errors * error, 0.0) and move <= MAX_MOVE
        return Adaptation(
            self._repaired(trees, change, raw) if is_accepted else self.model,
            is_accepted,
            n_dropped,
            len(self.trees) - n_dropped,
            n_grown,
            self._mean(log_losses(before, self.target)),
            self._mean(log_losses(after, self.target)),
            gain,
            error,
            change,
            move,
        )

    def _repaired(self, trees: Sequence[np.ndarray], change: float, raw: np.ndarray) -> PKBoostClassifier:
        repaired = copy.copy(self.model)
        base = float(self.model.ensemble_.base_score[0]) + change
        repaired.ensemble_ = join_trees(trees, self.plan.binning, np.array([base]))
        repaired.n_trees_ = len(trees)
        repaired.validation_loss_ = np.zeros(0)
        repaired._member_sizes = ()
        repaired.calibration_ = self._calibration(raw, np.ones(len(raw), dtype=bool))
        return repaired

    def _calibrated_log_odds(self, raw: np.ndarray) -> np.ndarray:
        """Calibrate each fold by the others, as the repaired model is calibrated by all."""
        log_odds = np.empty(len(raw))
        for fold in range(N_FOLDS):
            held = self.folds == fold
            log_odds[held] = _log_odds(self._calibration(raw, ~held), raw[held])
        return log_odds

    def _calibration(self, raw: np.ndarray, rows: np.ndarray) -> Calibration:
        if self.model.calibration == "none":
            return Calibration()
        return fit_calibration(
            raw[rows],
            self.target[rows],
            self.weight[rows],
            self.model.calibration,
            int(self.model.random_state_),
        )

    def _gain(self, before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
        """Return the mean saving of log-loss and its standard error over units."""
        saved = self.weight * (log_losses(before, self.target) - log_losses(after, self.target))
        sums = np.bincount(self.units, weights=saved)
        masses = np.bincount(self.units, weights=self.weight)
        gain = float(sums.sum() / masses.sum())
        return gain, math.sqrt(float(np.sum((sums - gain * masses) ** 2))) / float(masses.sum())

    def _mean(self, values: np.ndarray) -> float:
        return float(np.average(values, weights=self.weight))


def cross_fitted(repair: Repair, path: Callable[[int], list[np.ndarray]]) -> tuple[np.ndarray, int]:
    """Return out-of-fold raw scores and the number of new trees that the folds agree on.

    `path` gives a fold's raw scores after 0, 1, ... new trees. A fold is scored at the number that the other
    folds choose: its own choice would flatter it.
    """
    held = [np.flatnonzero(repair.folds == fold) for fold in range(N_FOLDS)]
    paths = [path(fold) for fold in range(N_FOLDS)]
    length = max(map(len, paths))
    losses = np.empty((N_FOLDS, length))
    for fold, (index, steps) in enumerate(zip(held, paths, strict=True)):
        sums = [float(repair.weight[index] @ log_losses(raw, repair.target[index])) for raw in steps]
        losses[fold] = sums + sums[-1:] * (length - len(sums))
    raw = np.empty(len(repair.rows))
    for fold, (index, steps) in enumerate(zip(held, paths, strict=True)):
        chosen = int(np.argmin(losses.sum(axis=0) - losses[fold]))
        raw[index] = steps[min(chosen, len(steps) - 1)]
    return raw, int(np.argmin(losses.sum(axis=0)))


def _folds(units: np.ndarray, target: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal rows (groups) of either class to folds; those without weight count nowhere and lie in fold 0."""
    counts = np.bincount(units, weights=weight) > 0
    is_positive = (np.bincount(units, weights=weight * (target >= 0.5)) > 0)[counts]
    fewest = int(min(is_positive.sum(), (~is_positive).sum()))
    if fewest < MIN_PER_CLASS:
        raise ValueError(
            f"the new rows hold {fewest} rows (groups) of one class; at least {MIN_PER_CLASS} are needed to"
            " judge a repair: hand in a longer period"
        )
    folds = np.zeros(len(counts), dtype=np.int64)
    folds[counts] = stratified_folds(is_positive, N_FOLDS, rng)
    return folds[units]


def _log_odds(calibration: Calibration, raw: np.ndarray) -> np.ndarray:
    p = calibration.predict(raw)
    return np.log(p) - np.log1p(-p)
