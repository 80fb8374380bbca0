"""`replay`: nights of the past, one after another, with the whole story in SQL and on one page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from flows.commands.nights import ready
from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError, console_on, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.adapters.database import Database
    from flows.progress import Progress
    from flows.replay import ReplayedNight, Story
    from simulator import SimulationConfig

Scenario = Literal["none", "covariate", "prior", "concept", "delay", "gradual", "outage"]

HISTORY_MONTHS = 10
"""Months of leads before the first night: enough for mature labels of a 60-day horizon to train on."""


def replay(
    *,
    from_: Annotated[date, Parameter(name="--from", help="The first night.")],
    to: Annotated[date, Parameter(name="--to", help="The last night.")],
    every: Annotated[int, Parameter(help="Days from one night to the next.")] = 7,
    scenario: Annotated[
        Scenario | None,
        Parameter(help="Simulate a CRM, in place of the simulated one that is there, that changes this way."),
    ] = None,
    drift_date: Annotated[
        date | None, Parameter(help="The day it changes. [default: a third into the period]")
    ] = None,
    severity: Annotated[float, Parameter(help="How much it changes: above 0, at most 1.")] = 0.8,
    leads: Annotated[int, Parameter(help="Leads of the simulated CRM.")] = 8_000,
    seed: Annotated[int, Parameter(help="Equal seeds give equal rows.")] = 7,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Run the nights of a period as they would have run, and tell the story.

    Scores, drifts and decisions are filed in SQL under a model key of their own; none of them comes into
    force. Without --scenario the installed source is replayed. Ctrl-C ends the story early; it is told as far
    as it went.

    Example: leadscore replay --from 2025-11-01 --to 2026-08-01 --scenario concept
    """
    key = f"replay-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    try:
        config = _simulation(from_, to, scenario, drift_date, severity, leads, seed)
        nights = _dates(from_, to, every)
    except ValueError as error:
        raise UsageError(str(error)) from None
    say(f"the model key of this replay is {key}")
    with ready(output) as (settings, database, progress):
        if config is not None:
            _simulate(database, config, progress)
        from flows.replay import replay as run_replay
        from flows.replay_page import write_page

        changed = config.drift.date if config is not None and config.drift is not None else None
        title = f"Replay of {from_} to {to}: {scenario or 'the installed source'}"
        path = settings.root / "reports" / f"{key}.html"
        try:
            with _bar(len(nights), quiet=output.json) as tell:
                story = run_replay(
                    settings, database, nights, key, tell, lambda told: write_page(path, told, title, changed)
                )
        except BaseException:
            if path.exists():
                say(f"the story so far is in {path}")
            raise
    return _answer(story, str(path))


def _dates(first: date, last: date, every: int) -> list[date]:
    if every < 1:
        raise ValueError(f"--every {every} should be at least 1 day")
    if last < first:
        raise ValueError(f"--to {last} lies before --from {first}")
    return [first + timedelta(days=k) for k in range(0, (last - first).days + 1, every)]


def _simulation(
    first: date,
    last: date,
    scenario: str | None,
    drift_date: date | None,
    severity: float,
    leads: int,
    seed: int,
) -> SimulationConfig | None:
    """A CRM with history before the first night, and time for conversions after the last."""
    if scenario is None:
        if drift_date is not None:
            raise ValueError("--drift-date needs --scenario")
        return None
    from simulator import Drift, SimulationConfig

    end = last + timedelta(days=90)
    months = HISTORY_MONTHS + -(-(end - first).days // 30)
    drift: Any = None
    if scenario != "none":
        drift = Drift(scenario, drift_date or first + (last - first) / 3, severity)  # type: ignore[arg-type]
    return SimulationConfig(n_leads=leads, months=months, end=end, seed=seed, drift=drift)


def _simulate(database: Database, config: SimulationConfig, progress: Progress) -> None:
    from flows.adapters.migrations import installed_source
    from flows.commands.data import load_simulated_crm

    source = installed_source(database)
    if source is not None and source.adapter != "simulated":
        raise UsageError(
            f"--scenario would replace the installed source {source.adapter!r}: leave it out to replay that"
            " source, or set LEADSCORE_HOME to a fresh folder"
        )
    load_simulated_crm(database, config, progress)


@contextmanager
def _bar(total: int, quiet: bool) -> Iterator[Callable[[ReplayedNight], None]]:
    """A bar on a terminal, a line a night elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = console_on(sys.stderr)
    if not console.is_terminal or quiet:
        yield lambda night: console.print(f"  {_line(night)}", style="dim", highlight=False)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("replay", total=total)
        yield lambda night: bar.update(task, advance=1, description=_line(night))


def _line(night: ReplayedNight) -> str:
    if night.outcome != "published":
        return f"{night.as_of}  nothing published: {night.outcome.partition(':')[0]}"
    seen = "" if night.average_precision is None else f", PR-AUC {night.average_precision:.2f}"
    return f"{night.as_of}  version {night.model_version}, {night.n_scored} leads{seen}"


def _answer(story: Story, path: str) -> Answer:
    from dataclasses import asdict

    payload = {
        "status": "replayed",
        "model_key": story.model_key,
        "n_nights": len(story.nights),
        "n_published": sum(night.outcome == "published" for night in story.nights),
        "n_alarms": len(story.alarms),
        "n_noted": len(story.noted),
        "n_promotions": story.n_promoted,
        "page": path,
        "nights": [asdict(night) for night in story.nights],
    }
    text = (
        f"{len(story.nights)} nights replayed: {len(story.alarms)} alarms, {story.n_promoted} promotions\n"
        f"page  {path}; each night's report is in the folder beside it\n"
        f"SQL   scoring.score_run, report_drift and decision where model_key = '{story.model_key}'"
    )
    return Answer(payload, lambda: text)
