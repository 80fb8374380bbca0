"""What a replay leaves behind in SQL."""

from datetime import date
from typing import Any

from flows.adapters import decisions, drift_table
from flows.adapters.database import Database


def drifts(database: Database, model_key: str, first: date, last: date) -> list[dict[str, Any]]:
    """Return what the monitors said from `first` to `last`, by monitor, subject and date."""
    return drift_table.course(database, model_key, last, (last - first).days + 1)


def decided(database: Database, model_key: str, limit: int) -> list[dict[str, Any]]:
    """Return the newest decisions about the champion as JSON-able values, oldest first."""
    return [one.as_dict() for one in reversed(decisions.newest(database, model_key, limit))]
