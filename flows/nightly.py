"""The nightly flow: read as of a date, train when due, score every open lead, publish, report.

A task is a unit of retry; only reading and publishing are retried, and only when the connection failed.
Nothing is published before the last step has all its rows: a night that fails leaves yesterday's scores.
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import psycopg
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

import sql
from features.matrix import NOT_FEATURES
from features.sources import Sources
from flows import night_report, promotion
from flows.adapters import score_runs
from flows.adapters.database import Database, DatabaseUnavailableError, exclusive, open_database
from flows.adapters.hindsight import converted_since
from flows.adapters.leak_rulings import deny_sensitive
from flows.adapters.memory import PeakMemory
from flows.adapters.migrations import SourceError, installed_source, migrate
from flows.adapters.night_before import night_before
from flows.adapters.publisher import publish
from flows.adapters.registry import Registry, open_registry
from flows.adapters.settings import Settings
from flows.adapters.snapshot_hash import snapshot_hash
from flows.adapters.source_frames import KEYS as FRAME_KEYS
from flows.adapters.source_reader import SetAside, check_contract, read_sources
from flows.adapters.worklist import copy_facts, exclusion_rules
from flows.challenger import Challenge, refit
from flows.champion import Champion, register, why_due
from flows.dataset import history
from flows.evaluation import Evaluation, evaluate
from flows.lead_model import LabelDefinition
from flows.open_leads import OpenLeads
from flows.progress import Progress
from flows.score_changes import with_parts
from flows.scoring import NO_SCORES, score_open_leads
from flows.search import search, why_rest
from flows.succession import end_of_shadow, review
from flows.training import TooFewConversionsError, Trained
from flows.watch import Watch, watch_night

log = logging.getLogger(__name__)

Summary = dict[str, Any]


@dataclass
class Night:
    """What the steps of one night share: where things are, and what is known so far.

    Attributes
    ----------
    integrity : alarms of the data integrity monitor, in words: they keep the champion for tonight.
    triggers : why a better recipe should be looked for tonight, in words.
    watched : everything the monitors say.
    """

    settings: Settings
    database: Database
    progress: Progress
    registry: Registry
    as_of: date
    run: score_runs.Run | None = None
    set_aside: SetAside | None = None
    data_sha256: str = ""
    warnings: list[str] = field(default_factory=list)
    integrity: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    watched: Watch = field(default_factory=Watch)
    _open_leads: OpenLeads | None = None

    @property
    def label(self) -> LabelDefinition:
        """What a model of tonight would predict."""
        text = sql.load("intermediate/int_conversion.sql")
        return LabelDefinition(
            self.settings.horizon_days,
            self.settings.reporting_lag_days,
            hashlib.sha256(text.encode()).hexdigest(),
        )

    def open_leads(self, sources: Sources) -> OpenLeads:
        """Tonight's open leads with their features."""
        if self._open_leads is None:
            self._open_leads = OpenLeads(sources, self.as_of, self.settings)
        return self._open_leads


_GIVEN: ContextVar[tuple[Settings, Database, Progress] | None] = ContextVar("given", default=None)


def _lost_connection(_task: Any, _run: Any, state: Any) -> bool:
    """Retry when the connection broke; an error in the data, or a full disk, is the same the next time."""
    error = state.result(raise_on_failure=False)
    reason = error.__cause__ or error  # adapters say it in words of their own
    if isinstance(reason, psycopg.errors.DiskFull):
        return False
    return isinstance(reason, psycopg.OperationalError | ConnectionError | DatabaseUnavailableError)


_OUTSIDE: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [2, 10, 30],
    "retry_condition_fn": _lost_connection,
    "cache_policy": NO_CACHE,
}


@flow(name="nightly", persist_result=False)
def nightly(as_of: date | None = None) -> Summary:
    """Run one night and return its summary; `as_of` defaults to the data's own clock, else to today (UTC)."""
    with PeakMemory() as memory, open_night(as_of) as night:
        sources = read(night)
        watch(night, sources)
        champion = choose_model(night, sources)
        scores = score(night, sources, champion)
        publish_scores(night, sources, scores, champion)
        return night_report.finish(night, sources, champion, scores, judge(night, scores), memory)


@flow(name="train", persist_result=False)
def training(as_of: date | None = None) -> dict[str, Any]:
    """Train and register a model whether it is due or not; the published scores stay."""
    with open_night(as_of, records_run=False) as night:
        champion = choose_model(night, read(night), always_train=True)
        promotion.settle(night.database, night.registry, night.settings.model_key, champion.promotion)
        return night_report.training_summary(night, champion)


@flow(name="score", persist_result=False)
def scoring(as_of: date | None = None) -> dict[str, Any]:
    """Score and publish with the champion, without training."""
    with PeakMemory() as memory, open_night(as_of) as night:
        sources = read(night)
        champion = load_champion(night)
        scores = score(night, sources, champion)
        publish_scores(night, sources, scores, champion)
        return night_report.finish(night, sources, champion, scores, None, memory)


def run_nightly(settings: Settings, database: Database, as_of: date | None, progress: Progress) -> Summary:
    """Run the flow with resources that are already open."""
    return with_given(nightly, settings, database, as_of, progress)


def run_training(settings: Settings, database: Database, as_of: date | None, progress: Progress) -> Summary:
    """Run the training flow with resources that are already open."""
    return with_given(training, settings, database, as_of, progress)


def run_scoring(settings: Settings, database: Database, as_of: date | None, progress: Progress) -> Summary:
    """Run the scoring flow with resources that are already open."""
    return with_given(scoring, settings, database, as_of, progress)


def with_given(
    run: Any, settings: Settings, database: Database, as_of: date | None, progress: Progress
) -> dict[str, Any]:
    """Run a flow of one argument, the date, with resources that are already open."""
    token = _GIVEN.set((settings, database, progress))
    try:
        return run(as_of or _today(database))
    finally:
        _GIVEN.reset(token)


def _today(database: Database) -> date:
    source = installed_source(database)
    if source is None:
        raise SourceError(
            "no source is installed: run `leadscore simulate`, `leadscore import`, or install an adapter"
        )
    return source.clock or datetime.now(UTC).date()


@contextmanager
def open_night(
    as_of: date | None, records_run: bool = True, patience_seconds: float = 0.0
) -> Iterator[Night]:
    """Open what a night needs, under a lock that two nights cannot hold, and record how it ended."""
    with (
        _resources() as (settings, database, progress),
        exclusive(database, "nightly", patience_seconds),
    ):
        day = as_of or _today(database)
        night = Night(settings, database, progress, open_registry(settings, database), day)
        repaired = promotion.repair(database, night.registry, settings.model_key)
        if repaired is not None:
            night.warnings.append(f"after a crash: {repaired}")
        if not records_run:
            yield night
            return
        night.run = score_runs.start_run(database, settings.model_key, day)
        try:
            yield night
        except BaseException as error:
            score_runs.fail_run(database, night.run, f"{type(error).__name__}: {error}")
            raise


@contextmanager
def _resources() -> Iterator[tuple[Settings, Database, Progress]]:
    given = _GIVEN.get()
    if given is not None:
        yield given
        return
    settings = Settings()
    with open_database(settings) as database:
        migrate(database)
        yield settings, database, Progress()


@task(name="read", **_OUTSIDE)
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
    """Let the monitors look at data, outcomes and earlier scores; a monitor that fails stops nothing."""
    found = _loaded(night)
    with night.progress.stage("watch"):
        model = None if found is None else found.model
        night.watched = watch_night(night.database, night.settings, sources, night.as_of, model)
    night.warnings += night.watched.failures
    night.integrity = tuple(one.reason for one in night.watched.asks_for("block"))
    night.triggers = tuple(one.reason for one in night.watched.asks_for("search"))
    night.warnings += [f"people were told: {one.reason}" for one in night.watched.pages]


@task(name="choose model", cache_policy=NO_CACHE)
def choose_model(night: Night, sources: Sources, always_train: bool = False) -> Champion:
    """Return the model that scores tonight, after training a new one when that is due.

    Too few conversions to train, or a gate that refuses, keep the champion where it can still score; where
    there is none that can, too few conversions end the night.
    """
    champion, open_leads = _loaded(night), night.open_leads(sources)
    fallback = champion if champion is not None and can_score(night, open_leads, champion) else None
    if fallback is not None and not always_train:
        champion = fallback = review(night, sources, fallback)
        found = end_of_shadow(night, open_leads, fallback) or _searched(night, sources, fallback)
        if found is not None:
            return found
    due = "asked for" if always_train else _due(night, champion, fallback)
    if due is None and champion is not None:
        return champion
    reason = due or "there is no champion"
    try:
        challenge = _challenge(night, sources, champion, fallback, reason)
    except TooFewConversionsError as error:
        if fallback is None or always_train:
            raise
        night.warnings.append(f"not retrained although {reason}: {error}")
        return fallback
    with night.progress.stage("register the model"):
        chosen = register(night, challenge, champion, fallback, open_leads)
    _warn(night, challenge.trained, chosen)
    return chosen


def _searched(night: Night, sources: Sources, champion: Champion) -> Champion | None:
    """Look for a better recipe where the monitors ask for one; None unless one is promoted at once."""
    asked = night.watched.asks_for("search") if night.settings.retrain_inline else []
    for trigger in asked:
        if why_rest(night, trigger.cause) is None:
            found = search(night, sources, champion, trigger.cause, trigger.reason)
            return found if found.promotion is not None else None
    return None


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


@task(name="load champion", **_OUTSIDE)
def load_champion(night: Night) -> Champion:
    """Return the champion, which must be there."""
    champion = _loaded(night)
    if champion is None:
        raise LookupError("there is no champion yet: run `leadscore nightly` or `leadscore train` first")
    return champion


def _loaded(night: Night) -> Champion | None:
    with night.progress.stage("load the model"):
        found = night.registry.load_champion()
    return None if found is None else Champion(*found)


def _due(night: Night, champion: Champion | None, fallback: Champion | None) -> str | None:
    if champion is None:
        return "there is no champion"
    due = why_due(champion.model, night.as_of, night.label, night.data_sha256, night.settings)
    return "today's feature columns differ from the champion's" if due is None and fallback is None else due


def can_score(night: Night, open_leads: OpenLeads, champion: Champion) -> bool:
    """Whether the champion knows nothing of tonight's future, and has tonight's label and columns."""
    model = champion.model
    if model.training_range.as_of > night.as_of or model.label_definition != night.label:
        return False
    columns = open_leads.of(model).drop(NOT_FEATURES, strict=False).columns
    return tuple(columns) == model.encoding.names


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
        return with_parts(scores, before, model, open_leads.of(before.model), night.as_of)


@task(name="publish", **_OUTSIDE)
def publish_scores(night: Night, sources: Sources, scores: pl.DataFrame, champion: Champion) -> None:
    """Put all scores in force at once, and with them a champion promoted tonight.

    A date before the one in force is only filed.
    """
    if night.run is None:
        raise RuntimeError("publication needs a recorded run")
    with night.progress.stage("publish"):
        in_force = score_runs.date_in_force(night.database, night.settings.model_key)
        is_newest = in_force is None or night.as_of >= in_force
        if is_newest:
            copy_facts(night.database, sources, scores)
        publish(
            night.database,
            night.run,
            scores,
            expected_rows=scores.height,
            make_current=is_newest,
            also=promotion.in_force(champion.promotion),
        )
        if champion.promotion is not None:
            promotion.complete(night.database, night.registry, night.settings.model_key, champion.promotion)


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
