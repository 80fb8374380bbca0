"""Contracts of the staged frames: what a row must satisfy to be believed."""

from datetime import UTC, datetime
from typing import Any

import dataframely as dy

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)


def _instant(**rules: Any) -> Any:
    return dy.Datetime(time_unit="us", time_zone="UTC", **rules)


def _known_instant() -> Any:
    return _instant(nullable=False, min=EARLIEST)


class LeadFrame(dy.Schema):
    """One row per lead."""

    lead_id = dy.String(nullable=False)
    created_at = _known_instant()
    known_at = _known_instant()
    owner_id = dy.String(nullable=True)
    account_id = dy.String(nullable=True)
    lead_source = dy.String(nullable=True)
    title = dy.String(nullable=True)
    industry = dy.String(nullable=True)
    country = dy.String(nullable=True)
    employee_count = dy.Float64(nullable=True)
    annual_revenue = dy.Float64(nullable=True)
    email_domain = dy.String(nullable=True)
    removed_at = _instant(nullable=True)
    attrs = dy.String(nullable=True)


class ActivityFrame(dy.Schema):
    """One row per activity and lead."""

    activity_id = dy.String(nullable=False)
    lead_id = dy.String(nullable=False)
    occurred_at = _known_instant()
    known_at = _known_instant()
    activity_type = dy.String(nullable=False)
    direction = dy.String(nullable=True)
    is_bot = dy.Bool(nullable=True)
    duration_seconds = dy.Float64(nullable=True)
    url_class = dy.String(nullable=True)
    campaign_id = dy.String(nullable=True)
    outcome = dy.String(nullable=True)


class StageFrame(dy.Schema):
    """One row per lead, stage and time of entry."""

    lead_id = dy.String(nullable=False)
    stage = dy.String(nullable=False)
    entered_at = _known_instant()
    known_at = _known_instant()


class AccountFrame(dy.Schema):
    """One row per account."""

    account_id = dy.String(nullable=False)
    parent_id = dy.String(nullable=True)
    industry = dy.String(nullable=True)
    employee_count = dy.Float64(nullable=True)
    annual_revenue = dy.Float64(nullable=True)
    country = dy.String(nullable=True)
    is_customer = dy.Bool(nullable=True)
    is_competitor = dy.Bool(nullable=True)


class OutcomeFrame(dy.Schema):
    """At most two rows per lead: its first conversion and its first other outcome."""

    lead_id = dy.String(nullable=False)
    outcome = dy.String(nullable=False)
    outcome_at = _known_instant()
    known_at = _known_instant()
    is_conversion = dy.Bool(nullable=False)
    amount = dy.Float64(nullable=True)
    currency = dy.String(nullable=True)
    opportunity_id = dy.String(nullable=True)


class OwnerFrame(dy.Schema):
    """One row per owner."""

    owner_id = dy.String(nullable=False)
    team_id = dy.String(nullable=True)
    territory = dy.String(nullable=True)
    is_active = dy.Bool(nullable=True)
    daily_capacity = dy.Int64(nullable=True)
    absent_until = dy.Date(nullable=True)


class ConsentFrame(dy.Schema):
    """One row per lead with a recorded choice."""

    lead_id = dy.String(nullable=False)
    opted_out_email = dy.Bool(nullable=False)
    opted_out_profiling = dy.Bool(nullable=False)
    opted_out_processing = dy.Bool(nullable=False)


class FieldHistoryFrame(dy.Schema):
    """One row per entity, field and start of validity."""

    entity = dy.String(nullable=False)
    entity_id = dy.String(nullable=False)
    field = dy.String(nullable=False)
    value = dy.String(nullable=True)
    valid_from = _known_instant()
    valid_to = _instant(nullable=True)


FRAMES: dict[str, type[dy.Schema]] = {
    "lead": LeadFrame,
    "activity": ActivityFrame,
    "stage": StageFrame,
    "account": AccountFrame,
    "outcome": OutcomeFrame,
    "owner": OwnerFrame,
    "consent": ConsentFrame,
    "field_history": FieldHistoryFrame,
}

# Columns that tell the rows of each frame apart.
KEYS: dict[str, tuple[str, ...]] = {
    "lead": ("lead_id",),
    "activity": ("activity_id", "lead_id"),
    "stage": ("lead_id", "stage", "entered_at"),
    "account": ("account_id",),
    "outcome": ("lead_id", "is_conversion"),
    "owner": ("owner_id",),
    "consent": ("lead_id",),
    "field_history": ("entity", "entity_id", "field", "valid_from"),
}

# The column that names a row of each frame to people.
SAMPLED = {name: key[0] for name, key in KEYS.items()} | {"field_history": "entity_id"}
