"""`models`: the registered versions and who is champion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, database_of, opened

if TYPE_CHECKING:
    from rich.table import Table

    from flows.adapters.database import Database
    from flows.adapters.registry import ModelVersion, Registry
    from flows.adapters.settings import Settings

app = App(
    name="models",
    help="List models, look at one, choose the champion.\n\nExample: leadscore models list",
    sort_key=8,
)

Reason = Annotated[str, Parameter(help="Why, in words; kept with the version.")]
_SHOWN_METRICS = ("average_precision", "roc_auc", "lift_at_10pct")


@app.command(name="list")
def list_(
    *,
    limit: Annotated[int, Parameter(help="Newest versions to list.")] = 20,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """List the newest versions with their aliases and main metrics.

    Example: leadscore models list --limit 5
    """
    with _registry(output) as registry:
        versions = registry.list_versions(limit)
    payload = {"model": registry.model_name, "versions": [asdict(version) for version in versions]}
    return Answer(payload, lambda: _table(versions) if versions else "no model yet: run `leadscore nightly`")


@app.command
def show(version: int, *, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Show all metrics, parameters and tags of one version.

    Example: leadscore models show 3 --json
    """
    with _registry(output) as registry:
        return _one(registry.show(version))


@app.command
def promote(version: int, *, reason: Reason = "by hand", output: Output = DEFAULT_OUTPUT) -> Answer:
    """Make a version the champion: the next night scores with it.

    Example: leadscore models promote 3 --reason "better on the new region"
    """
    with _registry(output) as registry:
        return _one(registry.promote(version, reason))


@app.command
def rollback(*, reason: Reason = "by hand", output: Output = DEFAULT_OUTPUT) -> Answer:
    """Make the previous champion the champion again, and put its last scores back in force.

    Scores of the last few nights are at hand; where the champion has none of them, the next night rescores.

    Example: leadscore models rollback --reason "complaints from sales"
    """
    with _resources(output) as (settings, database, registry):
        from flows.adapters.database import exclusive
        from flows.adapters.score_runs import put_back_scores_of

        with exclusive(database, "nightly"):  # a night going on would publish over what is put back here
            # Scores first: the history of champions forgets the one rolled back. Stopped between the two
            # steps, a second call finds the same previous champion, and its scores already in force.
            version = registry.previous_champion()
            found = put_back_scores_of(database, settings.model_key, str(version))
            champion = registry.rollback(reason)
    in_force = None if found is None else {"run_id": found[0], "as_of": found[1]}
    return _one(champion, scores_in_force=in_force, scores=_what_happened(champion.version, found))


def _what_happened(version: int, found: tuple[int, date] | None) -> str:
    if found is None:
        return (
            f"none of version {version} are at hand: the published ones stay until the next night rescores,"
            " or `leadscore score`"
        )
    return f"those of {found[1]} (run {found[0]}), made by version {version}, are in force"


@contextmanager
def _resources(output: Output) -> Iterator[tuple[Settings, Database, Registry]]:
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.registry import open_registry

        yield settings, database, open_registry(settings, database)


@contextmanager
def _registry(output: Output) -> Iterator[Registry]:
    with _resources(output) as (_, _, registry):
        yield registry


def _one(version: ModelVersion, scores: str | None = None, **more: Any) -> Answer:
    from flows.commands.summary import facts_table

    told = {} if scores is None else {"scores": scores}
    payload = asdict(version) | more | told
    facts: dict[str, Any] = {name: payload[name] for name in ("version", "run_id", "created_at")}
    facts |= {"aliases": ", ".join(version.aliases) or None} | told
    return Answer(
        payload, lambda: facts_table(facts | payload["metrics"] | payload["params"] | payload["tags"])
    )


def _table(versions: list[ModelVersion]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    for name in ("version", "created (UTC)", "alias", *_SHOWN_METRICS):
        table.add_column(name.replace("_", " "), justify="left" if name == "alias" else "right")
    for version in versions:
        metrics = [version.metrics.get(name) for name in _SHOWN_METRICS]
        table.add_row(
            str(version.version),
            f"{version.created_at:%Y-%m-%d %H:%M}",
            ", ".join(version.aliases),
            *("-" if value is None else f"{value:.3f}" for value in metrics),
        )
    return table
