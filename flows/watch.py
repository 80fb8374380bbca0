"""The monitors of one night: they remember in SQL, write there what they find, and people are told.

`watch_data` (T1) may hold a new model back, `watch` (T2, T3, T5) asks for a search, `watch_columns` (T4) is a
diagnosis; none needs tonight's scores, so that a night watches before it trains. All start from the states of
earlier nights only, so that a rerun finds the same; a night of the past is recorded, and tells nobody.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import partial
from typing import Any

from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.drift_table import replace_readings
from flows.adapters.monitor_state import is_newest_night, load_states, save_states
from flows.adapters.notify import deliver_pages
from flows.adapters.notify_prefect import emit_events
from flows.adapters.page_table import count_standing, record_pages, resolve_gone, resolve_quiet
from flows.adapters.score_runs import ROLE
from flows.adapters.settings import Settings
from flows.adapters.source_contract import SourceContractError
from flows.failure import LONGEST, in_words
from flows.lead_model import LeadModel
from flows.monitors.reading import Reading
from flows.monitors.trigger import Action, Trigger, action_words, triggers
from flows.watch_arrivals import watch_tables
from flows.watch_covariates import watch_features
from flows.watch_labels import watch_weeks

log = logging.getLogger(__name__)

LABELS = ("T2", "T3", "T5")
LOG_OF_CERTAINTY = 300.0
"""Evidence of what needs no test, as a power of ten."""


@dataclass(frozen=True)
class Found:
    """What monitors leave behind: states to keep, readings, and what they could not do."""

    states: list[tuple[str, date, Mapping[str, Any]]] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Watch:
    """The monitors' answer to a night.

    Attributes
    ----------
    readings : one per monitor and subject; of T1 and T4 only alarms and the nearest to one.
    pages : triggers whose page was opened now.
    notes : monitors that cannot judge yet, and why.
    failures : what broke, and how.
    """

    readings: tuple[Reading, ...] = ()
    pages: tuple[Trigger, ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    def asks_for(self, action: Action) -> list[Trigger]:
        """Return the alarms that ask for one action: "block", "search" or "refit"."""
        return [one for one in triggers(self.readings) if one.action == action]

    @property
    def holds_back(self) -> tuple[str, ...]:
        """Why no new model may be published tonight; empty where one may."""
        return tuple(one.reason for one in self.asks_for("block"))

    @property
    def blocked(self) -> str | None:
        """The same as one text, or None."""
        return "; ".join(self.holds_back) or None

    def __add__(self, other: "Watch") -> "Watch":
        """Both, one after the other."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Watch(*(first + second for first, second in pairs))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values: `drift`, `paged`, `blocked` and `notes`."""
        keys = ("statistic", "threshold", "evidence", "effect", "words")
        drift = [
            {"monitor": one.trigger, "subject": one.subject}
            | {key: getattr(one, key) for key in keys}
            | {"fired": one.is_alarm, "action": action_words(one)}
            for one in self.readings
        ]
        return {
            "drift": drift,
            "paged": len(self.pages),
            "blocked": self.blocked,
            "not_watched": [*self.notes, *self.failures],
        }


def watch_night(
    database: Database,
    settings: Settings,
    sources: Sources,
    as_of: date,
    model: LeadModel | None,
    tells: bool = True,
) -> Watch:
    """Run every monitor; one that fails is logged and named in `failures`, and costs no other its readings.

    Without T1's word no new model is published: broken data are likeliest where T1 cannot read them.

    Parameters
    ----------
    tells : whether people and Prefect hear of it; a replay tells nobody.
    """
    given = database, settings, sources, as_of
    found = Watch()
    for run in (
        partial(watch_data, *given, tells),
        partial(watch, *given, model, tells),
        partial(watch_columns, *given, model, tells),
    ):
        try:
            found += run()
        except Exception as error:
            log.exception("%s failed", run.func.__name__)
            found += Watch(failures=(f"{run.func.__name__} failed: {in_words(error)}",))
            if run.func is watch_data:
                found += _blind(database, settings, as_of, error, tells)
    return found


def _blind(database: Database, settings: Settings, as_of: date, error: Exception, tells: bool) -> Watch:
    """Return T1's alarm on data it could not judge, told where that is possible."""
    one = _alarm_of_t1("judgement of the data", f"T1 could not judge the data: {in_words(error)}")
    try:
        return _settle(database, settings, as_of, ("T1",), Found(readings=[one]), tells)
    except Exception:
        log.exception("nobody was told that T1 failed")
        return Watch((one,))


def watch_data(
    database: Database, settings: Settings, sources: Sources, as_of: date, tells: bool = True
) -> Watch:
    """Run T1 on everything that arrived since the last night.

    Parameters
    ----------
    sources : as known at `as_of`.
    """
    found = watch_tables(database, settings, sources, as_of, is_replay=not tells)
    return _settle(database, settings, as_of, ("T1",), Found(*found), tells)


def watch_contract(database: Database, settings: Settings, as_of: date, error: SourceContractError) -> Watch:
    """Raise T1's alarm for source views that a night cannot read."""
    one = _alarm_of_t1("schema of the source views", " ".join(str(error).split())[:LONGEST])
    return _settle(database, settings, as_of, ("T1",), Found(readings=[one]))


def _alarm_of_t1(subject: str, words: str) -> Reading:
    """What needs no test is a page at once; it ends when T1 judges again."""
    return Reading("T1", subject, 0.0, 0.0, LOG_OF_CERTAINTY, True, 1.0, words, is_page=True)


def watch(
    database: Database,
    settings: Settings,
    sources: Sources,
    as_of: date,
    model: LeadModel | None,
    tells: bool = True,
) -> Watch:
    """Run T2, T3 and T5 on published scores and known outcomes.

    Parameters
    ----------
    sources : as known at `as_of`.
    model : the champion; T2 starts anew with its recipe.
    """
    before = load_states(database, settings.model_key, as_of, LABELS)
    found = watch_weeks(database, settings, sources, as_of, before, _line(model))
    return _settle(database, settings, as_of, LABELS, Found(*found), tells)


def watch_columns(
    database: Database,
    settings: Settings,
    sources: Sources,
    as_of: date,
    model: LeadModel | None,
    tells: bool = True,
) -> Watch:
    """Run T4 once a week: new leads against those that the champion was trained on."""
    if model is None:
        return Watch()
    before = load_states(database, settings.model_key, as_of, ["T4"])
    found = watch_features(settings, sources, as_of, before.get("T4"), model)
    return Watch() if found is None else _settle(database, settings, as_of, ("T4",), Found(*found), tells)


def _line(model: LeadModel | None) -> str:
    """The champion's recipe: models of one recipe, fitted anew every night, are one line."""
    recipe = {} if model is None else model.recipe.get("recipe") or {}
    return str(recipe.get("name", "")) if isinstance(recipe, Mapping) else str(recipe)


def _settle(
    database: Database,
    settings: Settings,
    as_of: date,
    monitors: Sequence[str],
    found: Found,
    tells: bool = True,
) -> Watch:
    """Record everything in one transaction, then tell."""
    key, asked = settings.model_key, triggers(found.readings)
    is_newest = tells and is_newest_night(database, key, as_of)
    opened: list[Trigger] = []
    with database.connect(ROLE) as connection:
        save_states(connection, key, found.states)
        replace_readings(connection, key, as_of, monitors, found.readings)
        if is_newest:
            opened = record_pages(connection, key, as_of, [one for one in asked if one.is_page])
            if "T1" in monitors and found.states:  # with nothing remembered, nothing was judged
                count_standing(connection, key, as_of, asked)
                resolve_gone(connection, key, [one.cause for one in asked])
            resolve_quiet(connection, key, as_of)
    failures: tuple[str, ...] = ()
    if is_newest:
        searches = [one for one in asked if one.action == "search" and one not in opened]
        failures = tell(database, settings, as_of, [*opened, *searches])
    return Watch(tuple(found.readings), tuple(opened), tuple(found.notes), failures)


def tell(database: Database, settings: Settings, as_of: date, told: Sequence[Trigger]) -> tuple[str, ...]:
    """Emit events and send open pages; return what failed: it costs no readings, and pages wait a night."""
    failures = []
    for run in (
        partial(emit_events, settings.model_key, as_of, told),
        partial(deliver_pages, database, settings),
    ):
        try:
            run()
        except Exception as error:  # its words may quote an address, which is a secret
            log.warning("%s failed: %s", run.func.__name__, type(error).__name__)
            failures.append(f"{run.func.__name__} failed: {type(error).__name__}")
    return tuple(failures)
