"""Checks between COPY and publication: queries of `sql/checks/scores` that return no row when all is well."""

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import PurePosixPath
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

import sql as sql_files

N_EXAMPLES = 3


@dataclass(frozen=True)
class Limits:
    """How far a night may differ from the night before.

    Attributes
    ----------
    least_rows : populations smaller than this are not compared.
    max_row_ratio : number of leads with a score, either way.
    max_mean_ratio : mean probability, either way.
    max_quartile_points : quartiles of the score, in points.
    max_age_days : a last publication older than this is not compared with.
    """

    least_rows: int = 100
    max_row_ratio: float = 3.0
    max_mean_ratio: float = 3.0
    max_quartile_points: float = 25.0
    max_age_days: int = 7


@dataclass(frozen=True)
class Failure:
    """A check that returned rows: its name, how many, and the first of them."""

    check: str
    row_count: int
    examples: list[dict[str, Any]]

    def __str__(self) -> str:
        """One line: the check, the number of rows, examples."""
        examples = "; ".join(
            ", ".join(f"{name}={value}" for name, value in example.items()) for example in self.examples
        )
        return f"{self.check}: {self.row_count} row{'s' * (self.row_count != 1)}, for example {examples}"


def names() -> list[str]:
    """Names of the checks."""
    return [PurePosixPath(path).stem for path in sql_files.names("checks/scores")]


def run_checks(
    connection: psycopg.Connection[Any], before: tuple[int, date] | None, expected_rows: int, limits: Limits
) -> list[Failure]:
    """Run every check on the staging table `candidate` and return those that found something.

    Parameters
    ----------
    connection : of the session that has the staging table
    before : run_id and date of the published night to compare with, if any
    expected_rows : how many rows there must be
    limits : bounds of the comparison
    """
    connection.execute(_previous_night(before))
    parameters = asdict(limits) | {"expected_rows": expected_rows}
    found = [_run(connection, path, parameters) for path in sql_files.names("checks/scores")]
    return [failure for failure in found if failure is not None]


def _previous_night(before: tuple[int, date] | None) -> sql.Composed:
    """A temporary view `previous` of that night's rows; empty without one."""
    run_id, day = before or (-1, date.min)
    return sql.SQL(
        "CREATE TEMP VIEW previous AS SELECT * FROM scoring.lead_score_history"
        " WHERE as_of_date = {} AND run_id = {}"
    ).format(sql.Literal(day), sql.Literal(run_id))


def _run(connection: psycopg.Connection[Any], path: str, parameters: dict[str, Any]) -> Failure | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(sql_files.load(path).encode(), parameters).fetchmany(N_EXAMPLES)
        return Failure(PurePosixPath(path).stem, cursor.rowcount, rows) if rows else None
