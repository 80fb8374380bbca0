"""`scoring.page`: what people were told; while a page is open its cause opens no other."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg.rows import dict_row

from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.monitors.trigger import Trigger

_SEEN = """
    UPDATE scoring.page SET last_seen = %(day)s, times_seen = times_seen + 1, words = %(words)s
    WHERE model_key = %(key)s AND cause = %(cause)s AND resolved_at IS NULL AND last_seen < %(day)s
"""
_OPEN = """
    INSERT INTO scoring.page (model_key, cause, monitor, words, first_seen, last_seen, details)
    VALUES (%(key)s, %(cause)s, %(monitor)s, %(words)s, %(day)s, %(day)s, %(details)s)
    ON CONFLICT (model_key, cause) WHERE resolved_at IS NULL DO NOTHING
"""
_RESOLVE_GONE = """
    UPDATE scoring.page SET resolved_at = clock_timestamp(), resolved_by = %(by)s
    WHERE model_key = %(key)s AND monitor = 'T1' AND resolved_at IS NULL AND NOT cause = ANY(%(standing)s)
"""
_RESOLVE_QUIET = """
    UPDATE scoring.page
    SET resolved_at = clock_timestamp(), resolved_by = 'quiet for ' || %(quiet)s || ' days'
    WHERE model_key = %(key)s AND monitor = ANY(%(monitors)s) AND resolved_at IS NULL
      AND last_seen <= %(day)s::date - %(quiet)s::integer
"""
_RESOLVE_FAILURES = """
    UPDATE scoring.page
    SET resolved_at = clock_timestamp(),
        resolved_by = %(by)s
    WHERE model_key = %(key)s AND monitor = %(monitor)s AND resolved_at IS NULL
"""
_OPEN_PAGES = """
    SELECT cause, words, first_seen, last_seen, times_seen FROM scoring.page
    WHERE model_key = %s AND resolved_at IS NULL ORDER BY last_seen DESC, page_id
"""
_UNDELIVERED = """
    SELECT page_id, cause, words, first_seen, delivered, resolved_at IS NOT NULL FROM scoring.page
    WHERE model_key = %(key)s AND NOT delivered ?& %(channels)s
      AND (resolved_at IS NULL
           OR (resolved_at > clock_timestamp() - make_interval(days => %(days)s)
               AND (resolved_by = %(ended)s OR resolved_by LIKE ANY(%(succeeded)s))))
    ORDER BY page_id
"""
_DELIVERED = "UPDATE scoring.page SET delivered = delivered || %s WHERE page_id = ANY(%s)"

FAILED_NIGHT, FAILED_RETRAINING = "night", "retraining"
"""In place of a monitor, on the page of a night or a retraining that failed."""
_ENDED, _SUCCEEDED = "the alarm has ended", "the {} of {} succeeded"
"""Who closes a page whose cause has ended by itself."""
QUIET_DAYS = 91
"""A fall that stays raises the alarm again within some weeks: a page of T2 or T3 stays open for 13."""
SENT_LATE_DAYS = 7
"""So long a page whose cause has ended is still sent where no channel could take it while it was open."""


@dataclass(frozen=True)
class Page:
    """What people are to be told; `delivered` says which channel took it, and when."""

    page_id: int
    cause: str
    words: str
    first_seen: date
    delivered: Mapping[str, str]
    has_ended: bool = False


def record_pages(
    connection: psycopg.Connection[Any], model_key: str, as_of: date, pages: Iterable[Trigger]
) -> list[Trigger]:
    """Open a page per cause, or count another night on the one that is open.

    Returns
    -------
    list of Trigger : those whose page was opened now.
    """
    opened = []
    for one in pages:
        values: dict[str, Any] = {
            "key": model_key,
            "cause": one.cause,
            "monitor": one.monitor,
            "words": one.reason,
        }
        values |= {"day": as_of, "details": json.dumps(one.to_dict(), allow_nan=False)}
        if connection.execute(_SEEN, values).rowcount == 0 and connection.execute(_OPEN, values).rowcount:
            opened.append(one)
    return opened


def count_standing(
    connection: psycopg.Connection[Any], model_key: str, as_of: date, standing: Iterable[Trigger]
) -> None:
    """Count another night on the open pages of alarms that stand but were paged before."""
    for one in standing:
        connection.execute(_SEEN, {"key": model_key, "cause": one.cause, "words": one.reason, "day": as_of})


def resolve_gone(connection: psycopg.Connection[Any], model_key: str, standing: Collection[str]) -> None:
    """Close the pages of T1 whose alarm stands no more."""
    values = {"key": model_key, "standing": list(standing), "by": _ENDED}
    connection.execute(_RESOLVE_GONE, values)


def resolve_quiet(connection: psycopg.Connection[Any], model_key: str, as_of: date) -> None:
    """Close the pages of T2 and T3 that nothing was added to for `QUIET_DAYS`."""
    values = {"key": model_key, "day": as_of, "quiet": QUIET_DAYS, "monitors": ["T2", "T3"]}
    connection.execute(_RESOLVE_QUIET, values)


def resolve_failures(connection: psycopg.Connection[Any], model_key: str, as_of: date, what: str) -> None:
    """Close the pages of nights, or of retrainings, that failed."""
    values = {"key": model_key, "monitor": what, "by": _SUCCEEDED.format(what, as_of)}
    connection.execute(_RESOLVE_FAILURES, values)


def open_pages(database: Database, model_key: str) -> list[dict[str, Any]]:
    """Return cause, words, first_seen, last_seen and times_seen of the open pages, the newest first."""
    with database.connect(ROLE) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_OPEN_PAGES, [model_key]).fetchall()


def undelivered(database: Database, model_key: str, channels: Collection[str]) -> list[Page]:
    """Return pages that one of the channels has not taken yet, oldest first.

    They are open, or ended by themselves in the last `SENT_LATE_DAYS`: who closes one by hand knows of it.
    """
    succeeded = [_SUCCEEDED.format(what, "%") for what in (FAILED_NIGHT, FAILED_RETRAINING)]
    values = {"key": model_key, "channels": list(channels), "days": SENT_LATE_DAYS}
    values |= {"ended": _ENDED, "succeeded": succeeded}
    with database.connect(ROLE) as connection:
        rows = connection.execute(_UNDELIVERED, values).fetchall()
    return [Page(*row) for row in rows]


def mark_delivered(database: Database, pages: Iterable[Page], channel: str, when: str) -> None:
    """Record that a channel has taken pages."""
    with database.connect(ROLE) as connection:
        ids = [page.page_id for page in pages]
        connection.execute(_DELIVERED, [json.dumps({channel: when}), ids])
