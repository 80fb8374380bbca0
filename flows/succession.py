"""After the gate: a challenger in the shadow, and a promotion that arriving labels speak against.

Evidence on two models is counted by weeks. The leads open on one day of each week since the promotion are
scored by both models, and judged when they are 30 days older by "won by then" with the forecast p F(30): one
age for all, and before their labels are mature, so that no model has learnt them.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from features.build import build
from features.late_labels import late_labels
from features.sources import Sources, as_of
from features.spine import spine
from flows import promotion
from flows.adapters import decisions
from flows.adapters.decisions import Decision, Pair
from flows.adapters.registry import RegistryError
from flows.artefact_checks import problems, segments_of, shift
from flows.champion import Champion, probabilities
from flows.gate import has_rested
from flows.lead_model import LeadModel
from flows.monitors.compare import ENOUGH_EVIDENCE, PairState, watch_pair
from flows.monitors.reading import Reading
from flows.open_cohorts import MIN_ROWS, week_of
from flows.open_leads import OpenLeads

if TYPE_CHECKING:
    from flows.night import Night

JUDGED_AT_DAYS = 30


def review(night: "Night", sources: Sources, champion: Champion) -> Champion:
    """Go back to the champion before where arriving labels say that it was better; else return this one."""
    key = night.settings.model_key
    pair = decisions.pair_of(night.database, key, "roll_back")
    if pair is None or pair.in_use != champion.version.version:
        return champion
    try:
        other = night.registry.load(pair.other)
    except RegistryError:
        decisions.end_pair(night.database, key, "roll_back")
        return champion
    pair, reading = judge_pair(night, sources, pair, champion.model, other)
    decisions.keep_pair(night.database, key, "roll_back", pair)
    if reading is None or pair.e_value < ENOUGH_EVIDENCE:
        return champion
    version, _ = promotion.roll_back(
        night.database,
        night.registry,
        key,
        night.as_of,
        reading.words,
        to=pair.other,
        inputs=reading.to_dict(),
    )
    night.warnings.append(f"version {version.version} is champion again: {reading.words}")
    return Champion(other, version)


def judge_pair(
    night: "Night", sources: Sources, pair: Pair, in_use: LeadModel, other: LeadModel
) -> tuple[Pair, Reading | None]:
    """Count the weeks that have become old enough since the last time."""
    state = PairState.from_dict(pair.state) if pair.state else PairState()
    age = min(JUDGED_AT_DAYS, night.settings.horizon_days)
    weeks = []
    day = pair.since
    while day + timedelta(days=age) <= night.as_of:
        if day.isoformat() > state.done:
            losses = _losses(night, sources, day, age, in_use, other)
            weeks += [] if losses is None else [(day, *losses)]
        day += timedelta(days=7)
    if not weeks:
        return pair, None
    state, reading = watch_pair(state, weeks)
    return replace(pair, state=state.to_dict(), e_value=reading.statistic), reading


def _losses(
    night: "Night", sources: Sources, day: date, age: int, in_use: LeadModel, other: LeadModel
) -> tuple[float, float] | None:
    """Mean log-loss of both models on the leads open on `day`; None where there are too few to say."""
    curve = in_use.delay_curve or other.delay_curve
    settings = night.settings
    if curve is None:
        return None
    rows = spine(as_of(sources, day), [day], max_age_days=settings.max_lead_age_days)
    if rows.height < MIN_ROWS:
        return None
    labels = late_labels(rows, sources, settings.horizon_days, settings.reporting_lag_days)
    seen = curve(np.full(rows.height, float(age)), labels.segments)
    y = labels.is_won(day + timedelta(days=age)).astype(np.float64)
    forecasts = []
    for model in (in_use, other):
        frame = build(as_of(sources, day), rows, model.encoding.attr_kinds)
        forecasts.append(model.predict_proba(frame.select(model.encoding.names)) * seen)
    return week_of(day, y, forecasts).losses


def end_of_shadow(night: "Night", open_leads: OpenLeads, champion: Champion) -> Champion | None:
    """Score a challenger in the shadow; return it as champion when its days are over and nothing was wrong.

    Each night's differences from the champion are kept; the first night on which sales could not be shown the
    challenger's list ends its candidacy.
    """
    key = night.settings.model_key
    decision = decisions.in_state(night.database, key, decisions.SHADOW)
    if decision is None or decision.challenger is None or decision.as_of >= night.as_of:
        return None
    challenger = Champion(night.registry.load(decision.challenger), night.registry.show(decision.challenger))
    wrong = _look(night, open_leads, champion, challenger, decision)
    if wrong:
        compared = replace(decision, champion_before=champion.version.version)
        promotion.fail_shadow(night.database, night.registry, key, compared, wrong)
        night.warnings.append(f"version {decision.challenger} failed in the shadow: {'; '.join(wrong)}")
    elif _is_its_turn(night, decision):
        decisions.leave_shadow(night.database, decision.decision_id, champion.version.version)
        return replace(challenger, promotion=replace(decision, champion_before=champion.version.version))
    return None


def _is_its_turn(night: "Night", decision: Decision) -> bool:
    """Whether its days in the shadow are over, tonight's data are sound and no roll-back is recent."""
    is_over = (night.as_of - decision.as_of).days >= night.settings.shadow_days
    last = decisions.last_roll_back(night.database, night.settings.model_key)
    return is_over and not night.integrity and has_rested(last, night.as_of)


def _look(
    night: "Night", open_leads: OpenLeads, champion: Champion, challenger: Champion, decision: Decision
) -> list[str]:
    """Compare tonight's lists, keep what was found, and say what is wrong with the challenger's."""
    frame = open_leads.of(challenger.model)
    p = probabilities(challenger.model, open_leads)
    if not np.isfinite(p).all():
        return ["probabilities that are no numbers"]
    found = shift(probabilities(champion.model, open_leads), p, segments_of(frame))
    if found is None:
        return []
    key = night.settings.model_key
    pair = decisions.pair_of(night.database, key, "shadow")
    if pair is None or pair.other != decision.challenger:
        pair = Pair(champion.version.version, challenger.version.version, decision.as_of)
    nights: dict[str, Any] = {**pair.state, night.as_of.isoformat(): found.to_dict()}
    decisions.keep_pair(night.database, key, "shadow", replace(pair, state=nights))
    return problems(found, is_proven=_is_proven(decision.inputs))


def _is_proven(inputs: Mapping[str, Any]) -> bool:
    comparison = inputs.get("comparison") or {}
    return comparison.get("log_loss_gain_lower", 0) > 0
