"""Fit what a recipe asks for on given rows: no evaluation, no checks; backtests call it hundreds of times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import numpy as np
import polars as pl

from features.matrix import Encoding, fit_encoding, to_matrix
from features.readiness import bucket_bounds
from flows.adapters.settings import Settings
from flows.dataset import TrainingSet
from flows.recipes import REPAIR_DAYS, Recipe
from pkboost_core import PKBoostClassifier
from pkboost_core.adaptation import Adaptation, adapt, refit_leaves

BOOSTER: dict[str, Any] = {"learning_rate": 0.03, "max_leaf_nodes": 7, "colsample": 0.2, "subsample": 0.5}
"""Small trees on few columns and rows each: a CRM has hundreds of conversions and many columns that say the
same. On the six simulated CRMs it was chosen on: 86 % of the ceiling's PR-AUC; 31 leaves on all rows 77 %."""


class TooFewConversionsError(ValueError):
    """Not enough conversions to learn from; the champion stays."""


class Fitted(Protocol):
    """What a recipe's fit can do."""

    def probabilities(self, frame: pl.DataFrame) -> np.ndarray:
        """Return the probability of a conversion within the horizon, float64 (n,)."""


@dataclass(frozen=True)
class OneBooster:
    """A booster and the columns it was fitted on."""

    booster: PKBoostClassifier
    encoding: Encoding

    def probabilities(self, frame: pl.DataFrame) -> np.ndarray:
        """Return the probability of a conversion within the horizon, float64 (n,)."""
        matrix = to_matrix(frame.select(self.encoding.names), self.encoding)
        return self.booster.predict_proba(matrix)[:, 1]


@dataclass(frozen=True)
class DelayBuckets:
    """One booster per delay bucket, each for the chance to convert in it, given not before."""

    hazards: Sequence[OneBooster]

    def probabilities(self, frame: pl.DataFrame) -> np.ndarray:
        """Return 1 - prod(1 - h) over the buckets, float64 (n,)."""
        return 1.0 - np.prod([1.0 - hazard.probabilities(frame) for hazard in self.hazards], axis=0)


def fit_recipe(rows: TrainingSet, recipe: Recipe, settings: Settings, without: Sequence[str] = ()) -> Fitted:
    """Fit `recipe` on rows chosen by it (`History.known_at`).

    Parameters
    ----------
    without : feature columns to leave out.

    Raises
    ------
    TooFewConversionsError
        A class has no rows, in a delay bucket or at all.
    """
    if recipe.labels == "buckets":
        return _fit_buckets(rows, recipe, settings, without)
    return fit_one(rows, recipe, settings, without)


def fit_one(rows: TrainingSet, recipe: Recipe, settings: Settings, without: Sequence[str] = ()) -> OneBooster:
    """Fit a recipe that needs one booster; `fit_recipe` says the rest."""
    if not 0 < rows.n_positives < len(rows.y):
        raise TooFewConversionsError(
            f"{rows.n_positives} of {len(rows.y)} rows convert: nothing to tell apart"
        )
    if recipe.repair is not None:
        return _fit_and_repair(rows, recipe, settings, without)
    frame = rows.frame.drop(without)
    encoding = fit_encoding(frame)
    booster = PKBoostClassifier(
        random_state=settings.random_state,
        n_threads=settings.n_threads,
        categorical_features=encoding.categorical_indices,
        **BOOSTER,
    )
    booster.fit(
        to_matrix(frame, encoding),
        rows.y,
        sample_weight=_weights(rows, recipe),
        groups=frame["lead_id"].to_numpy(),
        open_odds=rows.open_odds if rows.open_odds.any() else None,
    )
    return OneBooster(booster, encoding)


def _fit_and_repair(
    rows: TrainingSet, recipe: Recipe, settings: Settings, without: Sequence[str]
) -> OneBooster:
    """Fit the older rows, and repair the model by newer leads; what does not help leaves it as it was.

    A lead that was open at the border shares its conversion between both parts: the model knows it already.
    """
    is_newer = rows.snapshot_dates > rows.snapshot_dates.max() - np.timedelta64(REPAIR_DAYS, "D")
    leads = rows.frame["lead_id"]
    is_learnt = leads.is_in(leads.filter(~is_newer).implode()).to_numpy()
    base = fit_one(rows.where(~is_newer), replace(recipe, repair=None), settings, without)
    newer = rows.where(~is_learnt)
    matrix = to_matrix(newer.frame.select(base.encoding.names), base.encoding)
    repair: Callable[..., Adaptation] = adapt if recipe.repair == "regrow" else refit_leaves
    try:
        found = repair(base.booster, matrix, newer.y, groups=newer.frame["lead_id"].to_numpy())
    except ValueError as error:
        raise TooFewConversionsError(f"recipe {recipe.name!r}: {error}") from error
    return OneBooster(found.model, base.encoding)


def _weights(rows: TrainingSet, recipe: Recipe) -> np.ndarray | None:
    if recipe.half_life_days is None:
        return None
    age = (rows.snapshot_dates.max() - rows.snapshot_dates).astype(np.float64)
    return 0.5 ** (age / recipe.half_life_days)


def _fit_buckets(
    rows: TrainingSet, recipe: Recipe, settings: Settings, without: Sequence[str]
) -> DelayBuckets:
    """Fit each bucket on the rows it is over for, less those that had converted before it."""
    elapsed = (np.datetime64(rows.as_of, "D") - rows.snapshot_dates).astype(np.float64)
    hazards = []
    for first, end in bucket_bounds(settings.horizon_days):
        is_last = end == settings.horizon_days
        settled_after = settings.maturity // timedelta(days=1) if is_last else end
        is_in = (elapsed >= settled_after) & (rows.win_days >= first)
        part = rows.where(is_in)
        is_won = np.isfinite(part.win_days) if is_last else part.win_days < end
        labelled = TrainingSet(
            part.frame, is_won.astype(np.float64), part.as_of, np.zeros(len(is_won)), part.win_days
        )
        hazards.append(fit_one(labelled, recipe, settings, without))
    return DelayBuckets(hazards)
