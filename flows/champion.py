"""Which model scores tonight: the champion, or a new one when it is due or cannot score the date."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from features.sources import Sources
from flows import curves, gate, report_charts
from flows.adapters.registry import CHALLENGER, ModelVersion, Registry
from flows.adapters.run_files import RunRecord
from flows.adapters.settings import Settings
from flows.dataset import scoring_set
from flows.lead_model import LabelDefinition, LeadModel
from flows.score_mapping import ScoreMapping
from flows.training import Trained


@dataclass(frozen=True)
class Champion:
    """A registered model in use.

    Attributes
    ----------
    model, version : artefact and registry entry.
    trained : its training, when it happened tonight.
    decision : the gate's, when it was trained tonight.
    """

    model: LeadModel
    version: ModelVersion
    trained: Trained | None = None
    decision: gate.GateDecision | None = None


def why_due(
    model: LeadModel, as_of: date, label: LabelDefinition, data_sha256: str, settings: Settings
) -> str | None:
    """Say why `model` must not score `as_of` without retraining, or None.

    A model trained on a later day knows what was still to come on `as_of`.
    """
    trained_as_of = model.training_range.as_of
    age = (as_of - trained_as_of).days
    if age < 0:
        return f"the champion was trained as of {trained_as_of} and knows what came after {as_of}"
    if model.label_definition != label:
        return "the definition of the label has changed"
    if age == 0 and model.recipe["data_sha256"] != data_sha256:
        return f"the data of {as_of} has changed since the champion was trained on it"
    if age >= settings.retrain_every_days:
        return f"the champion is {age} days old"
    return None


def register(
    registry: Registry,
    trained: Trained,
    previous: Champion | None,
    fallback: Champion | None,
    sources: Sources,
    settings: Settings,
    data_sha256: str,
    reason: str,
) -> Champion:
    """Log a freshly trained model, let the gate decide, and return the model to score with.

    A model for a past date is logged and used for that date alone: the newer champion stays.

    Parameters
    ----------
    previous : the champion so far.
    fallback : the same when it can score tonight, else None; the gate is milder when there is nothing to fall
        back to.
    """
    as_of = trained.model.training_range.as_of
    version = registry.log_run(trained.model, _record(trained, settings, data_sha256, reason))
    features = scoring_set(sources, as_of, settings, trained.model.encoding.attr_kinds)
    probabilities = trained.model.predict_proba(features) if features.height else np.zeros(0)
    decision = gate.decide(trained, probabilities, has_champion=fallback is not None)
    if previous is not None and previous.model.training_range.as_of > as_of:
        return Champion(trained.model, version, trained, decision)
    if decision.is_promoted:
        return Champion(trained.model, registry.promote(version.version, reason), trained, decision)
    registry.set_alias(CHALLENGER, version.version)
    if fallback is None:
        raise gate.NoUsableModelError(
            f"the new model is unusable ({', '.join(decision.reasons)}) and there is no other: nothing is"
            " scored; look at the run in MLflow"
        )
    return Champion(fallback.model, fallback.version, None, decision)


def inherited_mapping(previous: Champion | None) -> ScoreMapping | None:
    """The champion's score mapping, so that a grade keeps its meaning; None starts a new one."""
    return None if previous is None else ScoreMapping(**previous.model.recipe["score_mapping"])


def _record(trained: Trained, settings: Settings, data_sha256: str, reason: str) -> RunRecord:
    evaluation = trained.evaluation.as_dict()
    numbers = {name: value for name, value in evaluation.items() if isinstance(value, int | float)}
    params: dict[str, Any] = {
        "reason": reason,
        "protocol": trained.evaluation.protocol,
        "leakage_alarm": trained.leakage.is_alarm,
        "n_features": len(trained.model.encoding.names),
        "snapshot_every_days": settings.snapshot_every_days,
        "train_window_days": settings.train_window_days,
        **{f"booster_{name}": value for name, value in trained.model.booster.get_params().items()},
    }
    return RunRecord(
        name=f"as of {trained.model.training_range.as_of}",
        metrics={**numbers, "train_seconds": trained.train_seconds},
        params=params,
        data_sha256=data_sha256,
        curves=curves.tables(trained.evaluation_y, trained.evaluation_p),
        charts=report_charts.evaluation_charts(trained.evaluation_y, trained.evaluation_p),
    )
