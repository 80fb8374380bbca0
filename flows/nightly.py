"""The nightly flow: read as of a date, train when due, score every open lead, publish, report.

A task is a unit of retry; only reading and publishing are retried, and only when the connection failed.
Nothing is published before the last step has all its rows: a night that fails leaves yesterday's scores.
"""

import logging
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from features.sources import Sources
from features.spine import spine
from flows import first_nights, first_report, night_report, promotion
from flows.adapters import model_in_force
from flows.adapters.database import Database
from flows.adapters.hindsight import converted_since
from flows.adapters.leak_rulings import deny_sensitive
from flows.adapters.memory import PeakMemory
from flows.adapters.night_before import night_before
from flows.adapters.publisher import PublicationRefusedError, publish
from flows.adapters.registry import RegistryError
from flows.adapters.settings import Settings
from flows.adapters.snapshot_hash import snapshot_hash
from flows.adapters.source_frames import KEYS as FRAME_KEYS
from flows.adapters.source_reader import check_contract, read_sources
from flows.adapters.worklist import copy_facts, exclusion_rules
from flows.challenger import Challenge, refit
from flows.champion import Champion, can_score, register, why_due, why_unable
from flows.dataset import history
from flows.evaluation import Evaluation, evaluate
from flows.first_nights import FirstNight
from flows.housekeeping import tidy_up
from flows.night import OUTSIDE, Night, open_night, with_given
from flows.open_leads import OpenLeads
from flows.progress import Progress
from flows.score_changes import with_parts
from flows.scoring import NO_SCORES, score_open_leads
from flows.search import search_for_alarms
from flows.succession import end_of_shadow, review
from flows.training import TooFewConversionsError, Trained
from flows.watch import watch_data, watch_night

log = logging.getLogger(__name__)

Summary = dict[str, Any]


@flow(name="nightly", persist_result=False)
def nightly(as_of: date | None = None) -> Summary:
    """Run one night and return its summary; `as_of` defaults to the data's own clock, else to today (UTC)."""
    with PeakMemory() as memory, open_night(as_of) as night:
        sources = read(night)
        watch(night, sources)
        champion = choose_model(night, sources)
        if champion is None:
            first = score_without_model(night, sources)
            publish_scores(night, sources, first.scores, None)
            return first_report.finish(night, sources, first, judge(night, first.scores), memory)
        champion, scores = score_and_publish(night, sources, champion)
        tidy_up(night)
        return night_report.finish(night, sources, champion, scores, judge(night, scores), memory)


@flow(name="train", persist_result=False)
def training(as_of: date | None = None) -> dict[str, Any]:
    """Train and register a model whether it is due or not; the published scores stay.

    It meets the same gate as a night's, the monitor of the data among it.
    """
    with open_night(as_of, records_run=False, told_as=None) as night:
        night.warn_if_past()
        sources = read(night)
        watched = watch_data(night.database, night.settings, sources, night.as_of)
        night.integrity = watched.holds_back
        champion = train_model(night, sources)
        promotion.settle(night.database, night.registry, night.settings.model_key, champion.promotion)
        return night_report.training_summary(night, champion) | {"warnings": night.warnings}


@flow(name="score", persist_result=False)
def scoring(as_of: date | None = None) -> dict[str, Any]:
    """Score and publish with the champion, without training."""
    with PeakMemory() as memory, open_night(as_of) as night:
        sources = read(night)
        champion = load_champion(night)
        refuse_unable(night, sources, champion)
        scores = score(night, sources, champion)
        publish_scores(night, sources, scores, champion)
        follow(night, champion)
        return night_report.finish(night, sources, champion, scores, None, memory)


def run_nightly(
    settings: Settings, database: Database, as_of: date | None, progress: Progress, is_replay: bool = False
) -> Summary:
    """Run the flow with resources that are already open; a replay tells nobody and puts nothing in force."""
    return with_given(nightly, settings, database, as_of, progress, is_replay)


def run_training(settings: Settings, database: Database, as_of: date | None, progress: Progress) -> Summary:
    """Run the training flow with resources that are already open."""
    return with_given(training, settings, database, as_of, progress)


def run_scoring(settings: Settings, database: Database, as_of: date | None, progress: Progress) -> Summary:
    """Run the scoring flow with resources that are already open."""
    return with_given(scoring, settings, database, as_of, progress)


@task(name="read", **OUTSIDE)
def read(night: Night) -> Sources:
    """Check the source views and read everything known before the date."""
    with night.progress.stage("read the CRM"):
        with night.database.connect("crm_reader") as connection:
            check_contract(connection)
        deny_sensitive(night.database)
        sources, night.set_aside = read_sources(night.database, night.as_of)
        frames = {name: getattr(sources, name) for name in FRAME_KEYS}
        night.data_sha256 = snapshot_hash(frames, FRAME_KEYS)
    for finding in night.set_aside.findings:
        log.info("%s: %s %s: %s", finding.frame, finding.n_rows, finding.consequence, finding.rule)
    return sources


@task(name="watch", cache_policy=NO_CACHE)
def watch(night: Night, sources: Sources) -> None:
    """Let the monitors look at data, outcomes and earlier scores; one that fails ends no night."""
    model = None if night.champion is None else night.champion.model
    with night.progress.stage("watch"):
        night.watched = watch_night(
            night.database, night.settings, sources, night.as_of, model, tells=not night.is_replay
        )
    night.warnings += night.watched.failures
    night.integrity = night.watched.holds_back
    night.warnings += [f"people were told: {one.reason}" for one in night.watched.pages]


@task(name="choose model", cache_policy=NO_CACHE)
def choose_model(night: Night, sources: Sources) -> Champion | None:
    """Return the model that scores tonight, after training a new one when that is due.

    Too few conversions to train, or a gate that refuses, keep the champion where it can still score; so does
    a date of the past, because who is champion is decided on the newest. Where it cannot, too few
    conversions end the night; where there was never a model, they leave it without one: None.
    """
    champion, open_leads = night.champion, night.open_leads(sources)
    fallback = _able(night, open_leads, champion)
    if fallback is not None and night.is_past:
        return fallback
    if fallback is not None:
        champion = fallback = review(night, sources, fallback)
        if champion.promotion is not None:
            return champion
        found = end_of_shadow(night, open_leads, fallback) or search_for_alarms(night, sources, fallback)
        if found is not None:
            return found
    due = _due(night, champion, fallback)
    if due is None:
        return champion
    try:
        return _trained(night, sources, champion, fallback, due)
    except TooFewConversionsError as error:
        if champion is None:
            night.why_no_model = str(error)
            return None
        if fallback is None:
            raise
        night.warnings.append(f"not retrained although {due}: {error}")
        return fallback


@task(name="train model", cache_policy=NO_CACHE)
def train_model(night: Night, sources: Sources) -> Champion:
    """Train whether it is due or not, and return what the gate makes the champion.

    A champion that cannot be read is replaced as if there were none: nothing else could end that.
    """
    try:
        champion = night.champion
    except (RegistryError, ValueError) as error:
        night.warnings.append(f"the new model is judged as a first one: {error}")
        return _trained(night, sources, None, None, f"asked for; the champion cannot be read: {error}")
    fallback = _able(night, night.open_leads(sources), champion)
    return _trained(night, sources, champion, fallback, "asked for")


def _trained(
    night: Night, sources: Sources, champion: Champion | None, fallback: Champion | None, reason: str
) -> Champion:
    challenge = _challenge(night, sources, champion, fallback, reason)
    with night.progress.stage("register the model"):
        chosen = register(night, challenge, champion, fallback, night.open_leads(sources))
    _warn(night, challenge.trained, chosen)
    return chosen


def _challenge(
    night: Night, sources: Sources, champion: Champion | None, fallback: Champion | None, reason: str
) -> Challenge:
    previous, current = (None if one is None else one.model for one in (champion, fallback))
    with night.progress.stage("train"):
        past = history(sources, night.as_of, night.settings)
        return refit(night, sources, past, night.open_leads(sources), previous, current, reason)


def _warn(night: Night, trained: Trained, chosen: Champion) -> None:
    if trained.leakage.is_alarm:
        night.warnings.append(trained.leakage.message)
    if chosen.decision is not None and chosen.decision.reasons:
        verdict = (
            "the champion stays" if chosen.trained is None else "it is used all the same: no other model can"
        )
        night.warnings.append(f"the new model failed: {'; '.join(chosen.decision.reasons)}; {verdict}")


@task(name="load champion", **OUTSIDE)
def load_champion(night: Night) -> Champion:
    """Return the champion, which must be there."""
    champion = night.champion
    if champion is None:
        raise LookupError("there is no champion yet: run `leadscore nightly` or `leadscore train` first")
    return champion


def refuse_unable(night: Night, sources: Sources, champion: Champion) -> None:
    """Refuse to score with a champion that knows tonight's future, or has another label or other columns."""
    why = why_unable(night, night.open_leads(sources), champion.model)
    if why is not None:
        raise LookupError(
            f"the champion (version {champion.version.version}) cannot score {night.as_of}: {why}; run"
            " `leadscore nightly`, which trains where it has to"
        )


def _due(night: Night, champion: Champion | None, fallback: Champion | None) -> str | None:
    if champion is None:
        return "there is no champion"
    due = why_due(champion.model, night.as_of, night.label, night.data_sha256, night.settings)
    return "today's feature columns differ from the champion's" if due is None and fallback is None else due


def _able(night: Night, open_leads: OpenLeads, champion: Champion | None) -> Champion | None:
    """The champion, where it can score tonight."""
    return champion if champion is not None and can_score(night, open_leads, champion.model) else None


@task(name="score", cache_policy=NO_CACHE)
def score(night: Night, sources: Sources, champion: Champion) -> pl.DataFrame:
    """Give every open lead a status and, where it may have one, a score with reasons."""
    with night.progress.stage("score"):
        model, version, open_leads = champion.model, str(champion.version.version), night.open_leads(sources)
        before = night_before(
            night.database, night.registry, night.settings.model_key, night.as_of, model, version
        )
        scores = score_open_leads(
            model,
            open_leads.of(model),
            sources,
            night.as_of,
            version,
            datetime.now(UTC),
            exclusion_rules(night.database, night.as_of),
            NO_SCORES if before is None else before.scores,
        )
        if before is None:
            return scores
        leads = open_leads.of(before.model)
        if not before.model.can_score(leads):
            why = f"the model before, version {before.model_version}, has other columns"
            night.warnings.append(f"why scores moved is not said tonight: {why}")
            return scores
        return with_parts(scores, before, model, leads, night.as_of)


@task(name="score without a model", cache_policy=NO_CACHE)
def score_without_model(night: Night, sources: Sources) -> FirstNight:
    """Give every open lead a status, and what is known of leads like it, or a place in a plain order."""
    with night.progress.stage("score"):
        leads = spine(sources, [night.as_of], max_age_days=night.settings.max_lead_age_days)
        rules = exclusion_rules(night.database, night.as_of)
        return first_nights.score_without_model(
            leads, sources, night.as_of, night.settings, datetime.now(UTC), rules
        )


def score_and_publish(night: Night, sources: Sources, champion: Champion) -> tuple[Champion, pl.DataFrame]:
    """Score and publish with a champion; where it is promoted tonight and refused, with the one before.

    Returns
    -------
    the champion whose scores are published, and the scores.
    """
    scores = score(night, sources, champion)
    try:
        publish_scores(night, sources, scores, champion)
    except PublicationRefusedError as error:
        kept = _champion_before(night, sources, champion)
        if champion.promotion is None or kept is None:
            raise
        promotion.abandon(night.database, night.registry, champion.promotion, [str(error)])
        night.warnings.append(f"version {champion.version.version} is not promoted: {error}")
        champion, scores = kept, score(night, sources, kept)
        publish_scores(night, sources, scores, champion)
    follow(night, champion)
    return champion, scores


def _champion_before(night: Night, sources: Sources, promoted: Champion) -> Champion | None:
    """The champion that tonight's promotion replaces, where there is one and it can score tonight."""
    before = None if promoted.promotion is None else promoted.promotion.champion_before
    if before is None:
        return None
    found = Champion(night.registry.load(before), night.registry.show(before), decision=promoted.decision)
    return _able(night, night.open_leads(sources), found)


@task(name="publish", **OUTSIDE)
def publish_scores(night: Night, sources: Sources, scores: pl.DataFrame, champion: Champion | None) -> None:
    """Put all scores in force at once, and with them a champion promoted tonight.

    A date before the newest one is only filed, and so is a replay.
    """
    if night.run is None:
        raise RuntimeError("publication needs a recorded run")
    promoted = None if champion is None else champion.promotion
    is_newest = not (night.is_past or night.is_replay)
    with night.progress.stage("publish"):
        if is_newest:
            copy_facts(night.database, sources, scores)
        publish(
            night.database,
            night.run,
            scores,
            expected_rows=scores.height,
            make_current=is_newest,
            also=promotion.in_force(promoted),
        )


@task(name="follow", **OUTSIDE)
def follow(night: Night, champion: Champion) -> None:
    """Let the registry follow a promotion whose scores are in force, and keep a copy of the model.

    Apart from the publication, so that a retry of one does not repeat the other; again is harmless.
    """
    if champion.promotion is not None:
        promotion.complete(night.database, night.registry, night.settings.model_key, champion.promotion)
    if not (night.is_past or night.is_replay):
        model_in_force.keep_copy(night.settings, champion.model, champion.version.run_id)


@task(name="judge", cache_policy=NO_CACHE)
def judge(night: Night, scores: pl.DataFrame) -> Evaluation | None:
    """Measure tonight's scores by conversions dated after `as_of`, where the database already holds some."""
    converted = converted_since(night.database, night.as_of, night.settings.horizon_days)
    scored = scores.filter(pl.col("probability").is_not_null())
    y = scored["lead_id"].is_in(converted.implode()).cast(pl.Float64).to_numpy()
    if not y.any():
        return None
    days = night.settings.horizon_days
    protocol = f"the leads scored on {night.as_of}, by their conversions of the {days} days from then on"
    p, leads = scored["probability"].to_numpy(), scored["lead_id"].to_numpy()
    return evaluate(y, p, leads, protocol, night.settings.random_state)
