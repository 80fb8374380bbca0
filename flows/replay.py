"""Nights of the past, one after another, as they would have run: each knows what was known on its day."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

from flows import interruption
from flows.adapters import memory, replay_record
from flows.adapters.database import Database, DatabaseUnavailableError
from flows.adapters.publisher import PublicationRefusedError
from flows.adapters.registry import RegistryError, open_registry
from flows.adapters.settings import Settings
from flows.failure import in_words
from flows.gate import NoUsableModelError
from flows.monitors.trigger import NOTED
from flows.nightly import run_nightly
from flows.progress import Progress
from flows.training import TooFewConversionsError

MOST_DECISIONS_A_NIGHT = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplayedNight:
    """One night of the story.

    Attributes
    ----------
    as_of : the night.
    outcome : "published", or why nothing was, or what ended the replay.
    model_version, is_retrained, n_scored : of a published night; None otherwise.
    prevalence, average_precision, average_precision_low, average_precision_high, calibration_ratio : of its
        scores by what became of the leads; None where that is not in the database yet.
    warnings : what the night said.
    """

    as_of: date
    outcome: str
    model_version: str | None = None
    is_retrained: bool | None = None
    n_scored: int | None = None
    prevalence: float | None = None
    average_precision: float | None = None
    average_precision_low: float | None = None
    average_precision_high: float | None = None
    calibration_ratio: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Story:
    """A replay: its nights, what the monitors said and what was decided, all by model key in SQL too.

    Attributes
    ----------
    drifts : rows of scoring.report_drift.
    decisions : rows of scoring.decision, oldest first.
    """

    model_key: str
    nights: Sequence[ReplayedNight]
    drifts: Sequence[Mapping[str, Any]]
    decisions: Sequence[Mapping[str, Any]]

    @property
    def n_promoted(self) -> int:
        """How often a challenger became champion."""
        return sum(one["verdict"] == "promote" and one["state"] != "abandoned" for one in self.decisions)

    @property
    def alarms(self) -> list[Mapping[str, Any]]:
        """Readings that asked for a search, no new model or a new delay curve; T4 asks for nothing."""
        return [one for one in self.drifts if one["fired"] and one["action"] != NOTED]

    @property
    def noted(self) -> list[Mapping[str, Any]]:
        """Columns that moved (T4): a diagnosis."""
        return [one for one in self.drifts if one["fired"] and one["action"] == NOTED]


def replay(
    settings: Settings,
    database: Database,
    nights: Sequence[date],
    key: str,
    tell: Callable[[ReplayedNight], None],
    keep: Callable[[Story], None],
) -> Story:
    """Run every night under a model key of its own and return the story.

    A night without enough conversions to train a first model is no part of the story, and the replay goes on.
    The scores end in the history: none of them is ever in force. Nobody is told of anything, and nothing is
    written that others share: what is filed is filed under the key. The models, which nothing uses after the
    last night, are deleted with their runs and files.

    Parameters
    ----------
    nights : in order of time, at least one
    key : what the replay's rows and models are filed under; must be new
    tell : called after each night
    keep : called once with the story, even where an error or Ctrl-C ends it early: it then tells how
    """
    # a search runs within the night: the event that asks for one elsewhere is not emitted
    own = settings.model_copy(
        update={"model_key": key, "model_name": f"{settings.model_name}-{key}", "retrain_inline": True}
    )
    lived: list[ReplayedNight] = []
    try:
        for night in nights:
            lived.append(_night(own, database, night))
            tell(lived[-1])
            memory.give_back()
    except BaseException as error:
        lived.append(ReplayedNight(night, f"the replay ended here: {in_words(error)}"))
        raise
    finally:
        with interruption.held_back():
            story = _story(database, key, lived)
            keep(story)
        _delete_models(own, database)
    return story


def _story(database: Database, key: str, lived: Sequence[ReplayedNight]) -> Story:
    return Story(
        key,
        lived,
        replay_record.drifts(database, key, lived[0].as_of, lived[-1].as_of),
        replay_record.decided(database, key, MOST_DECISIONS_A_NIGHT * len(lived)),
    )


def _delete_models(settings: Settings, database: Database) -> None:
    """Delete what the replay registered; the story is as good without it, so a failure is only told."""
    try:
        open_registry(settings, database).delete()
    except (RegistryError, DatabaseUnavailableError, psycopg.Error) as error:
        log.warning("the models of this replay stay in MLflow: %s", error)


def _night(settings: Settings, database: Database, as_of: date) -> ReplayedNight:
    try:
        summary = run_nightly(settings, database, as_of, Progress(), is_replay=True)
    except (TooFewConversionsError, NoUsableModelError, PublicationRefusedError) as error:
        return ReplayedNight(as_of, str(error))
    if summary["why_no_model"] is not None:
        return ReplayedNight(as_of, summary["why_no_model"])
    seen = summary["hindsight"] or {}
    measures = ("prevalence", "average_precision", "average_precision_low", "average_precision_high",
                "calibration_ratio")  # fmt: skip
    return ReplayedNight(
        as_of,
        "published",
        summary["model_version"],
        summary["is_retrained"],
        summary["n_scored"],
        **{name: seen.get(name) for name in measures},
        warnings=tuple(summary["warnings"]),
    )
