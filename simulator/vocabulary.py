"""The words of the simulated CRM: values, how common they are, and what they mean for conversion.

`share` is relative frequency, `effect` is added to the log-odds of conversion (centred later).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Choice:
    """Values of one attribute with shares (sum 1) and centred effects."""

    values: tuple[str, ...]
    share: NDArray[np.float64]
    effect: NDArray[np.float64]

    @classmethod
    def of(cls, rows: dict[str, tuple[float, float]]) -> "Choice":
        """Build from {value: (share, effect)}."""
        share = np.array([row[0] for row in rows.values()])
        share = share / share.sum()
        effect = np.array([row[1] for row in rows.values()])
        return cls(tuple(rows), share, effect - share @ effect)

    def code(self, value: str) -> int:
        """Position of a value."""
        return self.values.index(value)

    def draw(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Draw codes by share."""
        return np.searchsorted(np.cumsum(self.share)[:-1], rng.random(size), side="right")


SOURCE = Choice.of(
    {
        "Web": (0.24, 0.1),
        "Content Syndication": (0.18, -0.9),
        "Paid Search": (0.14, 0.3),
        "Webinar": (0.12, 0.0),
        "Trade Show": (0.10, -0.2),
        "Paid Social": (0.10, -0.6),
        "Referral": (0.05, 1.2),
        "Partner": (0.05, 0.7),
        "Inbound Call": (0.02, 1.4),
    }
)
SENIORITY = Choice.of(
    {
        "C-level": (0.06, 0.5),
        "VP": (0.09, 0.7),
        "Director": (0.17, 0.5),
        "Manager": (0.30, 0.1),
        "Specialist": (0.30, -0.4),
        "Student": (0.08, -1.3),
    }
)
DEPARTMENT = Choice.of(
    {
        "Operations": (0.26, 0.3),
        "IT": (0.24, 0.2),
        "Marketing": (0.16, -0.2),
        "Finance": (0.14, 0.1),
        "Sales": (0.12, -0.1),
        "HR": (0.08, -0.5),
    }
)
INDUSTRY = Choice.of(
    {
        "Manufacturing": (0.18, 0.35),
        "Software": (0.16, 0.25),
        "Retail": (0.13, -0.1),
        "Financial Services": (0.11, 0.15),
        "Healthcare": (0.10, 0.0),
        "Professional Services": (0.09, -0.1),
        "Logistics": (0.08, 0.4),
        "Education": (0.06, -0.6),
        "Public Sector": (0.05, -0.5),
        "Energy": (0.04, 0.2),
    }
)
COUNTRY = Choice.of(
    {
        "United States": (0.40, 0.15),
        "United Kingdom": (0.13, 0.05),
        "Germany": (0.12, 0.1),
        "France": (0.08, -0.1),
        "Netherlands": (0.05, 0.0),
        "Canada": (0.06, 0.1),
        "India": (0.08, -0.6),
        "Spain": (0.04, -0.2),
        "Switzerland": (0.02, 0.2),
        "Poland": (0.02, -0.1),
    }
)
EMAIL_KIND = Choice.of(
    {
        "corporate": (0.74, 0.2),
        "free": (0.19, -0.6),
        "education": (0.03, -0.8),
        "disposable": (0.02, -1.6),
        "missing": (0.02, -0.3),
    }
)

CURRENCY = ("USD", "GBP", "EUR", "EUR", "EUR", "CAD", "INR", "EUR", "CHF", "PLN")
UNITS_PER_USD = (1.0, 0.79, 0.92, 0.92, 0.92, 1.36, 83.0, 0.92, 0.88, 3.9)
TERRITORIES = ("Americas", "UK & Ireland", "DACH", "Southern Europe", "Benelux", "Asia")
TITLES: dict[str, str] = {
    "C-level": "Chief {} Officer",
    "VP": "VP {}",
    "Director": "Director of {}",
    "Manager": "{} Manager",
    "Specialist": "{} Specialist",
    "Student": "Student, {}",
}
FREE_DOMAINS = ("gmail.com", "outlook.com", "yahoo.com", "gmx.de")
FIRST_NAMES = (
    "Ada",
    "Ben",
    "Chen",
    "Dora",
    "Emil",
    "Fatima",
    "Goran",
    "Hanna",
    "Ivan",
    "Jana",
    "Kofi",
    "Lena",
)
LAST_NAMES = (
    "Abel",
    "Brown",
    "Costa",
    "Dubois",
    "Evans",
    "Fischer",
    "Gupta",
    "Hansen",
    "Ito",
    "Jansen",
    "Kim",
)
COMPANY_HEADS = (
    "Nord",
    "Blue",
    "Alpha",
    "Terra",
    "Vector",
    "Prime",
    "Delta",
    "Orion",
    "Summit",
    "Lake",
    "Iron",
)
COMPANY_TAILS = ("works", "tech", "soft", "group", "logic", "line", "trade", "systems", "labs", "partners")
NOTES = (
    "asked for a quote",
    "met at the booth",
    "wants to compare with the current vendor",
    "budget next quarter",
    "left a voicemail",
)
LOST_REASONS = ("No response", "No budget", "Bad timing", "Competitor", "Not a fit", "Bad data")
