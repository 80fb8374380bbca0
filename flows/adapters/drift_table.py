"""`scoring.report_drift`: every night's readings, and their course over time."""

import json
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.monitors.reading import Reading
from flows.monitors.trigger import action_words

COURSE_DAYS = 364

_DELETE = "DELETE FROM scoring.report_drift WHERE model_key = %s AND as_of_date = %s AND monitor = ANY(%s)"
_INSERT = """
    INSERT INTO scoring.report_drift (model_key, as_of_date, monitor, subject, statistic, threshold,
                                      evidence, effect, fired, action, words, details)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_ALARMS = """
    SELECT as_of_date, monitor, subject, statistic, threshold, evidence, fired, effect, words
    FROM scoring.report_drift
    WHERE model_key = %s AND as_of_date > %s AND as_of_date <= %s AND fired AND monitor IN ('T2', 'T3')
    ORDER BY as_of_date DESC, monitor DESC, subject
"""
_ACT = """
    UPDATE scoring.report_drift SET action = %s
    WHERE model_key = %s AND as_of_date = %s AND monitor = %s AND subject = %s
"""
_COURSE = """
    SELECT as_of_date, monitor, subject, statistic, threshold, evidence, effect, fired, action, words
    FROM scoring.report_drift
    WHERE model_key = %s AND as_of_date > %s AND as_of_date <= %s
    ORDER BY monitor, subject, as_of_date
"""


def replace_readings(
    connection: psycopg.Connection[Any],
    model_key: str,
    as_of: date,
    monitors: Sequence[str],
    readings: Iterable[Reading],
) -> None:
    """Write what `monitors` said on a date, in place of what they said of it before."""
    connection.execute(_DELETE, [model_key, as_of, list(monitors)])
    rows = [_row(model_key, as_of, one) for one in readings]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)


def course(database: Database, model_key: str, as_of: date, days: int = COURSE_DAYS) -> list[dict[str, Any]]:
    """Return the readings of the last `days` days up to a date, by monitor, subject and date."""
    with database.connect(ROLE) as connection, connection.cursor(row_factory=dict_row) as cursor:
        since = as_of - timedelta(days=days)
        return cursor.execute(_COURSE, [model_key, since, as_of]).fetchall()


def alarms(database: Database, model_key: str, after: date, as_of: date) -> list[tuple[date, Reading]]:
    """Return the alarms of T2 and T3 of (after, as_of], the newest first."""
    with database.connect(ROLE) as connection:
        rows = connection.execute(_ALARMS, [model_key, after, as_of]).fetchall()
    return [(day, Reading(*values)) for day, *values in rows]


def write_actions(database: Database, model_key: str, outcomes: Iterable[tuple[date, Reading, str]]) -> None:
    """Write what became of readings in place of what they asked for."""
    rows = [(action, model_key, day, one.trigger, one.subject) for day, one, action in outcomes]
    if rows:
        with database.connect(ROLE) as connection, connection.cursor() as cursor:
            cursor.executemany(_ACT, rows)


def _row(model_key: str, as_of: date, one: Reading) -> tuple[Any, ...]:
    return (
        model_key,
        as_of,
        one.trigger,
        one.subject,
        one.statistic,
        one.threshold,
        one.evidence,
        one.effect,
        one.is_alarm,
        action_words(one),
        one.words,
        json.dumps(dict(one.details), allow_nan=False),
    )
