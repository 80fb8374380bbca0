"""From labels to targets in [0, 1]: two classes, or soft targets where the label is not certain."""

from typing import Any

import numpy as np

from pkboost_core.columns import to_vector


def encode_target(y: Any, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn labels into float64 targets in [0, 1] and return them with the two classes.

    Floats within [0, 1] with values strictly between are soft targets for the classes 0 and 1.
    """
    labels = to_vector(y, n_rows, "y")
    if labels.dtype.kind == "O" and all(isinstance(label, bool | int | float) for label in labels):
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ValueError(f"y contains NaN or infinity at row {np.flatnonzero(~np.isfinite(labels))[0]}")
        if (labels != np.floor(labels)).any():
            if labels.min() < 0 or labels.max() > 1:
                raise ValueError(
                    f"Unknown label type: y has values from {labels.min():g} to {labels.max():g}; "
                    "expected two classes, or soft targets in [0, 1]"
                )
            return labels.astype(np.float64), np.array([0, 1])
    classes = np.unique(labels)
    if len(classes) > 2:
        shown = ", ".join(map(repr, classes[:5].tolist()))
        raise ValueError(f"Only binary classification is supported. y has {len(classes)} classes: {shown}")
    return (labels == classes[-1]).astype(np.float64), classes


def encode_known(y: Any, n_rows: int, classes: np.ndarray) -> np.ndarray:
    """Turn labels of the classes seen in training, or soft targets, into float64 targets in [0, 1]."""
    labels = to_vector(y, n_rows, "y of eval_set")
    if np.isin(labels, classes).all():
        return (labels == classes[1]).astype(np.float64)
    target = labels.astype(np.float64)
    if not ((target >= 0) & (target <= 1)).all():
        raise ValueError(f"y of eval_set has labels other than {classes.tolist()}")
    return target


def check_two_classes(target: np.ndarray, weight: np.ndarray | None) -> None:
    """Raise ValueError when all weight lies on one class."""
    mean = weighted_mean(target, weight)
    if mean <= 0.0 or mean >= 1.0 or target.min() == target.max() in (0.0, 1.0):
        raise ValueError("y has one class only (classifier can't train when only one class is present.)")


def weighted_mean(target: np.ndarray, weight: np.ndarray | None) -> float:
    """Return the mean of the targets; None or an empty array weighs all rows alike."""
    if weight is None or not len(weight):
        return float(np.mean(target, dtype=np.float64))
    return float(np.average(target.astype(np.float64), weights=weight.astype(np.float64)))
