"""After the gate: a challenger in the shadow, and a promotion that arriving labels speak against.

Evidence on a promotion is counted by weeks. The leads open on one day of each week since are judged when they
are 30 days older, by "won by then" with the forecast p F(30): one age for all. Compared are the probabilities
published on that day with those that the champion before the promotion gives the same leads. Neither has
learnt the outcomes: the old champion is from before the promotion, the published numbers are from before the
outcomes. So what sales worked with is judged, refits included; tonight's refit, which has learnt how the last
30 days ended, is not asked about them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from features.build import build
from features.delay import DelayCurve
from features.late_labels import late_labels
from features.sources import Sources, as_of
from features.spine import spine
from flows import promotion
from flows.adapters import decisions
from flows.adapters.decisions import Decision, Pair
from flows.adapters.registry import RegistryError
from flows.adapters.score_history import scores_of_dates
from flows.artefact_checks import problems, segments_of, shift
from flows.champion import Champion, can_score, probabilities
from flows.gate import has_rested
from flows.lead_model import LeadModel
from flows.monitors.compare import ENOUGH_EVIDENCE, PairState, watch_pair
from flows.monitors.reading import Reading
from flows.open_cohorts import MIN_ROWS, week_of
from flows.open_leads import OpenLeads

if TYPE_CHECKING:
    from flows.night import Night

JUDGED_AT_DAYS = 30


class UnableError(Exception):
    """A version cannot score tonight, so it cannot become champion."""


def review(night: "Night", sources: Sources, champion: Champion) -> Champion:
    """Return the champion before where arriving labels say that it was better; else this one.

    Its return is a promotion that comes into force with tonight's scores: its last are months old. Until then
    the evidence stays as it was, so that a night that is not published leaves it to the next one.
    """
    key = night.settings.model_key
    pair = decisions.pair_of(night.database, key, "roll_back")
    if pair is None or pair.in_use != champion.version.version or pair.since > night.as_of:
        return champion
    try:
        other = _fetched(night, night.open_leads(sources), pair.other)
    except UnableError as error:
        decisions.end_pair(night.database, key, "roll_back")
        night.warnings.append(f"the champion is not compared with the one before any more: {error}")
        return champion
    curve = champion.model.delay_curve or other.model.delay_curve
    pair, reading = judge_pair(night, sources, pair, other.model, curve)
    if reading is None or pair.e_value < ENOUGH_EVIDENCE:
        decisions.keep_pair(night.database, key, "roll_back", pair)
        return champion
    decision = Decision(
        night.as_of,
        "roll_back",
        "promote",
        decisions.PENDING,
        reading.words,
        champion_before=champion.version.version,
        challenger=pair.other,
        inputs=reading.to_dict(),
    )
    night.warnings.append(f"version {pair.other} is champion again: {reading.words}")
    return replace(other, promotion=promotion.intend(night.database, key, decision))


def judge_pair(
    night: "Night", sources: Sources, pair: Pair, other: LeadModel, curve: DelayCurve | None
) -> tuple[Pair, Reading | None]:
    """Count the weeks that have become old enough since the last time; none without a delay curve."""
    state = PairState.from_dict(pair.state) if pair.state else PairState()
    age = min(JUDGED_AT_DAYS, night.settings.horizon_days)
    weeks = []
    day = pair.since
    while curve is not None and day + timedelta(days=age) <= night.as_of:
        if day.isoformat() > state.done:
            losses = _losses(night, sources, day, age, other, curve)
            weeks += [] if losses is None else [(day, *losses)]
        day += timedelta(days=7)
    if not weeks:
        return pair, None
    state, reading = watch_pair(state, weeks)
    return replace(pair, state=state.to_dict(), e_value=reading.statistic), reading


def _losses(
    night: "Night", sources: Sources, day: date, age: int, other: LeadModel, curve: DelayCurve
) -> tuple[float, float] | None:
    """Mean log-loss of what was published on `day` and of the other model; None with too few leads to say."""
    settings = night.settings
    published = scores_of_dates(night.database, settings.model_key, [day]).select("lead_id", "probability")
    known = as_of(sources, day)
    rows = spine(known, [day], max_age_days=settings.max_lead_age_days)
    rows = rows.join(published, on="lead_id", how="inner", maintain_order="left")
    if rows.height < MIN_ROWS:
        return None
    labels = late_labels(rows, sources, settings.horizon_days, settings.reporting_lag_days)
    seen = curve(np.full(rows.height, float(age)), labels.segments)
    y = labels.is_won(day + timedelta(days=age)).astype(np.float64)
    by_other = other.probabilities(build(known, rows.drop("probability"), other.encoding.attr_kinds))
    return week_of(day, y, [rows["probability"].to_numpy() * seen, by_other * seen]).losses


def end_of_shadow(night: "Night", open_leads: OpenLeads, champion: Champion) -> Champion | None:
    """Score a challenger in the shadow; return it as champion when its days are over and nothing was wrong.

    Each night's differences from the champion are kept; the first night on which sales could not be shown the
    challenger's list, or on which it has none, ends its candidacy.
    """
    key = night.settings.model_key
    decision = decisions.in_state(night.database, key, decisions.SHADOW)
    if decision is None or decision.challenger is None or decision.as_of >= night.as_of:
        return None
    try:
        challenger = _fetched(night, open_leads, decision.challenger)
    except UnableError as error:
        _refuse(night, champion, decision, [str(error)])
        return None
    wrong = _look(night, open_leads, champion, challenger, decision)
    if wrong:
        _refuse(night, champion, decision, wrong)
    elif _is_its_turn(night, decision):
        decisions.leave_shadow(night.database, decision.decision_id, champion.version.version)
        tonight = replace(decision, as_of=night.as_of, champion_before=champion.version.version)
        return replace(challenger, promotion=tonight)
    return None


def _fetched(night: "Night", open_leads: OpenLeads, version: int) -> Champion:
    """Load a version that may become champion tonight.

    Raises
    ------
    UnableError
        It cannot be loaded, or cannot score tonight.
    """
    try:
        found = Champion(night.registry.load(version), night.registry.show(version))
    except (RegistryError, ValueError) as error:
        raise UnableError(f"version {version} cannot be loaded ({error})") from error
    if not can_score(night, open_leads, found.model):
        raise UnableError(f"version {version} was trained for another label or on columns that are gone")
    return found


def _refuse(night: "Night", champion: Champion, decision: Decision, reasons: Sequence[str]) -> None:
    compared = replace(decision, champion_before=champion.version.version)
    promotion.fail_shadow(night.database, night.registry, night.settings.model_key, compared, reasons)
    night.warnings.append(f"version {decision.challenger} failed in the shadow: {'; '.join(reasons)}")


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
