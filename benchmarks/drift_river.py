"""River's adaptive random forest as a policy: it sees every row once, on the day its label is believed."""

import time
from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
from datasets import Dataset
from drift_policies import RIVER, Run
from drift_worlds import World
from river.forest import ARFClassifier

from features.matrix import fit_encoding, to_matrix

SEED = 7

Row = dict[int, float]


def run_forest(world: World) -> Run:
    """Live through all nights with one forest: it learns what has matured since last time, then scores.

    Wins and others are learnt at maturity alike: in order of arrival, wins would come first. Categories are
    nominal to the forest, and what is missing is left out of a row.
    """
    run, started = Run(RIVER, world), time.process_time()
    y = world.history.labels.is_won(world.history.as_of)
    encoding = fit_encoding(world.history.frame.filter(_learnable(world, world.nights[0])))
    matrix = to_matrix(world.history.frame.select(encoding.names), encoding)
    forest = _new_forest(encoding.categorical_indices)
    is_learnt = np.zeros(len(y), dtype=bool)
    for night in world.nights:
        fresh = _learnable(world, night) & ~is_learnt
        _learn(forest, matrix[fresh], y[fresh])
        is_learnt |= fresh
        chances = [_chance(forest, row) for row in _rows_of(matrix[world.rows(night)])]
        run.add(night, np.array(chances))
    run.cpu_seconds = time.process_time() - started
    return run


def run_blocks(data: Dataset, blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Score each block of a stream without delay, and learn it afterwards."""
    forest = _new_forest(data.categorical)
    _learn(forest, data.X[: blocks[0][0]], data.y[: blocks[0][0]] > 0)
    for block in blocks:
        yield np.array([_chance(forest, row) for row in _rows_of(data.X[block])])
        _learn(forest, data.X[block], data.y[block] > 0)


def _new_forest(categorical: Sequence[int]) -> ARFClassifier:
    """Return a forest of river's own size, ten trees."""
    return ARFClassifier(seed=SEED, nominal_attributes=list(categorical))


def _learn(forest: ARFClassifier, matrix: np.ndarray, y: np.ndarray) -> None:
    for row, label in zip(_rows_of(matrix), y.tolist(), strict=True):
        forest.learn_one(row, label)


def _rows_of(matrix: np.ndarray) -> Iterator[Row]:
    """Turn rows into river's: column -> value, without what is missing."""
    for values in matrix.tolist():
        yield {column: value for column, value in enumerate(values) if value == value}


def _chance(forest: ARFClassifier, row: Row) -> float:
    """Return the probability of a conversion; 0 before the first is learnt."""
    return float(forest.predict_proba_one(row).get(True, 0.0))


def _learnable(world: World, night: date) -> np.ndarray:
    """Rows that train and are mature on a night, bool (n,)."""
    labels = world.history.labels
    age = (labels.snapshots - labels.snapshots.min()).astype(np.int64)
    return (age % world.training_step_days == 0) & labels.is_mature(night) & ~labels.is_void(night)
