"""Models of every policy, fitted once per night and kept: many policies share learner, window and date."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from drift_worlds import World, settings
from models import MAX_TREES, PATIENCE, REGULARISED

from features.matrix import Encoding, fit_encoding, to_matrix
from flows.dataset import TrainingSet
from flows.fitting import BOOSTER, TooFewConversionsError, fit_recipe
from flows.recipes import MATURE, RECIPES, Recipe

Probabilities = Callable[[pl.DataFrame], np.ndarray]

WINDOWS = {
    "expanding": MATURE,
    "sliding 180 d": RECIPES["mature-180d"],
    "half-life 60 d": RECIPES["mature-half-life-60d"],
}
FAKE_NEGATIVES = "fake negatives"

LIGHTGBM: dict[str, Any] = {"objective": "binary", "num_threads": 1, "verbose": -1, "deterministic": True}
LIGHTGBM |= {"force_col_wise": True, "seed": 7}
SMALL_TREES = REGULARISED | {
    "learning_rate": BOOSTER["learning_rate"],
    "num_leaves": BOOSTER["max_leaf_nodes"],
    "feature_fraction": BOOSTER["colsample"],
    "bagging_fraction": BOOSTER["subsample"],
    "bagging_freq": 1,
}
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Learner:
    """How a policy turns rows into a model.

    Attributes
    ----------
    engine : "pkboost", "xgboost", or "lightgbm" with its defaults or "lightgbm-small": PKBoost's settings in
        its words, stopped on a fifth of the leads and refitted on all.
    recipe : which rows, with which labels and weights.
    labels : "" as the recipe says; "fake negatives": its open rows count as not won; "true": every row before
        the night has the label that time will give it, which nobody can know.
    """

    engine: str
    recipe: Recipe = MATURE
    labels: str = ""


@dataclass
class Fits:
    """Models of one world, by learner and night; what they cost is counted once."""

    world: World
    cpu_seconds: dict[tuple[Learner, date], float] = field(default_factory=dict)
    _models: dict[tuple[Learner, date], Any] = field(default_factory=dict)
    _scores: dict[tuple[Learner, date, date], np.ndarray] = field(default_factory=dict)

    def model(self, learner: Learner, night: date) -> Any:
        """Return the model that a learner makes on a night; it has `probabilities(frame)`."""
        key = (learner, night)
        if key not in self._models:
            started = time.process_time()
            self._models[key] = fit(learner, rows_for(self.world, learner, night))
            self.cpu_seconds[key] = time.process_time() - started
        return self._models[key]

    def adopt(self, learner: Learner, night: date, model: Any) -> None:
        """Take over a model that was fitted in another world."""
        self._models[learner, night] = model
        self.cpu_seconds[learner, night] = 0.0

    def scores(self, learner: Learner, fitted_on: date, night: date) -> np.ndarray:
        """Return the probabilities that the model of one night gives to the leads open on another."""
        key = (learner, fitted_on, night)
        if key not in self._scores:
            frame = self.world.history.frame.filter(pl.Series(self.world.rows(night)))
            self._scores[key] = self.model(learner, fitted_on).probabilities(frame)
        return self._scores[key]


def rows_for(world: World, learner: Learner, night: date) -> TrainingSet:
    """Return what a learner may train on.

    Raises
    ------
    TooFewConversionsError
        There are no rows yet.
    """
    past = world.history
    if learner.labels == "true":
        keep = past.labels.snapshots < np.datetime64(night, "D")
        y = past.labels.is_won(past.as_of)[keep].astype(np.float64)
        nothing = np.zeros(len(y))
        rows = TrainingSet(past.frame.filter(pl.Series(keep)), y, night, nothing, nothing)
    else:
        rows = past.known_at(night, learner.recipe, settings(train_window_days=1000))
    if learner.labels == FAKE_NEGATIVES:
        rows = replace(rows, open_odds=np.zeros(len(rows.y)))
    if not len(rows.y):
        raise TooFewConversionsError(f"nothing is known on {night}")
    age = (rows.snapshot_dates.max() - rows.snapshot_dates).astype(np.int64)
    return rows.where(age % world.training_step_days == 0)


def fit(learner: Learner, rows: TrainingSet) -> Any:
    """Fit a learner on its rows."""
    if learner.engine == "pkboost":
        return fit_recipe(rows, learner.recipe, settings())
    weight = None
    if learner.recipe.half_life_days is not None:
        age = (rows.snapshot_dates.max() - rows.snapshot_dates).astype(np.float64)
        weight = 0.5 ** (age / learner.recipe.half_life_days)
    encoding = fit_encoding(rows.frame)
    matrix, leads = to_matrix(rows.frame, encoding), rows.frame["lead_id"].to_numpy()
    return Peer(encoding, _ENGINES[learner.engine](matrix, rows.y, weight, encoding, leads))


@dataclass(frozen=True)
class Peer:
    """A model of another library, on the product's own features."""

    encoding: Encoding
    predict: Callable[[np.ndarray], np.ndarray]

    def probabilities(self, frame: pl.DataFrame) -> np.ndarray:
        """Return the probability of a conversion, float64 (n,)."""
        return np.asarray(self.predict(to_matrix(frame.select(self.encoding.names), self.encoding)), float)


def _lightgbm(X: np.ndarray, y: np.ndarray, weight: Any, encoding: Encoding, leads: np.ndarray) -> Any:
    import lightgbm as lgb

    data = lgb.Dataset(X, y, weight=weight, categorical_feature=list(encoding.categorical_indices))
    return lgb.train(LIGHTGBM, data, 100).predict


def _lightgbm_small(X: np.ndarray, y: np.ndarray, weight: Any, encoding: Encoding, leads: np.ndarray) -> Any:
    """Count trees on a fifth of the leads, like PKBoost, which has a lead's rows on one side only."""
    import lightgbm as lgb

    every, number = np.unique(leads, return_inverse=True)
    held = (np.random.default_rng(LIGHTGBM["seed"]).random(len(every)) < HELD_OUT_SHARE)[number]

    def data(rows: np.ndarray) -> Any:
        kept, categorical = None if weight is None else weight[rows], list(encoding.categorical_indices)
        return lgb.Dataset(X[rows], y[rows], weight=kept, categorical_feature=categorical)

    options = LIGHTGBM | SMALL_TREES
    stopper = lgb.early_stopping(PATIENCE, verbose=False)
    stopped = lgb.train(options, data(~held), MAX_TREES, [data(held)], callbacks=[stopper])
    return lgb.train(options, data(np.ones(len(y), bool)), max(1, stopped.best_iteration)).predict


def _xgboost(X: np.ndarray, y: np.ndarray, weight: Any, encoding: Encoding, leads: np.ndarray) -> Any:
    import xgboost as xgb

    model = xgb.XGBClassifier(n_jobs=1, random_state=7).fit(X, y, sample_weight=weight)
    return lambda Z: model.predict_proba(Z)[:, 1]


_ENGINES = {"lightgbm": _lightgbm, "lightgbm-small": _lightgbm_small, "xgboost": _xgboost}


def fake_negatives(engine: str) -> Learner:
    """Return a learner from mature labels and from open leads as if they were lost."""
    return Learner(engine, RECIPES["soft"], FAKE_NEGATIVES)


PKBOOST = Learner("pkboost")
ORACLE = Learner("pkboost", labels="true")
SOFT = Learner("pkboost", RECIPES["soft"])
