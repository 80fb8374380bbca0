"""Fill schemas `crm` and `truth` with a simulated CRM by COPY, in one transaction."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import polars as pl
import psycopg
from psycopg import sql

import sql as sql_files
from flows.adapters.copy_frame import copy_frame
from simulator import Chunk, SimulationConfig, simulate

TABLES = (
    "crm.team",
    "crm.app_user",
    "crm.campaign",
    "crm.account",
    "crm.lead",
    "crm.lead_history",
    "crm.opportunity",
    "crm.individual",
    "crm.web_event",
    "crm.email_event",
    "crm.task",
    "truth.lead",
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SimulationSummary:
    """What a load left behind: rows per table and the date at which the simulated CRM's clock stands."""

    rows: dict[str, int]
    clock: date

    @property
    def n_leads(self) -> int:
        """Leads loaded."""
        return self.rows["crm.lead"]

    @property
    def n_activities(self) -> int:
        """Touches loaded, repeats and plans included."""
        return sum(self.rows[table] for table in ("crm.web_event", "crm.email_event", "crm.task"))


def load_simulation(
    connection: psycopg.Connection, config: SimulationConfig, progress: Progress | None = None
) -> SimulationSummary:
    """Replace the simulated CRM by the one that `config` describes; all or nothing.

    Parameters
    ----------
    connection : a connection outside a transaction, of a role that may create schemas.
    config : what to simulate.
    progress : called with (leads loaded, leads in all) after each chunk.

    Notes
    -----
    Tables are created when absent and truncated, never dropped: views over them survive. Readers of the
    tables wait while a load runs.
    """
    rows: Counter[str] = Counter(dict.fromkeys(TABLES, 0))
    with connection.transaction(), connection.cursor() as cursor:
        for name in ("schema.sql", "truth.sql"):
            cursor.execute(sql_files.load(f"simulated/{name}").encode())
        cursor.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(_identifier, TABLES))))
        n_leads = 0
        for chunk in simulate(config):
            rows.update(_copy_chunk(connection, chunk))
            n_leads += chunk.n_leads
            if progress:
                progress(n_leads, config.n_leads)
        for table in TABLES:
            cursor.execute(sql.SQL("ANALYZE {}").format(_identifier(table)))
    return SimulationSummary(rows=dict(rows), clock=config.end)


def has_simulation(connection: psycopg.Connection) -> bool:
    """Whether a simulated CRM with leads is in the database."""
    with connection.cursor() as cursor:
        found = cursor.execute("SELECT to_regclass('crm.lead') IS NOT NULL").fetchone()
        if not found or not found[0]:
            return False
        lead = cursor.execute("SELECT EXISTS (SELECT FROM crm.lead)").fetchone()
    return bool(lead and lead[0])


def _copy_chunk(connection: psycopg.Connection, chunk: Chunk) -> dict[str, int]:
    for table, frame in chunk.tables.items():
        _copy(connection, table, frame)
    return {table: frame.height for table, frame in chunk.tables.items()}


def _copy(connection: psycopg.Connection, table: str, frame: pl.DataFrame) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        _identifier(table), sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    )
    copy_frame(connection, statement, frame, datetime_format="%Y-%m-%dT%H:%M:%S%.6f+00")


def _identifier(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))
