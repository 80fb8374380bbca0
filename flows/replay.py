"""Nights of the past, one after another, as they would have run: each knows what was known on its day."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from flows.adapters import memory, replay_record
from flows.adapters.database import Database
from flows.adapters.publisher import PublicationRefusedError
from flows.adapters.settings import Settings
from flows.gate import NoUsableModelError
from flows.monitors.trigger import NOTED
from flows.nightly import run_nightly
from flows.progress import Progress
from flows.training import TooFewConversionsError

MOST_DECISIONS_A_NIGHT = 4


@dataclass(frozen=True)
class ReplayedNight:
    """One night of the story.

    Attributes
    ----------
    as_of : the night.
    outcome : "published", or why nothing was.
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
) -> Story:
    """Run every night under a model key of its own and return the story.

    A night without enough conversions to train a first model is no part of the story, and the replay goes on.
    The scores end in the history: none of them is ever in force. Nobody is told of anything, and nothing is
    written that others share: what is filed is filed under the key.

    Parameters
    ----------
    nights : in order of time
    key : what the replay's rows and models are filed under; must be new
    tell : called after each night
    """
    # a search runs within the night: the event that asks for one elsewhere is not emitted
    own = settings.model_copy(
        update={"model_key": key, "model_name": f"{settings.model_name}-{key}", "retrain_inline": True}
    )
    lived = []
    for night in nights:
        lived.append(_night(own, database, night))
        tell(lived[-1])
        memory.give_back()
    return Story(
        key,
        lived,
        replay_record.drifts(database, key, nights[0], nights[-1]),
        replay_record.decided(database, key, MOST_DECISIONS_A_NIGHT * len(nights)),
    )


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
