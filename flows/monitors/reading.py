"""What a monitor says on one night: one record for the table, the report and the page."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LARGEST = 1e300


@dataclass(frozen=True)
class Reading:
    """One statistic against its limit; JSON-able.

    Attributes
    ----------
    trigger : "T1" to "T5", or "rollback".
    subject : what was watched, such as "null_share lead.industry"; with the trigger it names the
        cause.
    statistic, threshold : the number watched and the limit it is compared with, on the same scale.
    evidence : how sure, as a power of ten: log10 of an e-value or detector, -log10 of a p-value.
    is_alarm : whether the trigger fires.
    effect : how large, as a relative or absolute change; its meaning is in `words`.
    words : one plain sentence.
    details : numbers behind it.
    is_page : whether a person should be woken; at most once per cause.

    Raises
    ------
    ValueError
        A number is not finite: SQL and JSON could not keep it.
    """

    trigger: str
    subject: str
    statistic: float
    threshold: float
    evidence: float
    is_alarm: bool
    effect: float
    words: str
    details: Mapping[str, Any] = field(default_factory=dict)
    is_page: bool = False

    def __post_init__(self) -> None:
        for name in ("statistic", "threshold", "evidence", "effect"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{self.cause}: {name}={getattr(self, name)!r} is not a finite number")

    @property
    def cause(self) -> str:
        """The name under which repeated alarms are one; T2 sees one fall at each of its ages in turn."""
        subject = self.subject.partition(" at ")[0] if self.trigger == "T2" else self.subject
        return f"{self.trigger} {subject}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values, the cause among them."""
        return {**asdict(self), "cause": self.cause}


def log10(value: float) -> float:
    """Return log10, with 0 and infinity kept finite."""
    return math.log10(min(max(value, 1 / LARGEST), LARGEST))


def percent(share: float) -> str:
    """Return a share as words like "38 %"; small ones keep a digit."""
    return f"{100 * share:.0f} %" if abs(share) >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def day_words(iso_date: str) -> str:
    """Return "2026-03-03" as "3 March 2026"."""
    year, month, day = iso_date.split("-")
    return f"{int(day)} {_MONTHS[int(month) - 1]} {year}"


_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
