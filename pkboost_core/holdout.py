"""Random shares and folds, by strata, of units that stay whole: rows, or groups of rows."""

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


def strata_of_units(units: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return the stratum of each unit, the highest among its rows: a group with a positive is positive."""
    highest = np.zeros(int(units.max()) + 1, dtype=np.int64)
    np.maximum.at(highest, units, strata)
    return highest


def n_outside_largest(strata: np.ndarray) -> int:
    """Count the units outside the largest stratum: for two classes, those of the rarer one."""
    return int(len(strata) - np.bincount(strata).max())


def stratified_share(strata: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Mark a random share of the units (rows or groups) of each stratum."""
    is_held = np.zeros(len(strata), dtype=bool)
    for stratum in np.unique(strata)[::-1]:
        index = rng.permutation(np.flatnonzero(strata == stratum))
        is_held[index[: round(share * len(index))]] = True
    return is_held


def stratified_folds(strata: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Deal the units (rows or groups) of each stratum to folds, at random."""
    folds = np.empty(len(strata), dtype=np.int64)
    for stratum in np.unique(strata)[::-1]:
        index = rng.permutation(np.flatnonzero(strata == stratum))
        folds[index] = np.arange(len(index)) % n_folds
    return folds
