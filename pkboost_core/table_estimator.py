"""What an estimator learns about its table: columns, levels and, on request, a profile of its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pkboost_core.align import Touched, align
from pkboost_core.columns import Columns, fit_columns
from pkboost_core.estimator import Estimator
from pkboost_core.reference import Reference, fit_reference


class TableEstimator(Estimator):
    """Base of estimators that are fitted on a table and score batches of rows of the same table.

    Attributes
    ----------
    columns_ : Columns
    reference_ : Reference or None
        Profile of the training rows, kept with `robust=True`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, only when X was a frame with text names
    """

    columns_: Columns
    reference_: Reference | None
    categorical_features: Sequence[int | str] | None
    robust: bool

    def _learn_table(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Keep what must be known about the columns; return the matrix and which columns are categorical."""
        columns, values, is_categorical = fit_columns(X, self.categorical_features)
        self._set_columns(columns)
        categorical = np.flatnonzero(is_categorical).tolist()
        self.reference_ = fit_reference(values, categorical) if self.robust else None
        return values, is_categorical

    def _set_columns(self, columns: Columns) -> None:
        self.columns_ = columns
        self.n_features_in_ = columns.n_columns
        if columns.names is not None:
            self.feature_names_in_ = np.array(columns.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _names(self) -> list[str] | None:
        return None if self.columns_.names is None else list(self.columns_.names)

    def _matrix(self, X: Any) -> np.ndarray:
        """Return rows as the matrix the trees were grown on."""
        return self.columns_.matrix(X, type(self).__name__)

    def _batch(self, X: Any) -> np.ndarray:
        """Return a batch to score as a matrix, aligned with `robust=True`."""
        self._check_is_fitted()
        if not self.robust:
            return self._matrix(X)
        return self.align(X)[0]

    def align(self, X: Any) -> tuple[np.ndarray, list[Touched]]:
        """Undo, without labels, what an instrument did to a batch: other units, a new zero, a flipped sign.

        Needs `robust=True`; scoring a batch then does the same by itself. The order of rows matters: drifts
        along it are followed. Batches of fewer than 50 rows and categories are left alone.

        Parameters
        ----------
        X : array or frame (n_rows, n_features); one batch

        Returns
        -------
        matrix : float64 (n_rows, n_features), categories as codes; the estimator's methods accept it
        report : what was touched, column by column, with reasons; empty when nothing looked disturbed

        Raises
        ------
        ValueError
            Fitted without `robust=True`.
        """
        self._check_is_fitted()
        if self.reference_ is None:
            raise ValueError("align needs a model fitted with robust=True, which keeps the training profile")
        matrix, touched = align(self.reference_, self._matrix(X))
        return matrix, [replace(entry, name=self.columns_.label(entry.column)) for entry in touched]

    def _table_state(self) -> dict[str, Any]:
        reference = None if self.reference_ is None else self.reference_.to_state()
        return {**self.columns_.to_state(), "reference": reference}

    def _set_table_state(self, state: Mapping[str, Any]) -> None:
        self._set_columns(Columns.from_state(state))
        reference = state.get("reference")
        self.reference_ = None if reference is None else Reference.from_state(reference)
        if self.reference_ is not None and len(self.reference_.columns) != self.n_features_in_:
            raise ValueError(f"the training profile does not belong to {self.n_features_in_} columns")
        if self.reference_ is None and self.robust:
            raise ValueError("robust=True needs the training profile")
