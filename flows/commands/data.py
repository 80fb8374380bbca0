"""`simulate` and `import`: where leads come from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError, database_of, opened

if TYPE_CHECKING:
    from flows.adapters.database import Database
    from flows.adapters.importer import ImportReport
    from flows.adapters.settings import Settings
    from flows.adapters.simulation_loader import SimulationSummary
    from flows.progress import Progress
    from simulator import SimulationConfig

log = logging.getLogger(__name__)

DriftKind = Literal["covariate", "prior", "concept", "delay", "gradual", "outage"]


def simulate(
    *,
    leads: Annotated[int, Parameter(help="Leads created over the period.")] = 10_000,
    months: Annotated[int, Parameter(help="Length of the period.")] = 18,
    end: Annotated[date | None, Parameter(help="The simulated CRM's today. [default: 2026-10-31]")] = None,
    seed: Annotated[int, Parameter(help="Equal seeds give equal rows.")] = 7,
    drift: Annotated[DriftKind | None, Parameter(help="How the world changes.")] = None,
    drift_date: Annotated[date | None, Parameter(help="The day it changes.")] = None,
    drift_severity: Annotated[float, Parameter(help="Above 0, at most 1.")] = 0.5,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Fill schema crm with a simulated CRM, replacing an earlier one, and make it the source.

    Example: leadscore simulate --leads 50000 --drift concept --drift-date 2026-07-01 --drift-severity 0.8
    """
    try:
        config = _configuration(leads, months, end, seed, _drift(drift, drift_date, drift_severity))
    except ValueError as error:
        raise UsageError(str(error)) from None
    with (
        opened(output) as (settings, progress),
        database_of(settings, progress) as database,
        published_scores_told(settings, database),
    ):
        summary = load_simulated_crm(database, config, progress)
    payload = {"status": "simulated", "clock": summary.clock, "rows": summary.rows}
    text = f"{summary.n_leads:,} leads and {summary.n_activities:,} activities up to {summary.clock}"
    return Answer(payload, lambda: f"{text}\nnext: leadscore nightly")


def import_(
    files: Annotated[list[Path], Parameter(help="CSV or Parquet files.")],
    *,
    mapping: Annotated[str, Parameter(help="x_education, olist, or your own FILE.toml.")],
    allow_banned: Annotated[
        Sequence[str],
        Parameter(
            help="Columns to let in although the mapping bans them as leaks; all lets every one in.",
            negative="",
        ),
    ] = (),
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Import an export of leads through a declared mapping and make it the source.

    Rows that cannot be used are set aside and counted; a file that cannot be read changes nothing.

    Example: leadscore import Leads.csv --mapping x_education
    """
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.importer import import_files

        with progress.stage("import"), published_scores_told(settings, database):
            imported = import_files(database, files, mapping, allow_banned=tuple(allow_banned))
        return _imported(imported)


@contextmanager
def published_scores_told(settings: Settings, database: Database) -> Iterator[None]:
    """Warn where the source put in place within meets published scores of another one, or of a later date."""
    from flows.adapters.migrations import BEGIN_ANEW, installed_source, today
    from flows.adapters.score_runs import newest_date

    before = installed_source(database)
    yield
    after, newest = installed_source(database), newest_date(database, settings.model_key)
    if after is None or newest is None:
        return
    is_other, day = before is not None and before.adapter != after.adapter, today(database)
    if newest > day:
        what = f"of {newest} are newer than {day}, this source's day: its nights would only be filed"
    elif is_other:
        what = f"of {newest} come from another source"
    else:
        return
    log.warning("published scores %s; %s", what, BEGIN_ANEW)


def load_simulated_crm(database: Database, config: SimulationConfig, progress: Progress) -> SimulationSummary:
    """Load the simulated CRM, put the views over it and set the clock to its end."""
    from flows.adapters.migrations import install_source, set_clock
    from flows.adapters.simulation_loader import load_simulation

    with progress.stage(f"simulate {config.n_leads:,} leads"), database.connect() as connection:
        summary = load_simulation(connection, config)
    install_source(database, "simulated")
    set_clock(database, summary.clock)
    return summary


def _configuration(leads: int, months: int, end: date | None, seed: int, drift: Any) -> SimulationConfig:
    from simulator import SimulationConfig

    chosen_end = {} if end is None else {"end": end}
    return SimulationConfig(n_leads=leads, months=months, seed=seed, drift=drift, **chosen_end)


def _drift(kind: DriftKind | None, day: date | None, severity: float) -> Any:
    from simulator import Drift

    if (kind is None) != (day is None):
        raise UsageError("--drift and --drift-date go together: give both or neither")
    return None if kind is None or day is None else Drift(kind, day, severity)


def _imported(report: ImportReport) -> Answer:
    from dataclasses import asdict

    return Answer({"status": "imported", **asdict(report)}, lambda: "\n".join(_import_lines(report)))


def _import_lines(report: ImportReport) -> Iterator[str]:
    for table in report.tables:
        yield f"{table.role}: {table.n_read:,} read, {table.n_kept:,} kept, {table.n_set_aside:,} set aside"
    for finding in report.findings:
        where = f" ({', '.join(finding.places)}; for example {finding.sample!r})"
        yield f"  {finding.table}: {finding.n_rows:,} x {finding.problem}: {finding.consequence}{where}"
    for column, reason in report.banned.items():
        yield f"  kept out: {column}: {reason}"
    for column in report.allowed:
        yield f"  let in although banned: {column}"
    yield f"clock: {report.clock or 'the calendar'}"
    if report.label:
        chosen = ", ".join(f"{name}={value}" for name, value in report.label.items())
        yield f"laid out for the label {chosen}"
    yield "next: leadscore nightly"
