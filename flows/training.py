"""Fit a lead model on everything mature and measure its recipe on the newest mature cohort."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from features.matrix import Encoding, fit_encoding, to_matrix
from features.sources import Sources
from features.spine import KEYS
from flows.adapters.settings import Settings
from flows.dataset import TrainingSet, training_set
from flows.evaluation import Evaluation, evaluate
from flows.lead_model import LabelDefinition, LeadModel, TrainingRange
from flows.leakage import LeakageReport, judge
from flows.score_mapping import ScoreMapping
from pkboost_core import PKBoostClassifier

EVALUATION_DAYS = 28

BOOSTER: dict[str, Any] = {"learning_rate": 0.03, "max_leaf_nodes": 7, "colsample": 0.2, "subsample": 0.5}
"""Small trees on few columns and rows each: a CRM has hundreds of conversions and many columns that say the
same. On the six simulated CRMs it was chosen on: 86 % of the ceiling's PR-AUC; 31 leaves on all rows 77 %."""

MAX_STORED_ROWS = 20_000


class TooFewConversionsError(ValueError):
    """Not enough mature conversions to learn from; the champion stays."""


@dataclass(frozen=True)
class Trained:
    """A fitted model and the honest measurement of its recipe.

    Attributes
    ----------
    model : fitted on every mature row
    evaluation : of the same recipe, fitted as it could have been before the evaluation cohort
    evaluation_y, evaluation_p : float64 (m,), labels and probabilities of that cohort
    evaluation_keys : lead and snapshot of those rows
    leakage : the alarm, raised or not
    train_seconds : of the final fit alone, matrix to calibrated booster
    """

    model: LeadModel
    evaluation: Evaluation
    evaluation_y: np.ndarray
    evaluation_p: np.ndarray
    evaluation_keys: pl.DataFrame
    leakage: LeakageReport
    train_seconds: float


@dataclass(frozen=True)
class _Fit:
    booster: PKBoostClassifier
    encoding: Encoding

    def probabilities(self, rows: TrainingSet) -> np.ndarray:
        return self.booster.predict_proba(to_matrix(rows.frame.select(self.encoding.names), self.encoding))[
            :, 1
        ]


def train(
    sources: Sources,
    as_of: date,
    settings: Settings,
    label: LabelDefinition,
    data_sha256: str,
    mapping: ScoreMapping | None,
) -> Trained:
    """Train on every row mature at `as_of`.

    Parameters
    ----------
    sources : what was known at `as_of`, and `data_sha256`, its hash
    label : what is predicted
    mapping : the champion's score mapping, to be inherited

    Raises
    ------
    TooFewConversionsError
        If fewer than `settings.min_train_positives` leads have converted in mature rows.
    """
    rows = training_set(sources, as_of, settings)
    _refuse_too_few(rows, settings)
    cohort, past, protocol = backtest_split(rows, settings)
    evaluation, p, leakage = _backtest(cohort, past, protocol, settings)
    started = time.perf_counter()
    fit = _fit(rows, settings)
    train_seconds = time.perf_counter() - started
    model = LeadModel(
        booster=fit.booster,
        encoding=fit.encoding,
        label_definition=label,
        training_range=_range(rows, as_of),
        recipe={
            "score_mapping": (mapping or ScoreMapping(f"odds-{as_of}", float(rows.y.mean()))).as_dict(),
            "snapshot_every_days": settings.snapshot_every_days,
            "train_window_days": settings.train_window_days,
            "random_state": settings.random_state,
            "data_sha256": data_sha256,
            "train_seconds": train_seconds,
            "evaluation": evaluation.as_dict(),
            "evaluation_cohort": _sample(cohort.y, p, settings.random_state),
            "leakage": leakage.as_dict(),
        },
    )
    return Trained(model, evaluation, cohort.y, p, cohort.frame.select(KEYS), leakage, train_seconds)


def backtest_split(rows: TrainingSet, settings: Settings) -> tuple[TrainingSet, TrainingSet, str]:
    """Split into the newest mature cohort and what was mature before its first snapshot.

    Returns
    -------
    cohort, past, protocol
        `past` holds only rows whose labels had matured on the cohort's first day: nothing that a model of
        that day could not have known.
    """
    snapshots = rows.snapshot_dates
    newest = snapshots.max()
    in_cohort = snapshots > newest - np.timedelta64(EVALUATION_DAYS, "D")
    first = snapshots[in_cohort].min()
    is_past = snapshots <= first - np.timedelta64(settings.maturity // timedelta(days=1), "D")
    protocol = (
        f"leads open on {first} to {newest}, conversions within {settings.horizon_days} days; "
        f"the same recipe fitted on what was known on {first}"
    )
    return rows.where(in_cohort), rows.where(is_past), protocol


def _backtest(
    cohort: TrainingSet, past: TrainingSet, protocol: str, settings: Settings
) -> tuple[Evaluation, np.ndarray, LeakageReport]:
    leads = cohort.frame["lead_id"].to_numpy()
    if past.n_positives < 2 or past.n_positives == len(past.y):
        nothing = "no backtest: the history before the newest mature cohort has too few conversions"
        p = np.full(len(cohort.y), np.nan)
        return Evaluation(nothing, len(cohort.y), cohort.n_positives, None), p, LeakageReport(False, None)
    p = _fit(past, settings).probabilities(cohort)
    evaluation = evaluate(cohort.y, p, leads, protocol, settings.random_state)

    def refit_without(columns: Sequence[str]) -> float | None:
        fit = _fit(past, settings, without=columns)
        rest = evaluate(cohort.y, fit.probabilities(cohort), leads, protocol, settings.random_state)
        return rest.roc_auc

    features = cohort.frame.drop(KEYS)
    leakage = judge(features, cohort.y, leads, evaluation.roc_auc, evaluation.roc_auc_low, refit_without)
    return evaluation, p, leakage


def _fit(rows: TrainingSet, settings: Settings, without: Sequence[str] = ()) -> _Fit:
    frame = rows.frame.drop(without)
    encoding = fit_encoding(frame)
    booster = PKBoostClassifier(
        random_state=settings.random_state,
        n_threads=settings.n_threads,
        categorical_features=encoding.categorical_indices,
        **BOOSTER,
    )
    booster.fit(to_matrix(frame, encoding), rows.y, groups=rows.frame["lead_id"].to_numpy())
    return _Fit(booster, encoding)


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


def _sample(y: np.ndarray, p: np.ndarray, seed: int) -> dict[str, list[float]]:
    """Labels and probabilities of at most `MAX_STORED_ROWS` rows of the cohort, for later reports' curves."""
    if np.isnan(p).any():
        return {"y": [], "p": []}
    chosen = np.arange(len(y))
    if len(y) > MAX_STORED_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(y), MAX_STORED_ROWS, replace=False))
    return {"y": y[chosen].tolist(), "p": np.round(p[chosen], 6).tolist()}


def _range(rows: TrainingSet, as_of: date) -> TrainingRange:
    snapshots = rows.frame["snapshot_date"]
    first, last = snapshots.sort().gather([0, -1]).to_list()
    return TrainingRange(as_of, first, last, len(rows.y), rows.n_positives)
