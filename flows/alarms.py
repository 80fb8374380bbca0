"""Alarms that ask for a search, and what became of them: readings and decisions on record are the queue.

T2 and T3 start anew after an alarm, so one that nobody answered would be lost for weeks. Any search answers
every alarm up to its date: it tries the same candidates whatever the cause.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from flows.adapters import decisions, drift_table
from flows.adapters.decisions import Decision
from flows.monitors.reading import Reading
from flows.monitors.trigger import Trigger, triggers

if TYPE_CHECKING:
    from flows.night import Night

LOOKED_BACK_DAYS = 28
SEARCH_RAN = "the search ran"
"""A check of a search's decision: False where it broke off, and so answers nothing."""


@dataclass(frozen=True)
class Alarm:
    """A reading that asks for a search, and the search that answered it, if one has."""

    as_of: date
    reading: Reading
    answer: Decision | None


def recent_alarms(night: "Night") -> list[Alarm]:
    """Return the alarms of the last four weeks that asked for a search, the newest first."""
    key, since = night.settings.model_key, night.as_of - timedelta(days=LOOKED_BACK_DAYS)
    searches = [one for one in decisions.searches(night.database, key, since) if ran(one)]
    return [
        Alarm(day, reading, next((one for one in searches if one.as_of >= day), None))
        for day, reading in drift_table.alarms(night.database, key, since, night.as_of)
    ]


def owed(alarms: list[Alarm]) -> list[Trigger]:
    """Return what the alarms that no search has answered ask for, once for each cause."""
    return triggers(one.reading for one in alarms if one.answer is None)


def write_outcomes(night: "Night", rest: str | None) -> None:
    """Write beside each alarm what became of it.

    Parameters
    ----------
    rest : why there is no search yet, or None.
    """
    outcomes = [(one.as_of, one.reading, _outcome(one, rest)) for one in recent_alarms(night)]
    drift_table.write_actions(night.database, night.settings.model_key, outcomes)


def ran(search: Decision) -> bool:
    """Whether a search came to its end."""
    return search.checks.get(SEARCH_RAN, True)


def _outcome(alarm: Alarm, rest: str | None) -> str:
    search = alarm.answer
    if search is None:
        return "asks for a search" + (f", which rests: {rest}" if rest else "")
    begin = f"searched on {search.as_of}"
    if search.state in (decisions.PENDING, decisions.IN_FORCE, decisions.DONE):
        return f"{begin}: version {search.challenger} promoted"
    if search.state == decisions.SHADOW:
        return f"{begin}: version {search.challenger} is in the shadow"
    return f"{begin}, refused: {'; '.join(search.reasons) or search.state}"
