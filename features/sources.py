"""The staged frames features are made of, and the one door through which they are seen: `as_of`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timezone
from typing import Any

import polars as pl

Datetime = pl.Datetime("us", "UTC")

SCHEMAS: dict[str, dict[str, Any]] = {
    "lead": {
        "lead_id": pl.String,
        "created_at": Datetime,
        "known_at": Datetime,
        "owner_id": pl.String,
        "account_id": pl.String,
        "lead_source": pl.String,
        "title": pl.String,
        "industry": pl.String,
        "country": pl.String,
        "employee_count": pl.Float64,
        "annual_revenue": pl.Float64,
        "email_domain": pl.String,
        "removed_at": Datetime,
        "attrs": pl.String,
    },
    "activity": {
        "activity_id": pl.String,
        "lead_id": pl.String,
        "occurred_at": Datetime,
        "known_at": Datetime,
        "activity_type": pl.String,
        "direction": pl.String,
        "is_bot": pl.Boolean,
        "duration_seconds": pl.Float64,
        "url_class": pl.String,
        "campaign_id": pl.String,
        "outcome": pl.String,
    },
    "stage": {"lead_id": pl.String, "stage": pl.String, "entered_at": Datetime, "known_at": Datetime},
    "account": {
        "account_id": pl.String,
        "parent_id": pl.String,
        "industry": pl.String,
        "employee_count": pl.Float64,
        "annual_revenue": pl.Float64,
        "country": pl.String,
        "is_customer": pl.Boolean,
        "is_competitor": pl.Boolean,
    },
    "outcome": {
        "lead_id": pl.String,
        "outcome": pl.String,
        "outcome_at": Datetime,
        "known_at": Datetime,
        "is_conversion": pl.Boolean,
        "amount": pl.Float64,
        "currency": pl.String,
        "opportunity_id": pl.String,
    },
    "owner": {
        "owner_id": pl.String,
        "team_id": pl.String,
        "territory": pl.String,
        "is_active": pl.Boolean,
        "daily_capacity": pl.Int64,
        "absent_until": pl.Date,
    },
    "consent": {
        "lead_id": pl.String,
        "opted_out_email": pl.Boolean,
        "opted_out_profiling": pl.Boolean,
        "opted_out_processing": pl.Boolean,
    },
    "field_history": {
        "entity": pl.String,
        "entity_id": pl.String,
        "field": pl.String,
        "value": pl.String,
        "valid_from": Datetime,
        "valid_to": Datetime,
    },
}


@dataclass(frozen=True)
class Sources:
    """Staged frames, one per name of `SCHEMAS`; docs/architecture.md gives their grain.

    Raises
    ------
    ValueError
        A column is missing.
    TypeError
        A column has another type than its schema says.
    """

    lead: pl.DataFrame
    activity: pl.DataFrame
    stage: pl.DataFrame
    account: pl.DataFrame
    outcome: pl.DataFrame
    owner: pl.DataFrame
    consent: pl.DataFrame
    field_history: pl.DataFrame

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))

    @classmethod
    def from_frames(cls, frames: Mapping[str, pl.DataFrame]) -> "Sources":
        """Conform each frame to its schema; a name that is absent becomes an empty frame."""
        unknown = sorted(set(frames) - set(SCHEMAS))
        if unknown:
            raise ValueError(f"unknown source frame {unknown[0]!r}; the frames are {', '.join(SCHEMAS)}")
        return cls(**{name: conform(name, frames.get(name, empty_frame(name))) for name in SCHEMAS})


def empty_frame(name: str) -> pl.DataFrame:
    """Return the frame `name` with its columns and no rows."""
    return pl.DataFrame(schema=SCHEMAS[name])


def empty() -> Sources:
    """Return sources without a single row."""
    return Sources.from_frames({})


def conform(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Select the columns of `SCHEMAS[name]` and cast each to its type.

    Raises
    ------
    ValueError
        A column is missing, or a time column is naive: whose midnight would it be?
    TypeError
        A value cannot be cast; the message names frame, column and both types.
    """
    return pl.DataFrame([_conform_column(name, frame, column) for column in SCHEMAS[name]])


def as_of(sources: Sources, t: date) -> Sources:
    """Drop everything not visible at midnight UTC at the start of `t`: the only door to data.

    Rows arrive at `known_at` and are visible when it lies before `t`. A removal or the end of a field's value
    that happens at `t` or later has not happened yet and becomes null. Frames without time (account, owner,
    consent) pass unchanged.
    """
    at = midnight(t)
    visible = pl.col("known_at") < at
    return Sources(
        lead=sources.lead.filter(visible).with_columns(_null_from("removed_at", at)),
        activity=sources.activity.filter(visible),
        stage=sources.stage.filter(visible),
        account=sources.account,
        outcome=sources.outcome.filter(visible),
        owner=sources.owner,
        consent=sources.consent,
        field_history=sources.field_history.filter(pl.col("valid_from") < at).with_columns(
            _null_from("valid_to", at)
        ),
    )


def midnight(day: date) -> datetime:
    """Return the instant at which `day` starts in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)  # noqa: UP017


def _null_from(column: str, at: datetime) -> pl.Expr:
    return pl.when(pl.col(column) < at).then(pl.col(column)).alias(column)


def _check(name: str, frame: pl.DataFrame) -> None:
    for column, dtype in SCHEMAS[name].items():
        if column not in frame.columns:
            raise ValueError(_missing(name, column))
        if frame.schema[column] != dtype:
            raise TypeError(
                f"{name}.{column} is {frame.schema[column]}, expected {dtype!r}; "
                "pass the frame through features.sources.conform"
            )


def _missing(name: str, column: str) -> str:
    return (
        f"{name}.{column} is missing; sql/staging/stg_{name}.sql must return it (NULL where the CRM has none)"
    )


def _conform_column(name: str, frame: pl.DataFrame, column: str) -> pl.Series:
    if column not in frame.columns:
        raise ValueError(_missing(name, column))
    values, dtype = frame[column], SCHEMAS[name][column]
    if dtype == Datetime and isinstance(values.dtype, pl.Datetime):
        if values.dtype.time_zone is None:
            raise ValueError(
                f"{name}.{column} holds naive times; make the column timestamptz or state its zone"
            )
        return values.dt.convert_time_zone("UTC").cast(dtype)
    try:
        return values.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise TypeError(f"{name}.{column} is {values.dtype} and cannot become {dtype!r}: {error}") from error
