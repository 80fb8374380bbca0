"""Accounts, teams, owners and campaigns: drawn once, before any lead."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.config import SimulationConfig
from simulator.vocabulary import COUNTRY, INDUSTRY, SOURCE, TERRITORIES

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEADS_PER_ACCOUNT = 4
LEADS_PER_OWNER = 350
LEADS_PER_CAMPAIGN = 250
SIZE_EXPONENT = 0.75
MIN_EMPLOYEES, MAX_EMPLOYEES = 3.0, 400_000.0
ACCOUNT_SD = 0.5
OWNER_SD = 0.3
CAMPAIGN_SD = 0.3
CUSTOMER, COMPETITOR, PROSPECT = 0, 1, 2


@dataclass(frozen=True)
class Accounts:
    """One entry per account.

    `hidden` is its unseen pull towards conversion (log-odds), `reach` the cumulative share of leads.
    """

    employees: FloatArray
    revenue: FloatArray
    industry: IntArray
    country: IntArray
    parent: IntArray
    kind: IntArray
    gateway: NDArray[np.bool_]
    hidden: FloatArray
    reach: FloatArray


@dataclass(frozen=True)
class Owners:
    """One entry per owner; `effect` is what an owner adds to the log-odds, `diligence` a factor on calls."""

    team: IntArray
    is_active: NDArray[np.bool_]
    daily_capacity: IntArray
    absent_days: IntArray
    effect: FloatArray
    diligence: FloatArray


@dataclass(frozen=True)
class Campaigns:
    """One entry per campaign."""

    source: IntArray
    start_day: FloatArray
    effect: FloatArray


@dataclass(frozen=True)
class Dimensions:
    """Everything that leads refer to."""

    accounts: Accounts
    owners: Owners
    campaigns: Campaigns


def draw_dimensions(config: SimulationConfig) -> Dimensions:
    """Draw accounts, owners and campaigns; sizes follow from the number of leads."""
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(0,)))
    return Dimensions(_accounts(rng, config), _owners(rng, config), _campaigns(rng, config))


def _accounts(rng: np.random.Generator, config: SimulationConfig) -> Accounts:
    n = max(20, config.n_leads // LEADS_PER_ACCOUNT)
    employees = MIN_EMPLOYEES * (1.0 - rng.random(n)) ** (-1.0 / SIZE_EXPONENT)
    employees = np.floor(np.minimum(employees, MAX_EMPLOYEES))
    weight = np.sqrt(employees)
    # A child's parent is a larger account; the largest has none, so there are no cycles.
    by_size = np.argsort(-employees, kind="stable")
    rank = np.empty(n, dtype=np.int64)
    rank[by_size] = np.arange(n)
    candidate = by_size[np.floor(rng.random(n) ** 3 * rank).astype(np.int64)]
    has_parent = (rng.random(n) < 0.1) & (rank > 0)
    return Accounts(
        employees=employees,
        revenue=np.round(employees * rng.lognormal(np.log(160_000.0), 0.6, n), -3),
        industry=INDUSTRY.draw(rng, n),
        country=COUNTRY.draw(rng, n),
        parent=np.where(has_parent, candidate, -1),
        kind=np.searchsorted([0.06, 0.07], rng.random(n), side="right"),
        gateway=rng.random(n) < 0.12,
        hidden=rng.normal(0.0, ACCOUNT_SD, n),
        reach=np.cumsum(weight) / weight.sum(),
    )


def _owners(rng: np.random.Generator, config: SimulationConfig) -> Owners:
    n = int(np.clip(config.n_leads // LEADS_PER_OWNER, 6, 400))
    return Owners(
        team=np.arange(n) % len(TERRITORIES),
        is_active=rng.random(n) < 0.94,
        daily_capacity=rng.integers(15, 50, n),
        absent_days=np.where(rng.random(n) < 0.1, rng.integers(1, 30, n), 0),
        effect=rng.normal(0.0, OWNER_SD, n),
        diligence=rng.lognormal(0.0, 0.3, n),
    )


def _campaigns(rng: np.random.Generator, config: SimulationConfig) -> Campaigns:
    n = max(12, min(config.n_leads // LEADS_PER_CAMPAIGN, 600))
    return Campaigns(
        source=np.concatenate([np.arange(len(SOURCE.values)), SOURCE.draw(rng, n)])[:n],
        start_day=np.floor(rng.random(n) * config.n_days),
        effect=rng.normal(0.0, CAMPAIGN_SD, n),
    )
