"""What a replay leaves behind in SQL, and what it must not: scores in force."""

from datetime import date
from typing import Any

import sqlalchemy as sa

from flows.adapters import decisions, drift_table
from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.adapters.score_tables import score_pointer


def withdraw(database: Database, model_key: str) -> None:
    """Take a replay's scores out of force: they stay in the history, and salespeople never see them."""
    with database.begin(ROLE) as connection:
        connection.execute(sa.delete(score_pointer).where(score_pointer.c.model_key == model_key))


def drifts(database: Database, model_key: str, first: date, last: date) -> list[dict[str, Any]]:
    """Return what the monitors said from `first` to `last`, by monitor, subject and date."""
    return drift_table.course(database, model_key, last, (last - first).days + 1)


def decided(database: Database, model_key: str, limit: int) -> list[dict[str, Any]]:
    """Return the newest decisions about the champion as JSON-able values, oldest first."""
    return [one.as_dict() for one in reversed(decisions.newest(database, model_key, limit))]
