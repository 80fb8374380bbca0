"""From labels to targets: class numbers, soft targets where the label is not certain, or numbers."""

import numbers
from typing import Any

import numpy as np

from pkboost_core.columns import to_vector
from pkboost_core.frames import is_missing

LARGEST_NUMBER = 1e100
"""Targets may not be larger: squares of their distances would not be finite."""

LARGEST_ODDS = 1e15
"""How often the weight of one class may outweigh the other's: beyond, a share of one rounds to 1."""


def encode_target(y: Any, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn labels into float64 class numbers and return them with the classes, in ascending order.

    Floats within [0, 1] with values strictly between are soft targets for the classes 0 and 1.
    """
    labels = to_vector(y, n_rows, "y")
    if labels.dtype.kind == "O" and all(isinstance(label, bool | int | float) for label in labels):
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "O":
        _check_labels(labels.tolist())
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ValueError(f"y contains NaN or infinity at row {np.flatnonzero(~np.isfinite(labels))[0]}")
        if (labels != np.floor(labels)).any():
            if labels.min() < 0 or labels.max() > 1:
                raise ValueError(
                    f"Unknown label type: y has values from {labels.min():g} to {labels.max():g}; "
                    "expected whole-numbered classes, or soft targets in [0, 1]"
                )
            return labels.astype(np.float64), np.array([0, 1])
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) == 1:
        raise ValueError("y has one class only (classifier can't train when only one class is present.)")
    return numbers.astype(np.float64), classes


def _check_labels(labels: list[Any]) -> None:
    """Raise ValueError where labels are missing or cannot be put in order."""
    lacking = next((row for row, label in enumerate(labels) if is_missing(label)), None)
    if lacking is not None:
        raise ValueError(f"y has no label at row {lacking}, it holds {labels[lacking]!r}; drop such rows")
    kinds = sorted({_kind(label) for label in labels})
    if len(kinds) > 1:
        raise ValueError(f"y mixes {' with '.join(kinds)}; make the labels all text or all numbers")


def _kind(label: Any) -> str:
    if isinstance(label, str):
        return "text"
    return "numbers" if isinstance(label, numbers.Real | np.bool_) else type(label).__name__


def encode_known(y: Any, n_rows: int, classes: np.ndarray) -> np.ndarray:
    """Turn labels of the classes seen in training, or soft targets of two, into float64 targets."""
    labels = to_vector(y, n_rows, "y of eval_set")
    if np.isin(labels, classes).all():
        return np.searchsorted(classes, labels).astype(np.float64)
    if len(classes) > 2 or labels.dtype.kind not in "fiub" or not ((labels >= 0) & (labels <= 1)).all():
        raise ValueError(f"y of eval_set has labels other than {classes.tolist()}")
    return labels.astype(np.float64)


def encode_numbers(y: Any, n_rows: int, what: str) -> np.ndarray:
    """Return the targets of a regression, finite float64 (n_rows,)."""
    values = to_vector(y, n_rows, what)
    if values.dtype.kind not in "fiubO":
        raise ValueError(f"{what} holds {values.dtype} values; expected numbers")
    try:
        found = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} holds values that are not numbers ({error})") from error
    if not np.isfinite(found).all():
        raise ValueError(f"{what} contains NaN or infinity at row {np.flatnonzero(~np.isfinite(found))[0]}")
    row = int(np.argmax(np.abs(found))) if n_rows else 0
    if n_rows and abs(found[row]) > LARGEST_NUMBER:
        raise ValueError(
            f"{what}={found[row]:g} at row {row} should lie within +-{LARGEST_NUMBER:g}; take a larger unit"
        )
    return found


def check_two_classes(target: np.ndarray, weight: np.ndarray | None) -> None:
    """Raise ValueError when all weight lies on one class; soft targets of one value are two classes."""
    weighted = target if weight is None else target[weight > 0]
    if weighted.min() == weighted.max() and weighted[0] == np.floor(weighted[0]):
        raise ValueError("y has one class only (classifier can't train when only one class is present.)")


def check_odds(odds: float) -> None:
    """Raise ValueError where one of two classes has next to all the weight."""
    if not 1.0 / LARGEST_ODDS <= odds <= LARGEST_ODDS:
        raise ValueError(
            f"one class outweighs the other more than {LARGEST_ODDS:g} times; let sample_weight and"
            " scale_pos_weight leave it a part"
        )


def weighted_mean(target: np.ndarray, weight: np.ndarray | None) -> float:
    """Return the mean of the targets; None or an empty array weighs all rows alike.

    Raises
    ------
    ValueError
        No row has weight.
    """
    if weight is None or not len(weight):
        return float(np.mean(target, dtype=np.float64))
    if not weight.any():
        raise ValueError(
            "a share of the rows (held out, or a member's) has sample_weight zero in every row; drop rows"
            " without weight"
        )
    return float(np.average(target.astype(np.float64), weights=weight.astype(np.float64)))
