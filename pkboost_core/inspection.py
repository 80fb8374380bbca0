"""What a fitted model can tell about itself: importances, explanations, its trees as table and drawing."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from pkboost_core import explain, metrics, tree_drawing
from pkboost_core.ensemble import Ensemble
from pkboost_core.table_estimator import TableEstimator
from pkboost_core.tree_table import TABLES, to_frame

_IMPORTANCES: Mapping[str, Callable[[Ensemble], np.ndarray]] = {
    "gain": explain.gain_importance,
    "cover": explain.cover_importance,
    "split": explain.split_importance,
}
_METRICS: Mapping[str, Callable[..., float]] = {
    "average_precision": metrics.average_precision,
    "roc_auc": metrics.roc_auc,
    "neg_log_loss": lambda y, p, sample_weight=None: -metrics.log_loss(y, p, sample_weight),
    "neg_brier": lambda y, p, sample_weight=None: -metrics.brier(y, p, sample_weight),
    "neg_squared_error": lambda y, p, sample_weight=None: (
        -float(np.average((y - p) ** 2, weights=sample_weight))
    ),
}
_FOR_TWO_CLASSES = frozenset(_METRICS) - {"neg_squared_error"}


@dataclass(frozen=True)
class PermutationImportance:
    """By how much a metric falls when a column is shuffled: mean and standard deviation over the repeats."""

    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray


class Inspection(TableEstimator):
    """Methods of fitted estimators that look inside."""

    ensemble_: Ensemble

    @property
    def feature_importances_(self) -> np.ndarray:
        """Share of the total gain by feature, float64 (n_features,)."""
        return self.feature_importances("gain")

    def feature_importances(self, kind: str = "gain") -> np.ndarray:
        """Return shares that sum to one (to zero without any split), float64 (n_features,).

        Parameters
        ----------
        kind : "gain" earned by a feature's splits, "cover" (rows routed by them) or "split" (their number)
        """
        self._check_is_fitted()
        if kind not in _IMPORTANCES:
            raise ValueError(f"kind={kind!r} should be one of {', '.join(map(repr, _IMPORTANCES))}")
        return _IMPORTANCES[kind](self.ensemble_)

    def permutation_importance(
        self,
        X: Any,
        y: Any,
        metric: str | Callable[..., float],
        n_repeats: int = 5,
        random_state: int = 0,
        sample_weight: Any = None,
    ) -> PermutationImportance:
        """Return by how much a metric falls when one column is shuffled.

        Parameters
        ----------
        X, y : rows that were not trained on, and their labels
        metric : `metric(y, prediction, sample_weight=...)`, larger is better, or a name: "average_precision",
            "roc_auc", "neg_log_loss", "neg_brier" for two classes, "neg_squared_error" for regression. The
            prediction is the probability of the second class, all probabilities where there are more, else
            `predict`
        """
        matrix = self._batch(X)
        fixed = copy(self).set_params(robust=False)  # aligned above: shuffled columns shall stay shuffled
        truth = np.asarray(y)
        if isinstance(metric, str):
            truth, metric = self._truth(truth, metric), _METRICS[metric]
        mean, sd = explain.permutation_importance(
            fixed._prediction,
            matrix,
            truth,
            metric,
            sample_weight=sample_weight,
            n_repeats=n_repeats,
            seed=random_state,
        )
        return PermutationImportance(self._labels(), mean, sd)

    def _prediction(self, matrix: np.ndarray) -> np.ndarray:
        if not hasattr(self, "predict_proba"):
            return self.predict(matrix)  # type: ignore[attr-defined]
        probabilities = self.predict_proba(matrix)
        return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities

    def _truth(self, y: np.ndarray, metric: str) -> np.ndarray:
        if metric not in _METRICS:
            raise ValueError(f"metric={metric!r} should be one of {', '.join(_METRICS)}, or a function")
        classes = getattr(self, "classes_", None)
        if (classes is not None and len(classes) == 2) != (metric in _FOR_TWO_CLASSES):
            raise ValueError(f"metric={metric!r} does not fit {type(self).__name__}; pass a function")
        return y if classes is None or not np.isin(y, classes).all() else (y == classes[1]).astype(np.float64)

    def _labels(self) -> tuple[str, ...]:
        return tuple(self.columns_.label(j) for j in range(self.columns_.n_columns))

    def shap_values(self, X: Any, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Attribute raw scores to features by path-dependent TreeSHAP.

        Exactly for constant leaves: what averaging over all subsets of features gives. Linear leaves and
        crosses are additive by convention, which `pkboost_core.explain.shap_values` states: a term goes to
        its own feature, given the leaf, and what a cross is attributed to its two features in halves.

        Returns
        -------
        values : float64 (n_rows, n_features), for several raw scores (n_rows, n_features, n_outputs)
        expected : float64 (n_outputs,); plus a row's values it is the row's raw score, before calibration
        """
        batch = self._batch(X)
        return explain.shap_values(self.ensemble_, batch, n_threads)

    def explain(self, row: Any) -> explain.Explanation:
        """Explain one row: a frame or matrix of one row, a vector, or a mapping from column name to value.

        A row alone is never aligned; with `robust=True` take it from what `align` made of its batch.
        """
        self._check_is_fitted()
        return explain.explain_row(self.ensemble_, self.columns_, self._matrix(self._one_row(row)))

    def _one_row(self, row: Any) -> Any:
        if isinstance(row, Mapping):
            names = self._labels()
            lacking = next((name for name in names if name not in row), None)
            if lacking is not None:
                raise ValueError(f"the row has no value for column {lacking!r}; use None where it is missing")
            row = [row[name] for name in names]
        if hasattr(row, "columns"):
            return row
        array = row if isinstance(row, np.ndarray) else np.array(row, dtype=object)
        return array[None, :] if array.ndim == 1 else array

    def trees_to_frame(self, library: str = "auto", table: str = "nodes") -> Any:
        """Return one row per node: tree, node, feature, threshold or categories, gain, cover, children ...

        Parameters
        ----------
        library : "polars" or "pandas", which must be imported already, "none" for a dict of arrays, or
            "auto": the first of them that is there
        table : "nodes"; of linear leaves (`n_terms` > 0) also "terms", one row per `slope * (z - center)`
            that a leaf adds to its value, and "positions", one row per bin of a column with the z of values
            up to its threshold
        """
        self._check_is_fitted()
        if table not in TABLES:
            raise ValueError(f"table={table!r} should be one of {', '.join(map(repr, TABLES))}")
        return to_frame(TABLES[table](self.ensemble_, self.columns_), library)

    def tree_text(self, tree: int = 0) -> str:
        """Return one tree as indented text."""
        self._check_is_fitted()
        return tree_drawing.tree_text(self.ensemble_, self.columns_, tree)

    def tree_svg(self, tree: int = 0) -> str:
        """Return a drawing of one tree, an SVG document."""
        self._check_is_fitted()
        return tree_drawing.tree_svg(self.ensemble_, self.columns_, tree)

    def tree_dot(self, tree: int = 0) -> str:
        """Return one tree in Graphviz's language."""
        self._check_is_fitted()
        return tree_drawing.tree_dot(self.ensemble_, self.columns_, tree)
