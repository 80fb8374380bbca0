"""Small random CRMs with everything that goes wrong in time: late rows, midnights, bursts and moves."""

from datetime import UTC, date, datetime, timedelta

import hypothesis.strategies as st
import numpy as np
import polars as pl

from features.sources import SCHEMAS, Sources
from features.touches import ACTIVITY_TYPES

START = date(2025, 1, 1)
DAYS = 200
TYPES = (*ACTIVITY_TYPES[:-1], "carrier pigeon", "email_click", "email_open", "email_sent", "email_reply")
ATTR_KINDS = {"visits": "numeric", "city": "category", "never": "category"}


def at(days: float) -> datetime:
    """`days` after the start of the world."""
    return datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=days)


def day(days: int) -> date:
    return START + timedelta(days=days)


def frame(name: str, rows: list[dict]) -> pl.DataFrame:
    """Rows as the frame `name`; columns that a row lacks are null."""
    return pl.DataFrame(
        [{column: row.get(column) for column in SCHEMAS[name]} for row in rows], SCHEMAS[name]
    )


def sources(**rows: list[dict]) -> Sources:
    return Sources.from_frames({name: frame(name, listed) for name, listed in rows.items()})


def worlds(n_leads: int = 8, n_activities: int = 40) -> st.SearchStrategy[Sources]:
    sizes = st.integers(1, n_leads), st.integers(0, n_activities)
    return st.builds(make_world, st.integers(0, 10**6), *sizes)


def make_world(seed: int, n_leads: int, n_activities: int) -> Sources:
    rng = np.random.default_rng(seed)
    born = {f"L{i}": _moment(rng, 0, DAYS) for i in range(n_leads)}
    leads = list(born)
    return sources(
        lead=[_lead(rng, lead_id, created_at) for lead_id, created_at in born.items()],
        activity=[row for i in range(n_activities) for row in _activities(rng, i, _pick(rng, leads))],
        stage=[_stage(rng, _pick(rng, leads)) for _ in range(3 * n_leads)],
        outcome=[row for lead_id in leads for row in _outcomes(rng, lead_id, born[lead_id])],
        account=[_account(rng, i) for i in range(4)],
        field_history=[_history(rng, _pick(rng, leads)) for _ in range(2 * n_leads)],
    )


def _pick(rng: np.random.Generator, values):
    return values[rng.integers(len(values))]


def _moment(rng: np.random.Generator, low: float, high: float) -> datetime:
    """A time, often exactly midnight: that is where windows go wrong."""
    days = rng.uniform(low, high)
    return at(int(days)) if rng.random() < 0.3 else at(0) + timedelta(seconds=round(days * 86_400))


def _late(rng: np.random.Generator, moment: datetime) -> datetime:
    return moment + timedelta(days=float(rng.exponential(15))) if rng.random() < 0.3 else moment


def _lead(rng: np.random.Generator, lead_id: str, created_at: datetime) -> dict:
    return {
        "lead_id": lead_id,
        "created_at": created_at,
        "known_at": _late(rng, created_at),
        "owner_id": _pick(rng, ["O1", "O2", None]),
        "account_id": _pick(rng, ["A0", "A1", "A2", "A9", None]),
        "lead_source": _pick(rng, ["web", "fair", None]),
        "title": _pick(rng, ["CEO", "Head of Sales", "Software Engineer", "", None]),
        "industry": _pick(rng, ["steel", None]),
        "employee_count": _pick(rng, [5.0, 100.0, float("inf"), None]),
        "email_domain": _pick(rng, ["gmail.com", "acme.com", "mit.edu", None]),
        "removed_at": _pick(rng, [None, None, None, _moment(rng, 0, DAYS)]),
        "attrs": _pick(rng, [None, "{}", '{"visits": 3, "city": "Graz"}', '{"visits": "x", "city": null}']),
    }


def _activities(rng: np.random.Generator, number: int, lead_id: str) -> list[dict]:
    """One touch, or a burst of clicks a few seconds apart of which some arrive late."""
    occurred_at, size = _moment(rng, 0, DAYS), int(rng.integers(2, 6)) if rng.random() < 0.2 else 1
    kind = _pick(rng, ["email_click", "email_open"]) if size > 1 else _pick(rng, TYPES)
    times = [occurred_at + timedelta(seconds=int(s)) for s in np.sort(rng.integers(0, 15, size))]
    return [
        {
            "activity_id": f"{number}-{place}",
            "lead_id": lead_id,
            "occurred_at": time,
            "known_at": _late(rng, time),
            "activity_type": kind,
            "direction": _pick(rng, ["inbound", "outbound", None]),
            "is_bot": _pick(rng, [True, False, False, False, None]),
        }
        for place, time in enumerate(times)
    ]


def _stage(rng: np.random.Generator, lead_id: str) -> dict:
    entered_at = _moment(rng, 0, DAYS)
    return {
        "lead_id": lead_id,
        "stage": _pick(rng, ["new", "working", "qualified"]),
        "entered_at": entered_at,
        "known_at": _late(rng, entered_at),
    }


def _outcomes(rng: np.random.Generator, lead_id: str, created_at: datetime) -> list[dict]:
    """A conversion, a loss, both in any order, or neither yet."""
    return [
        _outcome(rng, lead_id, created_at, is_conversion)
        for is_conversion, share in ((True, 0.35), (False, 0.25))
        if rng.random() < share
    ]


def _outcome(rng: np.random.Generator, lead_id: str, created_at: datetime, is_conversion: bool) -> dict:
    outcome_at = created_at + timedelta(days=float(rng.exponential(40)))
    return {
        "lead_id": lead_id,
        "outcome": "converted" if is_conversion else "lost",
        "outcome_at": outcome_at,
        "known_at": _late(rng, outcome_at),
        "is_conversion": is_conversion,
    }


def _account(rng: np.random.Generator, number: int) -> dict:
    return {
        "account_id": f"A{number}",
        "parent_id": _pick(rng, [None, "A0", "A1", "A2"]),
        "industry": _pick(rng, ["steel", "food"]),
        "employee_count": float(rng.integers(1, 1000)),
        "is_competitor": bool(rng.random() < 0.1),
    }


def _history(rng: np.random.Generator, lead_id: str) -> dict:
    field, values = _pick(
        rng,
        [
            ("account_id", ["A0", "A1"]),
            ("owner_id", ["O1", "O3"]),
            ("title", ["CTO"]),
            ("employee_count", ["7", "?"]),
        ],
    )
    valid_from = _moment(rng, 0, DAYS)
    return {
        "entity": "lead",
        "entity_id": lead_id,
        "field": field,
        "value": _pick(rng, values),
        "valid_from": valid_from,
        "valid_to": _pick(rng, [None, None, _moment(rng, 0, DAYS), valid_from + timedelta(days=20)]),
    }
