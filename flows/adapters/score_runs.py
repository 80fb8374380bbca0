"""The record of runs in `scoring.score_run`, and which of them is in force."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from flows.adapters import score_tables
from flows.adapters.database import Database
from flows.adapters.score_storage import put_on_record

ROLE = score_tables.ROLE


@dataclass(frozen=True)
class Run:
    """One run of a model over one date, as recorded in `scoring.score_run`.

    Attributes
    ----------
    killed : dates of the runs that never ended, as this one found when it began.
    """

    run_id: int
    model_key: str
    as_of: date
    started_at: datetime
    killed: tuple[date, ...] = ()


def start_run(database: Database, model_key: str, as_of: date, inputs: dict[str, Any] | None = None) -> Run:
    """Record that a run begins; runs of this model that never ended are marked as killed.

    The caller holds the lock of `database.exclusive`, so nobody else's run is going on.

    Parameters
    ----------
    inputs : what identifies the data and the code: hashes, versions; JSON-able.
    """
    with database.begin(ROLE) as connection:
        killed = connection.scalars(score_tables.bury_running_runs(model_key)).all()
        run_id, started_at = connection.execute(score_tables.new_run(model_key, as_of, inputs or {})).one()
    return Run(run_id, model_key, as_of, started_at, tuple(killed))


def finish_run(
    database: Database,
    run: Run,
    counts: dict[str, Any] | None = None,
    inputs: dict[str, Any] | None = None,
) -> None:
    """Record the end of a published run, with its counts; `inputs` replaces those known at the start."""
    values = {"counts": counts or {}} | ({"inputs": inputs} if inputs is not None else {})
    _change(database, run, **values)


def fail_run(database: Database, run: Run, error: str) -> None:
    """Record why a run failed; a run already published stays published."""
    state = score_tables.score_run.c.state
    failed = sa.case((state == "running", "failed"), else_=state)
    _change(database, run, state=failed, error=error)


def _change(database: Database, run: Run, **values: Any) -> None:
    with database.begin(ROLE) as connection:
        values["finished_at"] = sa.func.clock_timestamp()
        connection.execute(score_tables.change_run(run.run_id, **values))


def date_in_force(database: Database, model_key: str) -> date | None:
    """Return the as-of date of the scores in force; None before the first publication."""
    with database.begin(ROLE) as connection:
        current = connection.execute(score_tables.current_run(model_key)).first()
    return None if current is None else current.as_of_date


def newest_date(database: Database, model_key: str) -> date | None:
    """Return the newest date that scores were ever in force for, whichever are now; None before the first."""
    with database.begin(ROLE) as connection:
        return connection.scalar(score_tables.newest_date(model_key))


def versions_at_hand(database: Database, model_key: str) -> set[str]:
    """Return the model versions whose scores are in force or can be put back without the history."""
    with database.begin(ROLE) as connection:
        return set(connection.scalars(score_tables.versions_at_hand(model_key)))


def put_back_scores_of(
    database: Database, model_key: str, model_version: str, also: Sequence[sa.Executable] = ()
) -> tuple[int, date] | None:
    """Put the newest scores of a model version in force, from the runs at hand or else from the history.

    Where another model's run has replaced them on their date, they are that date's again in the history too.
    Where its scores are in force already nothing moves, so that a second call is harmless; nor where none
    are in force, as in a replay.

    Parameters
    ----------
    also : statements for the same transaction: what comes into force with these scores. They run even where
        no scores are found.

    Returns
    -------
    tuple : run_id and as-of date of the version's scores, now in force; None where there are or were none.
    """
    with database.begin(ROLE) as connection:
        connection.execute(score_tables.lock(f"publish {model_key}"))
        found = _put_back(connection, model_key, model_version)
        for statement in also:
            connection.execute(statement)
    return found


def _put_back(connection: sa.Connection, model_key: str, model_version: str) -> tuple[int, date] | None:
    kept = connection.execute(score_tables.runs_of_version(model_key, model_version)).all()
    current = connection.execute(score_tables.current_run(model_key)).first()
    for run in kept:
        if current is not None and run.run_id == current.run_id:
            return run.run_id, run.as_of_date
    if not kept or current is None:
        return None
    newest = kept[0]
    if not newest.is_at_hand:
        connection.execute(score_tables.bring_back(newest.run_id, newest.as_of_date))
    if newest.state == "superseded":
        put_on_record(connection, model_key, newest.run_id, newest.as_of_date)
    connection.execute(score_tables.point_to(model_key, newest.run_id, newest.as_of_date))
    connection.execute(score_tables.notify_published(newest.run_id))
    return newest.run_id, newest.as_of_date
