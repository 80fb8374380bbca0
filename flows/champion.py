"""Which model scores tonight: the champion, or a new one when it is due or cannot score the date."""

from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from flows import curves, gate, promotion, report_charts
from flows.adapters import decisions
from flows.adapters.decisions import Decision
from flows.adapters.evidence_table import replace_evidence
from flows.adapters.registry import CHALLENGER, CHAMPION, ModelVersion
from flows.adapters.run_files import RunRecord
from flows.adapters.settings import Settings
from flows.artefact_checks import segments_of
from flows.challenger import Challenge
from flows.data_facts import DataFacts, NightRows, data_facts, differences, night_rows
from flows.evidence import NEWEST, evidence_metrics
from flows.lead_model import LabelDefinition, LeadModel
from flows.newest_labels import newest_labels
from flows.open_leads import OpenLeads
from flows.recipes import recipe_of
from flows.training import Trained

if TYPE_CHECKING:
    from flows.night import Night

FACTS = "facts_of_the_past"


@dataclass(frozen=True)
class Champion:
    """A registered model in use.

    Attributes
    ----------
    model, version : artefact and registry entry.
    trained : its training, when it happened tonight.
    decision : the gate's, when a model was trained tonight.
    promotion : where it was promoted tonight, the record that comes into force with its scores.
    """

    model: LeadModel
    version: ModelVersion
    trained: Trained | None = None
    decision: gate.GateDecision | None = None
    promotion: Decision | None = None


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
    night: "Night",
    challenge: Challenge,
    previous: Champion | None,
    fallback: Champion | None,
    open_leads: OpenLeads,
) -> Champion:
    """Log a freshly trained model, let the gate decide, and return the model to score with.

    A model for a past date is logged and used for that date alone, where the champion cannot score it:
    nothing is decided about who is champion.

    Parameters
    ----------
    previous : the champion so far; None where there is none, or its files cannot be read.
    fallback : the same when it can score tonight, else None; the gate is milder when there is nothing to fall
        back to.
    """
    trained = challenge.trained
    rows = night_rows(challenge.past, night.settings, open_leads.of(trained.model))
    facts = data_facts(rows)
    kept = {} if facts is None else {FACTS: facts.to_dict()}
    model = replace(trained.model, recipe={**trained.model.recipe, **kept})
    version = night.registry.log_run(model, _run_record(night, challenge))
    _keep_evidence(night, trained, version)
    evidence = _evidence(night, challenge, fallback, open_leads, rows)
    found = gate.decide(evidence, has_champion=fallback is not None)
    if night.is_past or (previous is not None and previous.model.training_range.as_of > night.as_of):
        return replace(fallback or Champion(model, version, trained), decision=found)
    decision = _decision(night, challenge, found, version)
    if not found.is_promoted and fallback is None:
        night.registry.set_alias(CHALLENGER, version.version)
        raise gate.NoUsableModelError(
            f"the new model is unusable ({', '.join(found.reasons)}) and there is no other: nothing is"
            " scored; look at the run in MLflow"
        )
    if fallback is not None and decision.verdict != "promote":
        state = decisions.SHADOW if decision.verdict == "shadow" else decisions.REFUSED
        promotion.refuse(night.database, night.registry, night.settings.model_key, decision, state)
        return replace(fallback, decision=found)
    pending = promotion.intend(night.database, night.settings.model_key, decision)
    return Champion(model, version, trained, found, pending)


def _keep_evidence(night: "Night", trained: Trained, version: ModelVersion) -> None:
    key, protocol = night.settings.model_key, trained.evaluation.protocol
    found = {NEWEST: trained.evidence}
    replace_evidence(night.database, key, str(version.version), night.as_of, protocol, found)
    night.registry.attach_json(
        version.run_id, "evidence.json", {"rows": [asdict(one) for one in trained.evidence]}
    )


def _evidence(
    night: "Night",
    challenge: Challenge,
    fallback: Champion | None,
    open_leads: OpenLeads,
    rows: NightRows,
) -> gate.Evidence:
    trained, key = challenge.trained, night.settings.model_key
    if fallback is not None and not fallback.model.can_score(challenge.past.frame):
        strange = ", ".join(fallback.model.encoding.misfits(challenge.past.frame))
        night.warnings.append(
            f"the new model is not compared with the champion on past weeks: the champion learnt {strange},"
            " which tonight's history does not have or has in another kind"
        )
    before = None if fallback is None else fallback.model.recipe.get(FACTS)
    return gate.Evidence(
        as_of=night.as_of,
        evaluation=trained.evaluation,
        leakage=trained.leakage,
        open_probabilities=probabilities(trained.model, open_leads),
        champion_probabilities=None if fallback is None else probabilities(fallback.model, open_leads),
        segments=segments_of(open_leads.of(trained.model)),
        data_problems=[] if before is None else differences(DataFacts.from_dict(before), rows),
        integrity=night.integrity,
        comparison=challenge.comparison,
        newest=None if fallback is None else newest_labels(challenge.past, fallback.model, trained.model),
        is_new_recipe=challenge.is_new_recipe,
        last_recipe_change=decisions.last_recipe_change(night.database, key),
        last_roll_back=decisions.last_roll_back(night.database, key),
    )


def probabilities(model: LeadModel, open_leads: OpenLeads) -> np.ndarray:
    """What a model says of tonight's open leads, float64 (n,)."""
    frame = open_leads.of(model)
    return model.probabilities(frame) if frame.height else np.zeros(0)


def can_score(night: "Night", open_leads: OpenLeads, model: LeadModel) -> bool:
    """Whether a model knows nothing of tonight's future, and has tonight's label and columns."""
    return why_unable(night, open_leads, model) is None


def why_unable(night: "Night", open_leads: OpenLeads, model: LeadModel) -> str | None:
    """Say why a model must not score tonight, or None."""
    trained = model.training_range.as_of
    if trained > night.as_of:
        return f"it was trained as of {trained} and knows what came after {night.as_of}"
    if model.label_definition != night.label:
        return "the definition of the label has changed since it was trained"
    misfits = model.encoding.misfits(open_leads.of(model))
    return f"tonight's leads lack, or have in another kind, {', '.join(misfits)}" if misfits else None


def _decision(
    night: "Night",
    challenge: Challenge,
    found: gate.GateDecision,
    version: ModelVersion,
) -> Decision:
    previous = night.registry.get(CHAMPION)  # its files may be lost
    is_watched = challenge.is_new_recipe and night.settings.shadow_days > 0 and previous is not None
    verdict = "refuse" if not found.is_promoted else "shadow" if is_watched else "promote"
    return Decision(
        as_of=night.as_of,
        kind=challenge.kind,
        verdict=verdict,
        state=decisions.PENDING,
        cause=challenge.cause,
        reasons=found.reasons,
        champion_before=None if previous is None else previous.version,
        challenger=version.version,
        recipe=recipe_of(challenge.trained.model.recipe).as_dict(),
        is_new_recipe=challenge.is_new_recipe,
        checks=found.checks,
        inputs={**found.inputs, "data_sha256": night.data_sha256, **challenge.notes},
        mlflow_run_id=version.run_id,
    )


def _run_record(night: "Night", challenge: Challenge) -> RunRecord:
    trained, settings = challenge.trained, night.settings
    evaluation = trained.evaluation.as_dict()
    numbers = {name: value for name, value in evaluation.items() if isinstance(value, int | float)}
    compared = {} if challenge.comparison is None else asdict(challenge.comparison)
    params: dict[str, Any] = {
        "reason": challenge.cause,
        "protocol": trained.evaluation.protocol,
        "leakage_alarm": trained.leakage.is_alarm,
        "recipe": recipe_of(trained.model.recipe).name,
        "n_features": len(trained.model.encoding.names),
        "snapshot_every_days": settings.snapshot_every_days,
        "train_window_days": settings.train_window_days,
        **{f"booster_{name}": value for name, value in trained.model.booster.get_params().items()},
    }
    charts = report_charts.evaluation_charts(trained.evaluation_y, trained.evaluation_p)
    if trained.model.delay_curve is not None:
        charts["delay"] = report_charts.delay_chart(trained.model.delay_curve)
    return RunRecord(
        name=f"as of {trained.model.training_range.as_of}",
        metrics={
            **numbers,
            **compared,
            **evidence_metrics(trained.evidence),
            "train_seconds": trained.train_seconds,
        },
        params=params,
        data_sha256=night.data_sha256,
        curves=curves.tables(trained.evaluation_y, trained.evaluation_p),
        charts=charts,
    )
