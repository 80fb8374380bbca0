"""What monitors remember between nights, in `scoring.monitor_state`, keyed by date.

A night reads the newest state of an earlier date and writes its own, so that a rerun starts where the first
run did and a night of the past changes nothing that came later.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import psycopg

from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE

State = Mapping[str, Any]

_LATEST = """
    SELECT DISTINCT ON (monitor) monitor, as_of_date, state FROM scoring.monitor_state
    WHERE model_key = %s AND as_of_date < %s AND monitor = ANY(%s)
    ORDER BY monitor, as_of_date DESC
"""
_SERIES = """
    SELECT as_of_date, state FROM scoring.monitor_state
    WHERE model_key = %s AND monitor = %s AND as_of_date >= %s AND as_of_date < %s
    ORDER BY as_of_date
"""
_SAVE = """
    INSERT INTO scoring.monitor_state (model_key, monitor, as_of_date, state) VALUES (%s, %s, %s, %s)
    ON CONFLICT (model_key, monitor, as_of_date)
    DO UPDATE SET state = EXCLUDED.state, recorded_at = clock_timestamp()
"""
_IS_NEWEST = """
    SELECT NOT EXISTS (SELECT FROM scoring.monitor_state WHERE model_key = %s AND as_of_date > %s)
"""


def load_states(
    database: Database, model_key: str, before: date, monitors: Iterable[str]
) -> dict[str, tuple[date, State]]:
    """Return date and state of each monitor as the newest night before a date left it."""
    with database.connect(ROLE) as connection:
        rows = connection.execute(_LATEST, [model_key, before, list(monitors)]).fetchall()
    return {monitor: (day, state) for monitor, day, state in rows}


def load_series(
    database: Database, model_key: str, monitor: str, since: date, before: date
) -> dict[date, State]:
    """Return every state of a monitor with a date in [since, before)."""
    with database.connect(ROLE) as connection:
        rows = connection.execute(_SERIES, [model_key, monitor, since, before]).fetchall()
    return dict(rows)


def save_states(
    connection: psycopg.Connection[Any], model_key: str, states: Iterable[tuple[str, date, State]]
) -> None:
    """Write states, each in place of what its monitor and date had."""
    rows = [(model_key, monitor, day, json.dumps(state, allow_nan=False)) for monitor, day, state in states]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_SAVE, rows)


def is_newest_night(database: Database, model_key: str, as_of: date) -> bool:
    """Whether no later night has been watched: only then are people told."""
    with database.connect(ROLE) as connection:
        row = connection.execute(_IS_NEWEST, [model_key, as_of]).fetchone()
    return bool(row and row[0])
