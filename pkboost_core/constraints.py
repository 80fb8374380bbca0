"""What users demand of the shape of a model: monotone features, and which features may meet on a path."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pkboost_core.binning import Binning
from pkboost_core.columns import column_positions


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
    """Return the groups of each feature as bits; features in none form one more, as in scikit-learn."""
    if constraints is None:
        return np.full(n_features, ~np.uint64(0), dtype=np.uint64)
    groups = [column_positions(group, names, n_features, "interaction_constraints") for group in constraints]
    rest = sorted(set(range(n_features)) - {f for group in groups for f in group})
    groups += [rest] if rest else []
    if len(groups) > 64:
        raise ValueError(
            f"interaction_constraints make {len(groups)} groups (columns in none are one more), at most 64"
        )
    bits = np.zeros(n_features, dtype=np.uint64)
    for position, group in enumerate(groups):
        bits[group] |= np.uint64(1 << position)
    return bits
