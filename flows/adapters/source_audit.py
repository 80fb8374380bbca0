"""What the source views hold: volumes, freshness, and whether the labels make sense."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

import sql as sql_files
from flows.adapters.database import Database

OUTSIDE_PATH = {
    "without_lead": "of a lead that is not there",
    "before_creation": "before the lead was created",
    "on_first_day": "on the lead's first day",
    "without_opportunity": "without an opportunity",
    "dated_by_the_day": "dated by the day only",
    "of_deleted_leads": "of deleted or merged leads",
    "without_stage_before": "without a stage before",
    "without_touch_before": "without an activity before",
}


@dataclass(frozen=True)
class LabelAudit:
    """What conversions look like.

    Attributes
    ----------
    n_converted, n_mature : leads that converted, and those of them old enough to be learnt from.
    days_to_convert : 10 %, 50 % and 90 % quantiles of days from creation; empty without conversions.
    cohorts : month, n_leads, n_converted, base_rate (share within the horizon; None for months too young).
    outside : conversions outside the usual path, by how, in words; only what occurs.
    """

    n_converted: int
    n_mature: int
    days_to_convert: tuple[float, ...]
    cohorts: tuple[dict[str, Any], ...]
    outside: dict[str, int]


def volumes(database: Database) -> list[dict[str, Any]]:
    """Rows, newest time and newest arrival of every source view."""
    with database.connect("crm_reader") as connection:
        return _dicts(connection.execute(sql_files.load("audit/volumes.sql").encode()))


def label_audit(database: Database, now: datetime, horizon: timedelta, maturity: timedelta) -> LabelAudit:
    """Examine conversions as they stand.

    Parameters
    ----------
    now : the data's clock; horizon : length of the label's window; maturity : horizon and reporting lag.
    """
    with database.connect("crm_reader") as connection:
        cohorts = _dicts(
            connection.execute(sql_files.load("audit/cohorts.sql").encode(), {"horizon": horizon, "now": now})
        )
        found = _dicts(
            connection.execute(sql_files.load("audit/conversions.sql").encode(), {"before": now - maturity})
        )[0]
    return LabelAudit(
        found["n_converted"],
        found["n_mature"],
        tuple(round(float(days), 1) for days in found["days_to_convert"] or ()),
        tuple(cohorts),
        {words: found[name] for name, words in OUTSIDE_PATH.items() if found[name]},
    )


def _dicts(cursor: psycopg.Cursor[Any]) -> list[dict[str, Any]]:
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
