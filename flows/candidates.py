"""What a search tries: recipes fitted anew, and repairs of the champion on the newest mature rows."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from features.matrix import Encoding, to_matrix
from flows.adapters.settings import Settings
from flows.backtest import Predict, of_recipe
from flows.dataset import History, TrainingSet
from flows.fitting import TooFewConversionsError, fit_one
from flows.lead_model import LeadModel, TrainingRange
from flows.recipes import MATURE, Recipe, candidates
from pkboost_core import PKBoostClassifier
from pkboost_core.adaptation import Adaptation, adapt, refit_leaves

REPAIR_DAYS = 91
"""A repair learns from the newest mature quarter; its backtest repairs a model that is older by as much."""

Repair = Callable[..., Adaptation]
REPAIRS: Mapping[str, Repair] = {"repair": adapt, "refit-leaves": refit_leaves}


def recipes_to_try(champion: Recipe, settings: Settings) -> dict[str, Recipe]:
    """Return the champion's recipe and those it is compared with, by name."""
    return {champion.name: champion} | {recipe.name: recipe for recipe in candidates(settings)}


def predictors(champion: Recipe, settings: Settings) -> dict[str, Predict]:
    """Return everything a search tries, for the backtest."""
    fitted = {name: of_recipe(recipe) for name, recipe in recipes_to_try(champion, settings).items()}
    return fitted | {name: of_repair(name, champion) for name in REPAIRS}


def of_repair(name: str, recipe: Recipe) -> Predict:
    """Return the candidate that at every origin repairs a model fitted `REPAIR_DAYS` before it."""

    def predict(past: History, origin: date, settings: Settings, rows: np.ndarray) -> np.ndarray:
        then = origin - timedelta(days=REPAIR_DAYS)
        old = fit_one(past.known_at(then, recipe, settings), recipe, settings)
        newer = newest_mature(past, origin, settings)
        repaired = _repaired(name, old.booster, old.encoding, newer)
        return replace(old, booster=repaired.model).probabilities(past.frame.filter(rows))

    return predict


def repair_champion(name: str, past: History, champion: LeadModel, settings: Settings) -> LeadModel:
    """Repair the champion on the newest mature rows of tonight; its report is kept in `recipe`.

    Raises
    ------
    TooFewConversionsError
        Too few of the newest mature rows convert.
    ValueError
        The repair does not help: its report says by how much.
    """
    newer = newest_mature(past, past.as_of, settings)
    found = _repaired(name, champion.booster, champion.encoding, newer)
    report = {field: value for field, value in vars(found).items() if field != "model"}
    if not found.is_accepted:
        raise ValueError(f"{name} of the champion does not help on tonight's rows: {report}")
    first, last = (day.astype(date) for day in (newer.snapshot_dates.min(), newer.snapshot_dates.max()))
    learnt = TrainingRange(past.as_of, first, last, len(newer.y), newer.n_positives)
    return replace(
        champion,
        booster=found.model,
        training_range=learnt,
        delay_curve=past.curve,
        recipe={**champion.recipe, "repair": {"name": name, **report}},
    )


def newest_mature(past: History, day: date, settings: Settings) -> TrainingSet:
    """Return the rows of the last `REPAIR_DAYS` of snapshots that are mature on `day`."""
    rows = past.known_at(day, MATURE, settings)
    first = np.datetime64(day - settings.maturity - timedelta(days=REPAIR_DAYS), "D")
    return rows.where(rows.snapshot_dates > first)


def _repaired(name: str, booster: PKBoostClassifier, encoding: Encoding, rows: TrainingSet) -> Adaptation:
    X = to_matrix(rows.frame.select(encoding.names), encoding)
    try:
        return REPAIRS[name](booster, X, rows.y, groups=rows.frame["lead_id"].to_numpy())
    except ValueError as error:
        raise TooFewConversionsError(f"{name}: {error}") from error
