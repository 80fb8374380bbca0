"""`run`, `nightly`, `train`, `score`: nights, whole and in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, database_of, opened

if TYPE_CHECKING:
    from flows.adapters.database import Database
    from flows.adapters.settings import Settings
    from flows.progress import Progress

AsOf = Annotated[
    date | None,
    Parameter(help="Score as if it were the start of this day. Left out: the data's own clock, else today."),
]


def run(*, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Do everything once: database, a simulated CRM when there is no source yet, one night, a summary.

    A second run reuses what the first has made.

    Example: leadscore run
    """
    return _night(None, output, fill=True)


def nightly(*, as_of: AsOf = None, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Run one night: read, train when due, score every open lead, publish, report.

    Example: leadscore nightly --as-of 2026-10-31 --json
    """
    return _night(as_of, output, fill=False)


def train(*, as_of: AsOf = None, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Train a model on everything mature and register it; the published scores stay as they are.

    Example: leadscore train --as-of 2026-10-31
    """
    with ready(output) as (settings, database, progress):
        from flows.nightly import run_training

        return _facts(run_training(settings, database, as_of, progress))


def score(*, as_of: AsOf = None, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Score every open lead with the champion and publish, without training.

    Example: leadscore score --json
    """
    with ready(output) as (settings, database, progress):
        from flows.nightly import run_scoring

        return _facts(run_scoring(settings, database, as_of, progress))


def retrain(
    *,
    reason: Annotated[str, Parameter(help="Why, for the record.")],
    as_of: AsOf = None,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Look for a better recipe now: candidates on past weeks, the gate, and promotion, shadow or refusal.

    Example: leadscore retrain --reason "new price list" --json
    """
    with ready(output) as (settings, database, progress):
        from flows.retrain import run_retraining

        return _facts(run_retraining(settings, database, as_of, reason, progress))


def _night(as_of: date | None, output: Output, fill: bool) -> Answer:
    with ready(output, fill) as (settings, database, progress):
        from flows.commands.summary import night_summary
        from flows.nightly import run_nightly

        summary = run_nightly(settings, database, as_of, progress)
        return Answer(summary, lambda: night_summary(summary, settings))


@contextmanager
def ready(output: Output, fill: bool = False) -> Iterator[tuple[Settings, Database, Progress]]:
    """Database and Prefect, both up: Prefect's server starts while the database opens and flows import."""
    from flows.adapters.prefect_server import prefect_runtime

    with (
        opened(output) as (settings, progress),
        prefect_runtime(settings) as prefect,
        database_of(settings, progress) as database,
    ):
        if fill:
            _fill_when_empty(database, progress)
        with progress.stage("start prefect"):
            import flows.nightly  # noqa: F401 - 3 s of imports while the server starts
            from flows.adapters.mlflow_import import preload

            preload()

            prefect.wait_ready()
        yield settings, database, progress


def _fill_when_empty(database: Database, progress: Progress) -> None:
    from flows.adapters.migrations import installed_source
    from flows.commands.data import load_simulated_crm
    from simulator import SimulationConfig

    if installed_source(database) is None:
        load_simulated_crm(database, SimulationConfig(), progress)


def _facts(summary: Mapping[str, Any]) -> Answer:
    from flows.commands.summary import facts_table

    return Answer(summary, lambda: facts_table(summary))
