"""Publication of a run's scores: COPY out of sight, checks, and one pointer moved; or nothing at all."""

import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import polars as pl
import psycopg
import sqlalchemy as sa

from flows.adapters import score_checks, score_tables
from flows.adapters.copy_frame import copy_frame
from flows.adapters.database import Database, DatabaseUnavailableError
from flows.adapters.score_runs import ROLE, Run
from flows.adapters.score_storage import put_on_record, tidy

LOGGER = logging.getLogger(__name__)

Night = tuple[int, date]  # a published run and its date


class PublicationRefusedError(RuntimeError):
    """The scores are not fit to publish; those in force are untouched."""


class PublicationFailedError(RuntimeError):
    """The database could not take the scores; those in force are untouched and a rerun is safe."""


@dataclass(frozen=True)
class Publication:
    """What was published: rows, the checks that passed, and seconds spent in each step."""

    run_id: int
    row_count: int
    checks: list[str]
    seconds: dict[str, float] = field(default_factory=dict)


def publish(
    database: Database,
    run: Run,
    scores: pl.DataFrame,
    expected_rows: int | None = None,
    limits: score_checks.Limits = score_checks.Limits(),  # noqa: B008 (frozen)
    make_current: bool = True,
    also: Sequence[sa.Executable] = (),
) -> Publication:
    """Publish a run's scores and put them in force.

    The rows go by COPY into a staging table of this session, where checks read them. One transaction then
    writes them beside the earlier runs, replaces their date in the history and moves the pointer: readers
    see the old night or the new one. A process killed anywhere leaves no trace; a rerun replaces its date.
    A run that is published already stays as it is: a retry cannot know whether the commit went through when
    its answer was lost.

    Parameters
    ----------
    scores : one row per lead with the columns of `score_tables.SCORE_COLUMNS`, those of the run left out.
        `previous_score`, `delta` and `trend` are added here; columns not given are null; `reasons` is JSON.
    expected_rows : how many leads had to be scored; a different number of rows is refused.
    limits : bounds against the night before.
    make_current : move the pointer; False only files the scores (a date in the past).
    also : statements for the same transaction: what comes into force with these scores, or not at all. Each
        changes one row; where one finds none, another command has ended what was to come into force.

    Raises
    ------
    PublicationRefusedError : no rows, unknown or missing columns, values of the wrong type, a check failed.
    PublicationFailedError : the disk is full, the connection broke, another run has taken this one's place
        or ended what was to come into force with these scores, or the like.
    """
    _check_columns(scores)
    frame, clock = _complete(run, scores), _Clock()
    try:
        _write(database, run, frame, expected_rows or frame.height, limits, make_current, also, clock)
    finally:
        _tidy(database, run)  # also after a failure: what it had written takes room until then
    clock.lap("tidy")
    return Publication(run.run_id, frame.height, score_checks.names(), clock.seconds)


def _check_columns(scores: pl.DataFrame) -> None:
    if scores.is_empty():
        raise PublicationRefusedError(
            "no scores to publish: a night without leads is an error, not a success"
        )
    missing = [name for name in score_tables.REQUIRED_COLUMNS if name not in scores.columns]
    unknown = [name for name in scores.columns if name not in score_tables.SCORE_COLUMNS]
    if missing or unknown:
        raise PublicationRefusedError(
            f"scores have the wrong columns: missing {missing or 'none'}, unknown {unknown or 'none'}"
        )


def _write(
    database: Database,
    run: Run,
    frame: pl.DataFrame,
    expected_rows: int,
    limits: score_checks.Limits,
    make_current: bool,
    also: Sequence[sa.Executable],
    clock: "_Clock",
) -> None:
    with _plain_errors(), database.session(ROLE) as connection:
        with connection.begin():
            before = _night_before(connection, run)
            _stage(connection, frame)
            clock.lap("copy")
            _check(connection, run, before, expected_rows, limits)
            clock.lap("check")
        with connection.begin():
            connection.execute(score_tables.lock(f"publish {run.model_key}"))
            if _is_due(connection, run):
                _replace(connection, run, frame, before)
                _put_in_force(connection, run, make_current, also)
        clock.lap("publish")


def _is_due(connection: sa.Connection, run: Run) -> bool:
    """Whether a run is still to be published: not where it was already, and its answer was lost."""
    state = connection.scalar(score_tables.state_of(run.run_id))
    if state == "killed":  # by the next run's record of those that never ended
        raise PublicationFailedError(
            "another run began while this one had lost its lock, and publishes in its place; the scores in"
            " force are untouched"
        )
    return state not in ("published", "superseded")


def _complete(run: Run, scores: pl.DataFrame) -> pl.DataFrame:
    """Add the run's columns and the missing ones, in the table's order; an owner's rows lie together."""
    own = {"run_id": run.run_id, "model_key": run.model_key, "as_of_date": run.as_of}
    rows = scores.with_columns(**{name: pl.lit(value) for name, value in own.items()})
    return rows.select(
        name if name in rows.columns else pl.lit(None).alias(name) for name in score_tables.SCORE_COLUMNS
    ).sort("owner_id", "rank_in_owner_queue")


def _night_before(connection: sa.Connection, run: Run) -> Night | None:
    row = connection.execute(score_tables.run_before(run.model_key, run.as_of)).first()
    return (row.run_id, row.as_of_date) if row else None


def _stage(connection: sa.Connection, frame: pl.DataFrame) -> None:
    """COPY the rows into a temporary table of this session, without indexes."""
    driver = _driver(connection)
    driver.execute("CREATE TEMP TABLE candidate (LIKE scoring.lead_score_published)")
    copy_frame(driver, "COPY candidate FROM STDIN (FORMAT csv)", frame)


def _check(
    connection: sa.Connection,
    run: Run,
    before: Night | None,
    expected_rows: int,
    limits: score_checks.Limits,
) -> None:
    is_recent = before is not None and run.as_of - before[1] <= timedelta(days=limits.max_age_days)
    chosen = before if is_recent else None
    failures = score_checks.run_checks(_driver(connection), chosen, expected_rows, limits)
    if failures:
        raise PublicationRefusedError("scores failed their checks: " + " | ".join(map(str, failures)))


def _replace(connection: sa.Connection, run: Run, frame: pl.DataFrame, before: Night | None) -> None:
    """Write the run beside the others, and its date anew in the history."""
    connection.execute(score_tables.publish_candidate(*(before or (None, None))))
    put_on_record(
        connection,
        run.model_key,
        run.run_id,
        run.as_of,
        published_at=sa.func.clock_timestamp(),
        row_count=frame.height,
        model_version=frame["model_version"][0],
        checks=score_checks.names(),
    )


def _put_in_force(
    connection: sa.Connection, run: Run, make_current: bool, also: Sequence[sa.Executable]
) -> None:
    if make_current:
        connection.execute(score_tables.point_to(run.model_key, run.run_id, run.as_of))
        connection.execute(score_tables.notify_published(run.run_id))
    for statement in also:
        if connection.execute(statement).rowcount != 1:
            raise PublicationFailedError(
                "the promotion waiting for these scores was ended by another command, while"
                " this one had lost its lock; the scores in force are untouched; run again"
            )


def _tidy(database: Database, run: Run) -> None:
    """Throw old runs away; the scores are published by now, so a failure here is only worth a warning."""
    try:
        tidy(database, run.model_key)
    except (psycopg.Error, sa.exc.DBAPIError, DatabaseUnavailableError) as error:
        LOGGER.warning(
            "old scores stay until the next publication: %s", _reason(getattr(error, "orig", error))
        )


def _driver(connection: sa.Connection) -> psycopg.Connection[Any]:
    """The psycopg connection below, for COPY and DDL in the same transaction."""
    return connection.connection.driver_connection  # type: ignore[return-value]


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _translate(error.orig or error) from error.orig
    except psycopg.Error as error:
        raise _translate(error) from error


def _translate(error: BaseException) -> RuntimeError:
    reason, untouched = _reason(error), "the scores in force are untouched"
    if isinstance(error, psycopg.errors.DiskFull):
        return PublicationFailedError(
            f"the database's disk is full ({reason}); {untouched}; free space, run again"
        )
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        return PublicationRefusedError(f"the scores do not fit the table ({reason}); {untouched}")
    return PublicationFailedError(f"publication failed ({reason}); {untouched}; run again")


def _reason(error: BaseException) -> str:
    """What the server said, and where in the COPY; not the row itself, which holds people's data."""
    if not isinstance(error, psycopg.Error) or error.diag.message_primary is None:
        return str(error).strip().partition("\n")[0]
    place = re.search(r"COPY \S+, line \d+(, column \w+)?", error.diag.context or "")
    return error.diag.message_primary + (f"; {place.group()}" if place else "")


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 4)
        self._last = now
