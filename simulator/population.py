"""Leads of one block: what they are, and the hidden parameters that follow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator import drift
from simulator.config import SimulationConfig
from simulator.dimensions import Dimensions
from simulator.seasons import arrival_times, to_seconds
from simulator.truth import Hidden
from simulator.vocabulary import COUNTRY, DEPARTMENT, EMAIL_KIND, INDUSTRY, SENIORITY, SOURCE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CONVERSION_SHARE = 0.05
# Some conversions come out of the blue: this chance has nothing to do with the lead.
CHANCE_CONVERSION = 0.014
ATTRIBUTE_WEIGHT = 1.5
HIDDEN_SD = 5.0
TYPICAL_DELAY_DAYS = 14.0
DELAY_SD = 1.9
DELAY_SD_WITHIN = 0.7
DELAY_SD_BETWEEN = float(np.sqrt(DELAY_SD**2 - DELAY_SD_WITHIN**2))
LOSS_TYPICAL_DAYS = 22.0
LOSS_SD = 0.9
NEVER_LOST = 0.02
NO_ACCOUNT_SHARE = 0.15
GOOD_SIZE_LOG10 = 2.5
SIZE_PENALTY = 0.25
REFERENCE_SIZE = 40_000
TRIPLED_SOURCE = SOURCE.code("Content Syndication")


@dataclass(frozen=True)
class Leads:
    """A block of leads: arrays of one length; codes index vocabulary values, -1 means none.

    `number` is the lead's position in the whole simulation, `created` is in days since the start, `person`
    the first record of the same human, `chattiness` a lasting habit of touching more or less, unrelated to
    intent.
    """

    number: IntArray
    created: FloatArray
    source: IntArray
    campaign: IntArray
    seniority: IntArray
    department: IntArray
    account: IntArray
    employees: FloatArray
    industry: IntArray
    country: IntArray
    email_kind: IntArray
    owner: IntArray
    gateway: NDArray[np.bool_]
    chattiness: FloatArray
    person: IntArray
    hidden: Hidden

    def __len__(self) -> int:
        return len(self.number)


def draw_leads(
    rng: np.random.Generator, config: SimulationConfig, world: Dimensions, intercept: float, number: IntArray
) -> Leads:
    """Draw the leads with the given positions; `intercept` comes from `fit_intercept`."""
    n = len(number)
    quantile = (number + rng.random(n)) / config.n_leads
    created = to_seconds(arrival_times(config.start, config.n_days, quantile))
    shifted = rng.random(n) < drift.shifted_share(config, created)
    source = _source(rng, config, created, shifted)
    account = np.searchsorted(world.accounts.reach, rng.random(n)).clip(max=len(world.accounts.reach) - 1)
    email_kind = np.where(shifted & (rng.random(n) < 0.5), EMAIL_KIND.code("free"), EMAIL_KIND.draw(rng, n))
    no_account = rng.random(n) < np.where(email_kind == 0, 0.03, 2.2 * NO_ACCOUNT_SHARE)
    own_employees = np.floor(10.0 ** rng.uniform(0.3, 3.0, n))
    low = rng.choice([SENIORITY.code("Specialist"), SENIORITY.code("Student")], n)
    leads = Leads(
        number=number,
        created=created,
        source=source,
        campaign=_campaign(rng, world, source, created),
        seniority=np.where(shifted & (rng.random(n) < 0.6), low, SENIORITY.draw(rng, n)),
        department=DEPARTMENT.draw(rng, n),
        account=np.where(no_account, -1, account),
        employees=np.where(no_account, own_employees, world.accounts.employees[account]),
        industry=np.where(no_account, INDUSTRY.draw(rng, n), world.accounts.industry[account]),
        country=np.where(no_account, COUNTRY.draw(rng, n), world.accounts.country[account]),
        email_kind=email_kind,
        owner=rng.integers(0, len(world.owners.team), n),
        gateway=~no_account & (email_kind == 0) & world.accounts.gateway[account],
        chattiness=rng.normal(0.0, 1.0, n),
        person=number.copy(),
        hidden=_no_hidden(n),
    )
    return with_hidden(rng, config, world, intercept, leads)


def with_hidden(
    rng: np.random.Generator, config: SimulationConfig, world: Dimensions, intercept: float, leads: Leads
) -> Leads:
    """The same leads with hidden parameters drawn around what their attributes mean."""
    n = len(leads)
    account_pull = np.where(leads.account >= 0, world.accounts.hidden[leads.account], 0.0)
    prior = drift.prior_shift(config, leads.created)
    by_chance = CHANCE_CONVERSION * np.exp(prior)
    log_odds = (
        intercept
        + drift.meaning(config, leads.created) * ATTRIBUTE_WEIGHT * attribute_effect(world, leads)
        + prior
        + account_pull
        + rng.normal(0.0, HIDDEN_SD, n)
    )
    typical = np.log(TYPICAL_DELAY_DAYS) + drift.delay_shift(config, leads.created)
    hidden = Hidden(
        p_convert=by_chance + (1.0 - by_chance) / (1.0 + np.exp(-log_odds)),
        delay_mu=typical + rng.normal(0.0, DELAY_SD_BETWEEN, n),
        delay_sigma=np.full(n, DELAY_SD_WITHIN),
        loss_mu=np.full(n, np.log(LOSS_TYPICAL_DAYS)),
        loss_sigma=np.full(n, LOSS_SD),
        never_lost=np.full(n, NEVER_LOST),
    )
    return Leads(**{**leads.__dict__, "hidden": hidden})


def attribute_effect(world: Dimensions, leads: Leads) -> FloatArray:
    """What visible attributes add to the log-odds of conversion: mid-sized companies are the best."""
    size = SIZE_PENALTY * (1.0 - np.abs(np.log10(leads.employees + 1.0) - GOOD_SIZE_LOG10))
    campaign = np.where(leads.campaign >= 0, world.campaigns.effect[leads.campaign], 0.0)
    return (
        SOURCE.effect[leads.source]
        + SENIORITY.effect[leads.seniority]
        + DEPARTMENT.effect[leads.department]
        + INDUSTRY.effect[leads.industry]
        + COUNTRY.effect[leads.country]
        + EMAIL_KIND.effect[leads.email_kind]
        + world.owners.effect[leads.owner]
        + size
        + campaign
    )


def fit_intercept(config: SimulationConfig, world: Dimensions) -> float:
    """The intercept at which leads of a world without drift convert with CONVERSION_SHARE, by bisection."""
    calm = SimulationConfig(n_leads=REFERENCE_SIZE, months=config.months, end=config.end, seed=config.seed)
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(1,)))
    leads = draw_leads(rng, calm, world, 0.0, np.arange(REFERENCE_SIZE))
    pulled = (leads.hidden.p_convert - CHANCE_CONVERSION) / (1.0 - CHANCE_CONVERSION)
    odds = pulled / (1.0 - pulled)
    target = (CONVERSION_SHARE - CHANCE_CONVERSION) / (1.0 - CHANCE_CONVERSION)
    low, high = -20.0, 5.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        share = float(np.mean(odds / (odds + np.exp(-middle))))
        low, high = (middle, high) if share < target else (low, middle)
    return 0.5 * (low + high)


def _source(
    rng: np.random.Generator, config: SimulationConfig, created: FloatArray, shifted: NDArray[np.bool_]
) -> IntArray:
    """Sources by share; a shifted lead comes from a poor one, and an outage triples one source."""
    n = len(created)
    source = np.where(
        shifted, rng.choice([SOURCE.code("Paid Social"), TRIPLED_SOURCE], n), SOURCE.draw(rng, n)
    )
    share = SOURCE.share[TRIPLED_SOURCE]
    extra = np.where(drift.outage_share(config, created) > 0.0, 2.0 * share / (1.0 - share), 0.0)
    return np.where(rng.random(n) < extra, TRIPLED_SOURCE, source)


def _campaign(rng: np.random.Generator, world: Dimensions, source: IntArray, created: FloatArray) -> IntArray:
    """A campaign of the lead's source, or none: a third, and all that would be older than their campaign."""
    chosen = np.full(len(source), -1, dtype=np.int64)
    draw = rng.random(len(source))
    for code in range(len(SOURCE.values)):
        options = np.flatnonzero(world.campaigns.source == code)
        rows = np.flatnonzero(source == code)
        chosen[rows] = options[np.floor(draw[rows] * len(options)).astype(np.int64)]
    too_early = world.campaigns.start_day[chosen] > created
    return np.where(too_early | (rng.random(len(source)) < 1.0 / 3.0), -1, chosen)


def _no_hidden(n: int) -> Hidden:
    nothing = np.full(n, np.nan)
    return Hidden(nothing, nothing, nothing, nothing, nothing, nothing)
