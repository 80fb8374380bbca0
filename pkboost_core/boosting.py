"""What the estimators share: from a frame to a fitted ensemble, and back from a file."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from pkboost_core.bag import MEMBER_SHARE, Kind, fit_bag
from pkboost_core.binning import Binning, fit_binning
from pkboost_core.columns import check_not_empty, to_vector, to_weights
from pkboost_core.crosses import NO_PAIRS
from pkboost_core.ensemble import Ensemble, join_trees
from pkboost_core.holdout import to_units
from pkboost_core.inspection import Inspection
from pkboost_core.loss import Loss
from pkboost_core.params import check_parameters, drawn_seed, max_bins_for, plain
from pkboost_core.plan import make_plan
from pkboost_core.predictor import leaf_ids, raw_scores
from pkboost_core.progress import Progress
from pkboost_core.recipes import Recipe, shallow_recipe, used, wants_shallow
from pkboost_core.rows import Rows, make_rows
from pkboost_core.staged import staged_raw_scores
from pkboost_core.stopping import Fitted, Stopping, fit_trees
from pkboost_core.training import Plan


class Booster(Inspection):
    """Fits an ensemble under the loss that a subclass names; parameters are the subclass's."""

    monotonic_constraints: Mapping[Any, int] | Sequence[int] | None
    max_bins: int | str
    early_stopping: bool
    validation_fraction: float
    refit: bool
    mode: str
    random_state: int | None
    n_threads: int
    verbose: int
    callbacks: Sequence[Callable[[int, float], Any]] | None

    @abstractmethod
    def _encode(self, y: Any, n_rows: int, weight: np.ndarray | None) -> tuple[Loss, np.ndarray]:
        """Return the loss and the targets that it is boosted on, float64 (n_rows,)."""

    @abstractmethod
    def _encode_known(self, y: Any, n_rows: int, loss: Loss) -> np.ndarray:
        """Return the targets of rows to stop on, float64 (n_rows,)."""

    def _encode_open(self, loss: Loss, target: np.ndarray, open_odds: np.ndarray) -> tuple[Loss, np.ndarray]:
        """Return loss and targets where some negatives are open."""
        raise ValueError("open_odds is for classifiers of two classes; expected None")

    def _finish(self, fit: Fitted) -> None:
        """Set what else a subclass keeps of a fit."""

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Set what else a subclass kept in `to_state`."""

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        eval_set: Any = None,
        groups: Any = None,
        open_odds: Any = None,
    ) -> Self:
        """Fit the trees; a fit that fails leaves the estimator as it was.

        Parameters
        ----------
        X : array or frame (n_rows, n_features) of NumPy, Polars or pandas. NaN and nulls are missing,
            infinities extreme, Booleans 0 and 1; text and categories are categorical, levels kept by name
        y : class labels, or float targets in [0, 1] where the label of two classes is not certain; for a
            regressor numbers
        sample_weight : non-negative weights (n_rows,), or None
        eval_set : (X, y) or (X, y, sample_weight) to stop on instead of a share of the rows; a list with one
            such tuple is accepted. No refit follows then: every row of X was trained on already.
        groups : labels (n_rows,), or None. Rows of one group are never split between growing and stopping:
            needed where rows repeat one subject (a lead at several dates), or stopping comes far too late.
        open_odds : factors (n_rows,), or None; for two classes. Above 0 a row labelled negative may turn
            positive yet, and this is what having seen nothing so far makes of its odds: 1 - F where a share F
            of positives would have been seen. `pkboost_core.open_loss` says how its label follows the model.

        Raises
        ------
        ValueError, TypeError
            Naming the parameter or input that is wrong.
        """
        fitted = copy.copy(self)
        fitted._fit(X, y, sample_weight, eval_set, groups, open_odds)
        self.__dict__ = fitted.__dict__
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, eval_set: Any, groups: Any, open_odds: Any) -> None:
        check_parameters(self.get_params())
        values, is_categorical = self._learn_table(X)
        self.random_state_ = drawn_seed() if self.random_state is None else int(self.random_state)
        weight = to_weights(sample_weight, len(values))
        loss, target = self._encode(y, len(values), weight)
        if open_odds is not None:
            loss, target = self._encode_open(loss, target, to_vector(open_odds, len(values), "open_odds"))
        rng = np.random.default_rng(self.random_state_)
        max_bins = max_bins_for(len(values)) if self.max_bins == "auto" else int(self.max_bins)
        threads = int(self.n_threads)
        binning = fit_binning(values, max_bins, is_categorical, weight, rng, threads)
        rows = make_rows(binning, values, target, weight, loss.pos_weight, threads)
        plan = self._plan(binning, rows, loss)
        recipes = self._recipes(values, Recipe(plan, rows, NO_PAIRS), max_bins, weight)
        held = None if eval_set is None else self._held_out(eval_set, binning, loss)
        kinds = [Kind(r.plan, r.rows, None if held is None else r.held(*held)) for r in recipes]
        fit = self._fit_trees(kinds, rng, to_units(groups, len(values)))
        seen = used(recipes, fit.trees)
        self.ensemble_ = join_trees(
            fit.trees, seen.plan.binning, plan.base_scores, loss.shift, loss.factor, seen.pairs
        )
        self.n_trees_ = len(fit.trees)
        self.validation_loss_ = fit.losses
        self._member_sizes = fit.member_sizes
        self._finish(fit)

    def _plan(self, binning: Binning, rows: Rows, loss: Loss) -> Plan:
        report = Progress(int(self.verbose), loss.label, tuple(self.callbacks or ()))
        seed, n_grown_on = int(self.random_state_), self._n_grown_on(len(rows))
        plan = make_plan(self.get_params(), binning, rows, self._names(), loss, seed, report, n_grown_on)
        self._directions = plan.monotonic
        return plan

    def _n_grown_on(self, n_rows: int) -> int:
        """Return the number of rows that a booster sees: of a bag, a member's."""
        return n_rows if self.mode == "fast" else round(MEMBER_SHARE * n_rows)

    def _recipes(
        self, values: np.ndarray, plain: Recipe, max_bins: int, weight: np.ndarray | None
    ) -> list[Recipe]:
        """Return the recipe on the columns of X and, where wanted, the one with shallow trees and crosses."""
        if not wants_shallow(self.get_params(), self._n_grown_on(len(values))):
            return [plain]
        threads = int(self.n_threads)
        return [plain, shallow_recipe(values, plain.rows, plain.plan, max_bins, weight, threads)]

    def _held_out(self, eval_set: Any, binning: Binning, loss: Loss) -> tuple[np.ndarray, Rows]:
        """Return the rows to stop on, as a matrix and binned."""
        if isinstance(eval_set, list):
            if len(eval_set) != 1:
                raise ValueError(f"eval_set should hold one (X, y) pair, got {len(eval_set)}")
            eval_set = eval_set[0]
        values = self._matrix(eval_set[0])
        check_not_empty(values)
        target = self._encode_known(eval_set[1], len(values), loss)
        weight = to_weights(eval_set[2] if len(eval_set) > 2 else None, len(values))
        return values, make_rows(binning, values, target, weight, loss.pos_weight)

    def _fit_trees(self, kinds: list[Kind], rng: np.random.Generator, units: np.ndarray) -> Fitted:
        stopping = Stopping(self.early_stopping, float(self.validation_fraction), self.refit)
        if self.mode == "fast":
            only = kinds[0]
            return fit_trees(only.rows, only.plan, stopping, units, rng, only.held, int(self.n_threads))
        return fit_bag(kinds, stopping, units, 1 if self.callbacks else int(self.n_threads))

    def _raw_scores(self, X: Any) -> np.ndarray:
        batch = self._batch(X)
        return raw_scores(self.ensemble_, batch)

    def _staged_raw_scores(self, X: Any) -> Iterator[np.ndarray]:
        batch = self._batch(X)
        return staged_raw_scores(self.ensemble_, batch, self._member_sizes)

    def apply(self, X: Any) -> np.ndarray:
        """Return the leaf of each row in each tree, counted from the tree's root, int64 (n_rows, n_trees).

        Tree t belongs to output t % n_outputs.
        """
        batch = self._batch(X)
        return leaf_ids(self.ensemble_, batch)

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model as numbers, arrays and JSON values."""
        self._check_is_fitted()
        params = {name: plain(value) for name, value in self.get_params().items() if name != "callbacks"}
        if isinstance(self.monotonic_constraints, Mapping):
            params["monotonic_constraints"] = self._directions.tolist()
        state = {
            "params": params,
            **self._table_state(),
            "random_state": int(self.random_state_),
            "validation_loss": self.validation_loss_,
            **self.ensemble_.to_state(),
        }
        return state | ({"member_sizes": list(self._member_sizes)} if self._member_sizes else {})

    def _check_columns(self) -> None:
        """Raise ValueError where trees read from a file test other columns or levels than the table has."""
        n_features, columns = self.ensemble_.n_features, self.columns_
        if n_features != columns.n_columns:
            raise ValueError(f"the trees are for {n_features} columns, the table has {columns.n_columns}")
        for j, levels in columns.levels.items():
            if (self.ensemble_.bin_thresholds[j] >= len(levels)).any():
                raise ValueError(f"column {columns.label(j)!r} has {len(levels)} levels, the trees know more")

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild a fitted model from `to_state`."""
        model = cls(**state["params"])
        check_parameters(model.get_params())
        model.ensemble_ = Ensemble.from_state(state)
        model._set_table_state(state)
        model.random_state_ = int(state["random_state"])
        model.validation_loss_ = np.asarray(state["validation_loss"], dtype=np.float64)
        model.n_trees_ = model.ensemble_.n_trees
        model._check_columns()
        sizes = model._member_sizes = tuple(int(size) for size in state.get("member_sizes", ()))
        n_outputs = model.ensemble_.n_outputs
        if sizes and (sum(sizes) != model.n_trees_ or any(size < 0 or size % n_outputs for size in sizes)):
            raise ValueError(f"member_sizes {sizes} do not divide {model.n_trees_} trees into rounds")
        model._restore(state)
        return model
