"""What T1 remembers of one table: alarms that stand, and incidents that are over."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

from flows.monitors.integrity_volume import LONGEST_WINDOW, days_between

REFERENCE_DAYS = 28
MEMORY_DAYS = 91
ACCEPT_AFTER_DAYS = 28
"""An alarm that nobody acted on for so long is the new normal: it joins the reference."""
KEPT_DAYS = MEMORY_DAYS + ACCEPT_AFTER_DAYS + LONGEST_WINDOW
"""How far back a reference can reach."""


@dataclass(frozen=True)
class Standing:
    """An alarm that every check since `since` (ISO date) has raised.

    Attributes
    ----------
    sets, counted_on : disjoint sets of rows that showed it, and the ISO date of the last one.
    is_paged : whether a person was told.
    words : what the last of these checks said.
    """

    since: str
    sets: int
    counted_on: str
    is_paged: bool
    words: str = ""

    def is_young(self, day: date) -> bool:
        """Whether it is not accepted yet."""
        return (day - date.fromisoformat(self.since)).days < ACCEPT_AFTER_DAYS

    def outlasts(self, day: date) -> bool:
        """Whether it stands on a day that cannot be checked: for a week, if nobody was told of it yet."""
        if self.is_paged:
            return self.is_young(day)
        return (day - date.fromisoformat(self.counted_on)).days <= LONGEST_WINDOW


@dataclass(frozen=True)
class Incident:
    """A paged alarm that has ended before it was accepted: what came from `since` to `until` was broken."""

    subject: str
    since: str
    until: str

    @property
    def days(self) -> list[date]:
        """All of them."""
        return days_between(date.fromisoformat(self.since), date.fromisoformat(self.until))


@dataclass(frozen=True)
class IntegrityState:
    """Alarms that stand in one table, by subject, and its incidents; JSON-able through `to_dict`."""

    standing: Mapping[str, Standing] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()

    @property
    def incident_days(self) -> frozenset[date]:
        """Days that are no reference."""
        return frozenset(day for one in self.incidents for day in one.days)

    def unchecked(self, checked: Collection[str], day: date) -> dict[str, Standing]:
        """Return what stands because nothing on `day` could confirm or end it."""
        return {s: one for s, one in self.standing.items() if s not in checked and one.outlasts(day)}

    def after(self, raised: Mapping[str, Standing], checked: Collection[str], day: date) -> "IntegrityState":
        """Return the state after a day on which the subjects `checked` were, and some of them raised."""
        recent = (one for one in self.incidents if (day - one.days[-1]).days < KEPT_DAYS)
        until = (day - timedelta(days=1)).isoformat()
        ended = (
            Incident(subject, one.since, until)
            for subject, one in self.standing.items()
            if subject in checked and subject not in raised and one.is_paged and one.is_young(day)
        )
        return IntegrityState(self.unchecked(checked, day) | dict(raised), (*recent, *ended))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "IntegrityState":
        """Return the state that `to_dict` described; older ones had no incidents."""
        standing = {subject: Standing(**one) for subject, one in values["standing"].items()}
        return cls(standing, tuple(Incident(**one) for one in values.get("incidents", ())))
