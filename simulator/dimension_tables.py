"""Tables of the simulated CRM that do not grow with leads' lives: teams, users, campaigns, accounts."""

from datetime import timedelta

import numpy as np
import polars as pl

from simulator.columns import FloatArray, ids, instants, labels, masked
from simulator.config import SimulationConfig
from simulator.dimensions import Accounts, Dimensions
from simulator.vocabulary import (
    COMPANY_HEADS,
    COMPANY_TAILS,
    COUNTRY,
    FIRST_NAMES,
    INDUSTRY,
    LAST_NAMES,
    SOURCE,
    TERRITORIES,
)

ACCOUNT_KINDS = ("Customer", "Competitor", "Prospect")


def dimension_tables(config: SimulationConfig, world: Dimensions) -> dict[str, pl.DataFrame]:
    """Tables `team`, `app_user`, `campaign` and `account` of schema crm."""
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(2,)))
    return {
        "crm.team": _teams(config),
        "crm.app_user": _users(config, world),
        "crm.campaign": _campaigns(config, world),
        "crm.account": _accounts(rng, config, world.accounts),
    }


def company_names(numbers: np.ndarray) -> pl.Series:
    """Made-up company names, one per account number."""
    head = labels(COMPANY_HEADS, numbers % len(COMPANY_HEADS))
    tail = labels(COMPANY_TAILS, numbers // len(COMPANY_HEADS) % len(COMPANY_TAILS))
    return head + tail + " " + pl.Series(numbers).cast(pl.String)


def _synced_at_start(config: SimulationConfig, n: int) -> pl.Series:
    return instants(config, np.zeros(n))


def _teams(config: SimulationConfig) -> pl.DataFrame:
    n = len(TERRITORIES)
    return pl.DataFrame(
        {
            "id": ids("0TM", np.arange(n)),
            "name": pl.Series([f"Sales {territory}" for territory in TERRITORIES]),
            "territory": pl.Series(TERRITORIES),
            "_synced": _synced_at_start(config, n),
        }
    )


def _users(config: SimulationConfig, world: Dimensions) -> pl.DataFrame:
    owners, n = world.owners, len(world.owners.team)
    number = np.arange(n)
    absent = [config.end + timedelta(days=int(days)) if days else None for days in owners.absent_days]
    first, last = labels(FIRST_NAMES, number % len(FIRST_NAMES)), labels(LAST_NAMES, number % len(LAST_NAMES))
    return pl.DataFrame(
        {
            "id": ids("005", number),
            "name": first + " " + last,
            "team_id": ids("0TM", owners.team),
            "is_active": pl.Series(owners.is_active),
            "daily_capacity_c": pl.Series(owners.daily_capacity),
            "absent_until_c": pl.Series(absent, dtype=pl.Date),
            "_synced": _synced_at_start(config, n),
        }
    )


def _campaigns(config: SimulationConfig, world: Dimensions) -> pl.DataFrame:
    campaigns, n = world.campaigns, len(world.campaigns.source)
    kind = labels(SOURCE.values, campaigns.source)
    start = instants(config, campaigns.start_day)
    return pl.DataFrame(
        {
            "id": ids("701", np.arange(n)),
            "name": kind + " " + start.dt.strftime("%Y-%m"),
            "type": kind,
            "start_date": start.dt.date(),
            "_synced": start,
        }
    )


def _accounts(rng: np.random.Generator, config: SimulationConfig, accounts: Accounts) -> pl.DataFrame:
    n = len(accounts.employees)
    number = np.arange(n)
    return pl.DataFrame(
        {
            "id": ids("001", number),
            "name": company_names(number),
            "parent_id": ids("001", accounts.parent),
            "industry": masked(labels(INDUSTRY.values, accounts.industry), rng.random(n) > 0.06),
            "number_of_employees": masked(_whole(accounts.employees), rng.random(n) > 0.15),
            "annual_revenue": masked(pl.Series(accounts.revenue), rng.random(n) > 0.3),
            "billing_country": labels(COUNTRY.values, accounts.country),
            "type": labels(ACCOUNT_KINDS, accounts.kind),
            "is_deleted": pl.Series(np.zeros(n, dtype=bool)),
            "created_date": _synced_at_start(config, n),
            "_synced": _synced_at_start(config, n),
        }
    )


def _whole(values: FloatArray) -> pl.Series:
    return pl.Series(values.astype(np.int64))
