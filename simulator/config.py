"""What a simulated CRM is made from: size, period, seed and an optional drift."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, get_args

DriftKind = Literal["covariate", "prior", "concept", "delay", "gradual", "outage"]
DRIFT_KINDS: tuple[DriftKind, ...] = get_args(DriftKind)

MIN_LEADS = 50
MAX_LEADS = 5_000_000


@dataclass(frozen=True)
class Drift:
    """A change of the world on one date.

    Attributes
    ----------
    kind : covariate (worse sources and titles), prior (fewer conversions), concept (attributes and touches
        mean something else), delay (slower conversions), gradual (concept over 120 days), outage (titles go
        null and one source triples).
    date : leads created from this date on are affected (touches too, for concept and gradual).
    severity : in (0, 1]; what 1 means for each kind is in simulator/drift.py.
    """

    kind: DriftKind
    date: date
    severity: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in DRIFT_KINDS:
            raise ValueError(f"drift kind={self.kind!r} is unknown; choose one of {', '.join(DRIFT_KINDS)}")
        if not 0.0 < self.severity <= 1.0:
            raise ValueError(f"drift severity={self.severity} should be above 0 and at most 1")


@dataclass(frozen=True)
class SimulationConfig:
    """Size, period and seed of a simulated CRM; equal configurations give equal rows.

    Attributes
    ----------
    n_leads : leads created over the period.
    months : length of the period in calendar months.
    end : the CRM's clock: it holds what had arrived before midnight UTC at the start of this date.
    seed : seed of every draw.
    drift : optional change of the world.
    """

    n_leads: int = 10_000
    months: int = 18
    end: date = date(2026, 10, 31)
    seed: int = 7
    drift: Drift | None = None

    def __post_init__(self) -> None:
        if not MIN_LEADS <= self.n_leads <= MAX_LEADS:
            raise ValueError(f"n_leads={self.n_leads} should be between {MIN_LEADS} and {MAX_LEADS}")
        if not 1 <= self.months <= 120:
            raise ValueError(f"months={self.months} should be between 1 and 120")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} should not be negative")
        if self.drift and not self.start <= self.drift.date < self.end:
            raise ValueError(f"drift date {self.drift.date} should lie in [{self.start}, {self.end})")

    @property
    def start(self) -> date:
        """The first day of the period."""
        month = self.end.year * 12 + self.end.month - 1 - self.months
        year, month = month // 12, month % 12 + 1
        return date(year, month, min(self.end.day, monthrange(year, month)[1]))

    @property
    def start_instant(self) -> datetime:
        """Midnight UTC at the start of the period; simulated times are days since this instant."""
        return datetime.combine(self.start, datetime.min.time(), UTC)

    @property
    def n_days(self) -> int:
        """Length of the period in days."""
        return (self.end - self.start).days

    @property
    def drift_day(self) -> float:
        """The drift's date in days since the start; infinite without drift."""
        return float((self.drift.date - self.start).days) if self.drift else float("inf")
