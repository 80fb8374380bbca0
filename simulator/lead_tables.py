"""Tables with the lives of leads: lead, lead_history, opportunity and individual (consent) of schema crm."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from simulator.columns import BoolArray, FloatArray, IntArray, arrival, ids, instants, labels, masked
from simulator.config import SimulationConfig
from simulator.dimension_tables import company_names
from simulator.dimensions import Dimensions
from simulator.drift import outage_share
from simulator.lifecycle import Fate
from simulator.population import Leads
from simulator.stages import CONVERTED, LOST, STAGES, StageMoves
from simulator.vocabulary import (
    COUNTRY,
    CURRENCY,
    DEPARTMENT,
    EMAIL_KIND,
    FIRST_NAMES,
    FREE_DOMAINS,
    INDUSTRY,
    LAST_NAMES,
    LOST_REASONS,
    NOTES,
    SENIORITY,
    SOURCE,
    TITLES,
    UNITS_PER_USD,
)

# An outcome reaches the replica within the reporting lag that users are told to expect.
LATE_STATUS_SHARE, LATE_STATUS_DAYS, LATEST_STATUS_DAYS = 0.06, 1.5, 6.0
SECOND = 1.0 / 86_400.0
CORRECTION_SHARE = 0.06
CORRECTION_DAYS = 12.0
TITLE_TEXTS = tuple(TITLES[level].format(area) for level in SENIORITY.values for area in DEPARTMENT.values)
N_DEPARTMENTS = len(DEPARTMENT.values)


@dataclass(frozen=True)
class Correction:
    """One corrected field per lead at most: when (infinity: never), and texts before it; -1 means missing."""

    at: FloatArray
    before: IntArray


def lead_tables(
    rng: np.random.Generator,
    config: SimulationConfig,
    world: Dimensions,
    leads: Leads,
    fate: Fate,
    moves: StageMoves,
) -> dict[str, pl.DataFrame]:
    """Rows of one block, as they had arrived at the clock; ordered by lead."""
    status = _status_history(rng, config, leads, moves)
    ended = np.full(len(leads), -1, dtype=np.int64)
    final = (moves.stage >= CONVERTED) & (status["_synced"] < config.n_days)
    ended[moves.lead[final]] = moves.stage[final]
    title = _titles(rng, config, leads, fate)
    employees = _employees(rng, leads, fate, config)
    return {
        "crm.lead": _lead(rng, config, world, leads, fate, status, ended, title, employees),
        "crm.lead_history": _history(config, leads, moves, status, title, employees),
        "crm.opportunity": _opportunities(rng, config, leads, fate, ended),
        "crm.individual": _individuals(rng, config, leads),
    }


def _status_history(
    rng: np.random.Generator, config: SimulationConfig, leads: Leads, moves: StageMoves
) -> dict[str, FloatArray]:
    """When status rows arrive, in days, and the last of them per lead."""
    synced = arrival(rng, moves.at, LATE_STATUS_SHARE, LATE_STATUS_DAYS, LATEST_STATUS_DAYS)
    known = synced < config.n_days
    current = np.zeros(len(leads))
    current[moves.lead[known]] = moves.stage[known]
    modified = leads.created.copy()
    modified[moves.lead[known]] = moves.at[known]
    return {"_synced": synced, "current": current, "modified": modified}


def _correction_times(rng: np.random.Generator, leads: Leads, fate: Fate, n_days: int) -> FloatArray:
    at = leads.created + rng.exponential(CORRECTION_DAYS, len(leads)) + 0.01
    happens = (rng.random(len(leads)) < CORRECTION_SHARE) & (at < np.minimum(fate.closed_at, n_days - 0.1))
    return np.where(happens, at, np.inf)


def _titles(rng: np.random.Generator, config: SimulationConfig, leads: Leads, fate: Fate) -> Correction:
    """The title written at creation (an index into TITLE_TEXTS), and when it was corrected."""
    n = len(leads)
    missing = (rng.random(n) < 0.12) | (rng.random(n) < outage_share(config, leads.created))
    at = _correction_times(rng, leads, fate, config.n_days)
    wrong = SENIORITY.draw(rng, n) * N_DEPARTMENTS + leads.department
    true = leads.seniority * N_DEPARTMENTS + leads.department
    written = np.where(np.isfinite(at), wrong, true)
    return Correction(np.where(written == true, np.inf, at), np.where(missing, -1, written))


def _employees(rng: np.random.Generator, leads: Leads, fate: Fate, config: SimulationConfig) -> Correction:
    """The size written at creation, and when it was corrected."""
    n = len(leads)
    at = _correction_times(rng, leads, fate, config.n_days)
    true = leads.employees.astype(np.int64)
    wrong = np.maximum(np.rint(true * rng.lognormal(0.0, 0.8, n)), 1).astype(np.int64)
    written = np.where(rng.random(n) < 0.25, -1, np.where(np.isfinite(at), wrong, true))
    return Correction(np.where(written == true, np.inf, at), written)


def _lead(
    rng: np.random.Generator,
    config: SimulationConfig,
    world: Dimensions,
    leads: Leads,
    fate: Fate,
    status: dict[str, FloatArray],
    ended: IntArray,
    title: Correction,
    employees: Correction,
) -> pl.DataFrame:
    n = len(leads)
    removed = fate.removed_at < config.n_days
    touched = np.maximum(status["modified"], np.where(np.isfinite(title.at), title.at, 0.0))
    touched = np.maximum(touched, np.where(np.isfinite(employees.at), employees.at, 0.0))
    modified = np.where(removed, fate.removed_at, touched)
    stage = status["current"].astype(np.int64)
    converted = ended == CONVERTED
    true_title = leads.seniority * N_DEPARTMENTS + leads.department
    title_now = np.where(np.isfinite(title.at), true_title, title.before)
    employees_now = np.where(np.isfinite(employees.at), leads.employees.astype(np.int64), employees.before)
    converted_at = instants(config, np.where(converted, fate.outcome_at, np.inf))
    master = np.where(removed & (fate.master >= 0), leads.number[fate.master], -1)
    return pl.DataFrame(
        {
            "id": ids("00Q", leads.number),
            **_person(leads),
            "company": _company(leads),
            "title": labels(TITLE_TEXTS, title_now),
            "email": _email(leads),
            "lead_source": labels(SOURCE.values, leads.source),
            "industry": masked(labels(INDUSTRY.values, leads.industry), rng.random(n) > 0.1),
            "country": masked(labels(COUNTRY.values, leads.country), rng.random(n) > 0.05),
            "number_of_employees": masked(pl.Series(employees_now), employees_now >= 0),
            "annual_revenue": _revenue(rng, world, leads),
            "description": labels(NOTES, np.where(rng.random(n) < 0.1, rng.integers(0, len(NOTES), n), -1)),
            "campaign_id": ids("701", leads.campaign),
            "matched_account_c": ids("001", leads.account),
            "owner_id": ids("005", leads.owner),
            "budget_c": labels(
                ("<10k", "10-50k", ">50k"), np.where(rng.random(n) < 0.3, leads.number % 3, -1)
            ),
            "preferred_language_c": labels(("en", "de", "fr"), np.searchsorted([0.7, 0.9], rng.random(n))),
            "status": labels(STAGES, stage),
            "rating": labels(("Cold", "Warm", "Hot"), np.searchsorted([3, 5], stage, side="right")),
            "is_converted": pl.Series(converted),
            "converted_date": converted_at.dt.date(),
            "converted_opportunity_id": ids("006", np.where(converted, leads.number, -1)),
            "lost_reason_c": labels(
                LOST_REASONS, np.where(ended == LOST, rng.integers(0, len(LOST_REASONS), n), -1)
            ),
            "last_activity_date": instants(config, modified).dt.date(),
            "has_opted_out_of_email": pl.Series(rng.random(n) < 0.03),
            "master_record_id": ids("00Q", master),
            "is_deleted": pl.Series(removed),
            "created_date": instants(config, leads.created),
            "last_modified_date": instants(config, modified),
            "system_modstamp": instants(config, modified),
            "_synced": instants(
                config, np.minimum(leads.created + rng.exponential(5.0 / 1440.0, n), config.n_days - SECOND)
            ),
        }
    )


def _person(leads: Leads) -> dict[str, pl.Series]:
    return {
        "first_name": labels(FIRST_NAMES, leads.person % len(FIRST_NAMES)),
        "last_name": labels(LAST_NAMES, leads.person // len(FIRST_NAMES) % len(LAST_NAMES)),
    }


def _company(leads: Leads) -> pl.Series:
    own = "Self-employed " + pl.Series(leads.person).cast(pl.String)
    known = leads.account >= 0
    return pl.select(
        pl.when(pl.Series(known)).then(company_names(np.maximum(leads.account, 0))).otherwise(own)
    ).to_series()


def _email(leads: Leads) -> pl.Series:
    """Addresses by kind of domain; a work address without an account gets a domain of its own."""
    number = np.where(leads.account >= 0, leads.account, 10_000_000 + leads.person)
    corporate = company_names(number).str.to_lowercase().str.replace(" ", "", literal=True) + ".com"
    free = labels(FREE_DOMAINS, leads.person % len(FREE_DOMAINS))
    domain = pl.select(
        pl.when(pl.Series(leads.email_kind == EMAIL_KIND.code("free")))
        .then(free)
        .when(pl.Series(leads.email_kind == EMAIL_KIND.code("education")))
        .then(pl.lit("university.edu"))
        .when(pl.Series(leads.email_kind == EMAIL_KIND.code("disposable")))
        .then(pl.lit("mailinator.com"))
        .otherwise(corporate)
    ).to_series()
    person = _person(leads)
    local = person["first_name"].str.to_lowercase() + "." + person["last_name"].str.to_lowercase()
    address = local + pl.Series(leads.person).cast(pl.String) + "@" + domain
    return masked(address, leads.email_kind != EMAIL_KIND.code("missing"))


def _revenue(rng: np.random.Generator, world: Dimensions, leads: Leads) -> pl.Series:
    known = (leads.account >= 0) & (rng.random(len(leads)) < 0.5)
    return masked(pl.Series(world.accounts.revenue[np.maximum(leads.account, 0)]), known)


def _history(
    config: SimulationConfig,
    leads: Leads,
    moves: StageMoves,
    status: dict[str, FloatArray],
    title: Correction,
    employees: Correction,
) -> pl.DataFrame:
    """Every change of a tracked field, one row each; the first status row has no old value."""
    true_title = leads.seniority * N_DEPARTMENTS + leads.department
    retitled, resized = np.flatnonzero(np.isfinite(title.at)), np.flatnonzero(np.isfinite(employees.at))
    before, after = employees.before[resized], leads.employees.astype(np.int64)[resized]
    text_before = masked(pl.Series(before).cast(pl.String), before >= 0)
    parts = [
        (moves.lead, "Status", labels(STAGES, moves.previous), labels(STAGES, moves.stage), moves.at),
        (
            retitled,
            "Title",
            labels(TITLE_TEXTS, title.before[retitled]),
            labels(TITLE_TEXTS, true_title[retitled]),
            title.at[retitled],
        ),
        (resized, "NumberOfEmployees", text_before, pl.Series(after).cast(pl.String), employees.at[resized]),
    ]
    synced = (status["_synced"], title.at[retitled] + 0.01, employees.at[resized] + 0.01)
    frames = [
        pl.DataFrame(
            {
                "lead_id": ids("00Q", leads.number[lead]),
                "field": pl.Series([field] * len(lead), dtype=pl.String),
                "old_value": old,
                "new_value": new,
                "created_by_id": ids("005", leads.owner[lead]),
                "created_date": instants(config, at),
                "_synced": instants(config, landed),
            }
        )
        for (lead, field, old, new, at), landed in zip(parts, synced, strict=True)
    ]
    frame = pl.concat(frames).filter(pl.Series(np.concatenate(synced) < config.n_days))
    # A lead has far fewer than 64 changes.
    nth = pl.int_range(pl.len()).over("lead_id")
    number = frame.select(pl.col("lead_id").str.slice(3).cast(pl.Int64) * 64 + nth).to_series().to_numpy()
    return frame.select(ids("017", number).alias("id"), pl.all())


def _opportunities(
    rng: np.random.Generator, config: SimulationConfig, leads: Leads, fate: Fate, ended: IntArray
) -> pl.DataFrame:
    n = len(leads)
    size = np.sqrt(np.maximum(leads.employees, 1.0))
    usd = np.clip(1_500.0 * size * rng.lognormal(0.0, 0.7, n), 500.0, 2e6)
    won: BoolArray = ended == CONVERTED
    amount = np.round(usd * np.array(UNITS_PER_USD)[leads.country], 0)[won]
    created = instants(config, fate.outcome_at[won])
    return pl.DataFrame(
        {
            "id": ids("006", leads.number[won]),
            "lead_id_c": ids("00Q", leads.number[won]),
            "account_id": ids("001", leads.account[won]),
            "amount": pl.Series(amount),
            "currency_iso_code": labels(CURRENCY, leads.country[won]),
            "created_date": created,
            "_synced": created,
        }
    )


def _individuals(rng: np.random.Generator, config: SimulationConfig, leads: Leads) -> pl.DataFrame:
    """Privacy settings, only of leads that set any."""
    chosen = np.flatnonzero(rng.random(len(leads)) < 0.03)
    draw = rng.random(len(chosen))
    at = leads.created[chosen] + rng.exponential(30.0, len(chosen))
    forget = np.where((draw > 0.93) & (at < config.n_days), at, np.inf)
    return pl.DataFrame(
        {
            "lead_id": ids("00Q", leads.number[chosen]),
            "has_opted_out_profiling": pl.Series(draw < 0.5),
            "has_opted_out_processing": pl.Series((draw > 0.4) & (draw < 0.6)),
            "should_forget_at": instants(config, forget),
            "_synced": instants(config, np.minimum(at, config.n_days - 0.001)),
        }
    )
