"""What alarms ask for: who must be told, and what must run."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from flows.monitors.reading import Reading

Action = Literal["block", "search", "refit"]

NOTED = "noted"
"""What an alarm did that asks for nothing."""

_ACTIONS: dict[str, Action] = {"T1": "block", "T2": "search", "T3": "search", "T5": "refit"}
"""T4 is missing on purpose: covariates that moved are a diagnosis, never a reason to act."""


@dataclass(frozen=True)
class Trigger:
    """One alarm that acts; JSON-able.

    Attributes
    ----------
    cause : names what happened; repeated triggers of one cause are one.
    action : "block": no new model tonight; "search": look for a better recipe now; "refit": estimate the
        delay curve anew.
    reason : one sentence, handed to the retraining and to people.
    evidence : power of ten, as in `Reading`.
    is_page : whether a person should be told.
    """

    monitor: str
    cause: str
    action: Action
    reason: str
    evidence: float
    effect: float
    is_page: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def triggers(readings: Iterable[Reading]) -> list[Trigger]:
    """Return what the alarms among `readings` ask for, once for each cause.

    T1 holds back a new model at once and pages once it is confirmed; T2 and T3 ask for a search and page; T5
    asks for a new delay curve and wakes nobody; T4 asks for nothing.
    """
    found: dict[str, Trigger] = {}
    for one in readings:
        action = _ACTIONS.get(one.trigger)
        if one.is_alarm and action is not None:
            is_page = one.is_page if action == "block" else action == "search"
            new = Trigger(one.trigger, one.cause, action, one.words, one.evidence, one.effect, is_page)
            found[one.cause] = _as_one(found[one.cause], new) if one.cause in found else new
    return list(found.values())


def _as_one(first: Trigger, second: Trigger) -> Trigger:
    """Two alarms of one cause: the surer one, with the words of both."""
    surer = max(first, second, key=lambda one: one.evidence)
    is_page = first.is_page or second.is_page
    return replace(surer, reason=f"{first.reason}; {second.reason}", is_page=is_page)


def action_words(reading: Reading) -> str:
    """Say what a reading did, for the table."""
    found = triggers([reading])
    if not found:
        return NOTED if reading.is_alarm else "none"
    words = {
        "block": "holds back a new model",
        "search": "asks for a search",
        "refit": "refits the delay curve",
    }
    return words[found[0].action] + (", pages" if found[0].is_page else "")


def annotate(readings: Iterable[Reading], note: str | None) -> list[Reading]:
    """Add a note to the words of T3's readings: a changed delay curve moves early wins too."""
    if note is None:
        return list(readings)
    return [replace(one, words=f"{one.words}; {note}") if one.trigger == "T3" else one for one in readings]
