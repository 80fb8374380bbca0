"""One night: what its steps share, the resources it holds, and how its end is recorded."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

import psycopg
from prefect.cache_policies import NO_CACHE

import sql
from features.sources import Sources
from flows import promotion
from flows.adapters import score_runs
from flows.adapters.database import (
    AlreadyRunningError,
    Database,
    DatabaseUnavailableError,
    exclusive,
    open_database,
)
from flows.adapters.logging import configure_logging
from flows.adapters.migrations import BEGIN_ANEW, migrate, night_date
from flows.adapters.page_table import FAILED_NIGHT
from flows.adapters.registry import Registry, open_registry
from flows.adapters.settings import Settings
from flows.adapters.source_reader import SetAside
from flows.champion import Champion
from flows.failure import in_words
from flows.lead_model import LabelDefinition
from flows.open_leads import OpenLeads
from flows.progress import Progress
from flows.watch import Watch
from flows.watch_failure import note_success, tell_of_failure, tell_of_killed

PATIENCE_SECONDS = 1800.0
"""Of what nobody started by hand: a monitor asks for a search in the middle of a night, and on Sundays the
evidence may begin together with the night."""


@dataclass
class Night:
    """What the steps of one night share: where things are, and what is known so far.

    Attributes
    ----------
    integrity : alarms of the data integrity monitor, in words: they keep the champion for tonight.
    watched : everything the monitors say.
    why_no_model : why no model could be trained, where there is none either.
    is_replay : whether the past is only lived again: nobody is told, and nothing shared is written.
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
    watched: Watch = field(default_factory=Watch)
    why_no_model: str | None = None
    is_replay: bool = False
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

    @cached_property
    def champion(self) -> Champion | None:
        """The model in force when the night begins; None before the first."""
        with self.progress.stage("load the model"):
            found = self.registry.load_champion()
        return None if found is None else Champion(*found)

    @cached_property
    def is_past(self) -> bool:
        """Whether a newer date is published: then this one moves neither scores in force nor champion."""
        return self.newest_published is not None and self.as_of < self.newest_published

    @cached_property
    def newest_published(self) -> date | None:
        """The newest date whose scores are published when the night begins; None before the first."""
        return score_runs.newest_date(self.database, self.settings.model_key)

    def warn_if_past(self) -> None:
        """Say that nobody will see what is made for a date of the past, and what to do about it."""
        if self.is_past and not self.is_replay:
            newest = self.newest_published
            self.warnings.append(
                f"filed only: scores of {newest} are newer than {self.as_of}, so sales lists and the champion"
                f" stay as they are; where {newest} is another source's or a wrong date, {BEGIN_ANEW}"
            )

    def open_leads(self, sources: Sources) -> OpenLeads:
        """Tonight's open leads with their features."""
        if self._open_leads is None:
            self._open_leads = OpenLeads(sources, self.as_of, self.settings)
        return self._open_leads


@dataclass(frozen=True)
class _Resources:
    """What is open before a night begins, and whether somebody waits for it at the keyboard."""

    settings: Settings
    database: Database
    progress: Progress
    is_replay: bool = False
    is_unattended: bool = False

    @property
    def lock(self) -> str:
        """What keeps runs apart: a replay shares nothing with nights but what `forget` erases."""
        return "replay" if self.is_replay else "nightly"

    @property
    def patience_seconds(self) -> float:
        """How long to wait for the lock; who is at the keyboard is told at once who holds it."""
        return PATIENCE_SECONDS if self.is_replay or self.is_unattended else 0.0


_GIVEN: ContextVar[_Resources | None] = ContextVar("given", default=None)


def _lost_connection(_task: Any, _run: Any, state: Any) -> bool:
    """Retry when the connection broke; an error in the data, or a full disk, is the same the next time."""
    error = state.result(raise_on_failure=False)
    reason = error.__cause__ or error  # adapters say it in words of their own
    if isinstance(reason, psycopg.errors.DiskFull):
        return False
    return isinstance(reason, psycopg.OperationalError | ConnectionError | DatabaseUnavailableError)


OUTSIDE: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [2, 10, 30],
    "retry_condition_fn": _lost_connection,
    "cache_policy": NO_CACHE,
}
"""Of tasks that read and write outside: retried when the connection broke."""


def with_given(
    run: Any,
    settings: Settings,
    database: Database,
    as_of: date | None,
    progress: Progress,
    is_replay: bool = False,
) -> dict[str, Any]:
    """Run a flow of one argument, the date, with resources that are already open.

    Raises
    ------
    ValueError
        The date is still to come: whoever gave it is told, and nobody else.
    """
    token = _GIVEN.set(_Resources(settings, database, progress, is_replay))
    try:
        return run(night_date(database, as_of))
    finally:
        _GIVEN.reset(token)


@contextmanager
def open_night(
    as_of: date | None, records_run: bool = True, told_as: str | None = FAILED_NIGHT
) -> Iterator[Night]:
    """Open what a night needs, under a lock that two nights cannot hold, and record how it ended.

    Parameters
    ----------
    records_run : whether it is a night with a record of its own, which ends the pages of those that failed.
    told_as : under which name of `page_table` people are told that it failed; None tells nobody, and neither
        does a replay.

    Raises
    ------
    AlreadyRunningError : another holds the lock; a run that nobody started by hand waits `PATIENCE_SECONDS`.
    """
    with (
        _resources() as held,
        _told(held, as_of, told_as),
        exclusive(held.database, held.lock, held.patience_seconds),
    ):
        settings, database = held.settings, held.database
        day = night_date(database, as_of)
        registry = open_registry(settings, database)
        night = Night(settings, database, held.progress, registry, day, is_replay=held.is_replay)
        repaired = promotion.repair(database, night.registry, settings.model_key)
        if repaired is not None:
            night.warnings.append(f"after a crash: {repaired}")
        with recorded_run(night) if records_run else nullcontext():
            yield night
        if records_run and not held.is_replay:
            note_success(database, settings.model_key, day, FAILED_NIGHT)


@contextmanager
def recorded_run(night: Night) -> Iterator[None]:
    """Record a run of the night from here on, and why it failed if it does; say which earlier ones died."""
    night.run = score_runs.start_run(night.database, night.settings.model_key, night.as_of)
    if night.run.killed:
        _warn_of_killed(night, night.run.killed)
    night.warn_if_past()
    try:
        yield
    except BaseException as error:
        score_runs.fail_run(night.database, night.run, in_words(error))
        raise


def _warn_of_killed(night: Night, killed: Sequence[date]) -> None:
    days = ", ".join(str(day) for day in killed)
    words = f"killed before its end, with nothing published: the run of {days}"
    night.warnings.append(words)
    if not night.is_replay:
        tell_of_killed(night.database, night.settings, night.as_of, words)


@contextmanager
def _told(held: _Resources, as_of: date | None, told_as: str | None) -> Iterator[None]:
    """Tell people of a failure, unless somebody at the keyboard has not waited for the lock."""
    try:
        yield
    except Exception as error:
        is_turned_away = isinstance(error, AlreadyRunningError) and not held.is_unattended
        if told_as is not None and not held.is_replay and not is_turned_away:
            tell_of_failure(held.database, held.settings, as_of, error, told_as)
        raise


@contextmanager
def _resources() -> Iterator[_Resources]:
    """What the command line has opened; else our own, with the logs that the command line would have."""
    given = _GIVEN.get()
    if given is not None:
        yield given
        return
    settings = Settings()
    configure_logging(settings.root)
    with open_database(settings) as database:
        migrate(database)
        yield _Resources(settings, database, Progress(), is_unattended=True)
