"""A CRM in memory whose wins arrive late: every lead that converts came by the web."""

import numpy as np

from features.sources import Sources
from flows.adapters.settings import Settings
from tests.features.worlds import at, sources

SETTINGS = Settings(database_url=None, horizon_days=60, reporting_lag_days=10)
"""Maturity in whole weeks, so that snapshots counted back from any week fall on the same days."""


def crm(n: int, **lead: list) -> Sources:
    """Leads of 290 days, three in ten won, some outcomes known weeks late; `lead` adds columns."""
    rng = np.random.default_rng(3)
    created, wins = rng.uniform(0, 290, n), rng.exponential(25, n)
    is_won, lag = rng.random(n) < 0.3, rng.exponential(10, n) * (rng.random(n) < 0.3)
    lost = rng.exponential(30, n)
    return sources(
        lead=[
            {
                "lead_id": f"L{i:03}",
                "created_at": at(c),
                "known_at": at(c),
                "lead_source": "web" if w else "fair",
                **{name: values[i] for name, values in lead.items()},
            }
            for i, (c, w) in enumerate(zip(created, is_won, strict=True))
        ],
        outcome=[
            {
                "lead_id": f"L{i:03}",
                "outcome_at": at(created[i] + (wins[i] if is_won[i] else lost[i])),
                "known_at": at(created[i] + (wins[i] if is_won[i] else lost[i]) + lag[i]),
                "is_conversion": bool(is_won[i]),
            }
            for i in range(n)
        ],
    )
