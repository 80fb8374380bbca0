"""Fit a lead model by its recipe on everything known, and measure its recipe on the newest mature cohort."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from features.readiness import Readiness, readiness
from features.sources import Sources
from features.spine import KEYS
from flows.adapters.settings import Settings
from flows.amounts import fit_amounts
from flows.dataset import History, TrainingSet, history, is_in_window
from flows.evaluation import Evaluation, evaluate
from flows.evidence import Evidence, evidence
from flows.fitting import BOOSTER, OneBooster, TooFewConversionsError, fit_one, fit_recipe
from flows.floors import floor_rows, measured_cohort
from flows.lead_model import LabelDefinition, LeadModel, TrainingRange
from flows.leakage import LeakageReport, judge
from flows.reason_scale import fit_scale
from flows.recipes import MATURE, Recipe, recipe_named
from flows.score_mapping import ScoreMapping

__all__ = ["BOOSTER", "TooFewConversionsError", "Trained", "fit_recipe", "newest_cohort", "train"]

EVALUATION_DAYS = 28

MAX_STORED_ROWS = 20_000


@dataclass(frozen=True)
class Trained:
    """A fitted model and the honest measurement of its recipe.

    Attributes
    ----------
    model : fitted on every row its recipe admits
    evaluation : of the same recipe, fitted as it could have been before the evaluation cohort
    evaluation_y, evaluation_p : float64 (m,), labels and probabilities of that cohort
    evaluation_keys : lead and snapshot of those rows
    leakage : the alarm, raised or not
    readiness : what each way of treating late labels would have had to train on
    train_seconds : of the final fit alone, matrix to calibrated booster
    evidence : what calling by the score brings, on the same cohort; empty where nothing was measured
    """

    model: LeadModel
    evaluation: Evaluation
    evaluation_y: np.ndarray
    evaluation_p: np.ndarray
    evaluation_keys: pl.DataFrame
    leakage: LeakageReport
    readiness: Readiness
    train_seconds: float
    evidence: Sequence[Evidence] = ()


def train(
    sources: Sources,
    as_of: date,
    settings: Settings,
    label: LabelDefinition,
    data_sha256: str,
    mapping: ScoreMapping | None,
    recipe: Recipe | None = None,
    past: History | None = None,
) -> Trained:
    """Train a recipe on what was known at `as_of`.

    Parameters
    ----------
    sources : what was known at `as_of`, and `data_sha256`, its hash
    label : what is predicted
    mapping : the champion's score mapping, to be inherited
    recipe : None takes the one that the settings name
    past : every row of `as_of` with its features, where they are built already

    Raises
    ------
    TooFewConversionsError
        If fewer than `settings.min_train_positives` leads have converted in mature rows.
    ValueError
        If the recipe needs several boosters: a published model is one.
    """
    recipe = recipe or recipe_named(settings.recipe)
    if not recipe.is_published:
        raise ValueError(f"recipe {recipe.name!r} can be compared but not published: choose another")
    past = past or history(sources, as_of, settings, only_mature=recipe.labels == "mature")
    mature = past.known_at(as_of, MATURE, settings)
    _refuse_too_few(mature, settings)
    cohort, before, protocol = newest_cohort(past, recipe, settings)
    evaluation, p, leakage, earlier = _backtest(cohort, before, protocol, recipe, settings)
    rows = past.known_at(as_of, recipe, settings)
    base_rate = float(mature.y.mean())
    started = time.perf_counter()
    fit = fit_one(rows, recipe, settings)
    train_seconds = time.perf_counter() - started
    found = readiness(past.labels.take(is_in_window(past.labels, as_of, settings)), as_of, past.curve)
    model = LeadModel(
        booster=fit.booster,
        encoding=fit.encoding,
        label_definition=label,
        training_range=_range(rows, as_of),
        delay_curve=past.curve,
        reason_scale=fit_scale(rows.frame, fit, earlier, cohort.frame),
        amounts=fit_amounts(rows.frame, rows.y, sources.outcome, fit.encoding, settings.random_state),
        recipe={
            "recipe": recipe.as_dict(),
            "score_mapping": (mapping or ScoreMapping(f"odds-{as_of}", base_rate)).as_dict(),
            "base_rate": base_rate,
            "snapshot_every_days": settings.snapshot_every_days,
            "train_window_days": settings.train_window_days,
            "random_state": settings.random_state,
            "data_sha256": data_sha256,
            "train_seconds": train_seconds,
            "evaluation": evaluation.as_dict(),
            "evaluation_cohort": _sample(cohort, p, settings.random_state),
            "leakage": leakage.as_dict(),
            "readiness": found.words(),
        },
    )
    keys = cohort.frame.select(KEYS)
    shown: Sequence[Evidence] = ()
    if earlier is not None:
        simple = floor_rows(past, before.as_of, recipe, settings)
        shown = _shown(cohort, simple, p, sources, settings)
    return Trained(model, evaluation, cohort.y, p, keys, leakage, found, train_seconds, shown)


def newest_cohort(past: History, recipe: Recipe, settings: Settings) -> tuple[TrainingSet, TrainingSet, str]:
    """Split off the newest mature cohort, and say what the recipe could have learnt before it.

    Returns
    -------
    cohort, before, protocol
        `before` holds what `recipe` would have trained on at the start of the cohort's first day, with the
        labels known then: nothing that a model of that day could not have known.
    """
    mature = past.known_at(past.as_of, MATURE, settings)
    snapshots = mature.snapshot_dates
    newest = snapshots.max()
    in_cohort = snapshots > newest - np.timedelta64(EVALUATION_DAYS, "D")
    first = snapshots[in_cohort].min().astype(date)
    protocol = (
        f"leads open on {first} to {newest}, conversions within {settings.horizon_days} days; "
        f"the same recipe fitted on what was known on {first}"
    )
    return mature.where(in_cohort), past.known_at(first, recipe, settings), protocol


def _backtest(
    cohort: TrainingSet, before: TrainingSet, protocol: str, recipe: Recipe, settings: Settings
) -> tuple[Evaluation, np.ndarray, LeakageReport, OneBooster | None]:
    """Measure the recipe on the cohort, and return the fit that was measured."""
    leads = cohort.frame["lead_id"].to_numpy()
    if before.n_positives < 2 or before.n_positives == len(before.y):
        nothing = "no backtest: the history before the newest mature cohort has too few conversions"
        p = np.full(len(cohort.y), np.nan)
        unmeasured = Evaluation(nothing, len(cohort.y), cohort.n_positives, None)
        return unmeasured, p, LeakageReport(False, None), None
    fit = fit_one(before, recipe, settings)
    p = fit.probabilities(cohort.frame)
    evaluation = evaluate(cohort.y, p, leads, protocol, settings.random_state)

    def refit_without(columns: Sequence[str]) -> float | None:
        rest = fit_one(before, recipe, settings, without=columns).probabilities(cohort.frame)
        return evaluate(cohort.y, rest, leads, protocol, settings.random_state).roc_auc

    features = cohort.frame.drop(KEYS)
    leakage = judge(features, cohort.y, leads, evaluation.roc_auc, evaluation.roc_auc_low, refit_without)
    return evaluation, p, leakage, fit


def _shown(
    cohort: TrainingSet, before: TrainingSet, p: np.ndarray, sources: Sources, settings: Settings
) -> Sequence[Evidence]:
    seed = settings.random_state
    return evidence(measured_cohort(cohort, before, p, sources, seed), seed)


def _refuse_too_few(rows: TrainingSet, settings: Settings) -> None:
    if len(rows.y) and rows.n_positives == len(rows.y):
        raise TooFewConversionsError(
            f"all {len(rows.y)} mature rows convert: there is nothing to tell apart. Are lost and open leads"
            " missing from source.lead, or is the definition of conversion too wide?"
        )
    converted = rows.frame.filter(pl.Series(rows.y > 0))["lead_id"].n_unique()
    if converted >= settings.min_train_positives:
        return
    raise TooFewConversionsError(
        f"training needs at least {settings.min_train_positives} leads with a mature conversion, found"
        f" {converted} in {len(rows.y)} mature rows: a conversion counts {settings.reporting_lag_days} days"
        f" after its {settings.horizon_days}-day window has closed. Collect more history, shorten"
        " LEADSCORE_HORIZON_DAYS, or check the definition of conversion with `leadscore doctor`"
    )


def _sample(cohort: TrainingSet, p: np.ndarray, seed: int) -> dict[str, Any]:
    """Labels and probabilities of at most `MAX_STORED_ROWS` rows of the cohort, for later reports' curves.

    And how many of these rows a lead has: its snapshots convert together.
    """
    y = cohort.y
    if np.isnan(p).any():
        return {"y": [], "p": [], "rows_per_lead": 1.0}
    chosen = np.arange(len(y))
    if len(y) > MAX_STORED_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(y), MAX_STORED_ROWS, replace=False))
    leads = cohort.frame["lead_id"].gather(chosen).n_unique()
    stored = {"y": y[chosen].tolist(), "p": np.round(p[chosen], 6).tolist()}
    return {**stored, "rows_per_lead": round(len(chosen) / max(leads, 1), 4)}


def _range(rows: TrainingSet, as_of: date) -> TrainingRange:
    snapshots = rows.frame["snapshot_date"]
    first, last = snapshots.sort().gather([0, -1]).to_list()
    return TrainingRange(as_of, first, last, len(rows.y), rows.n_positives)
