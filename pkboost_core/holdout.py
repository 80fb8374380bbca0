"""Random shares and folds, stratified by class, of units that stay whole: rows, or groups of rows."""

from typing import Any

import numpy as np


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
