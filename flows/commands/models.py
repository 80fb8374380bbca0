"""`models`: the registered versions and who is champion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, database_of, opened

if TYPE_CHECKING:
    from rich.table import Table

    from flows.adapters.registry import ModelVersion, Registry

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
    """Make the previous champion the champion again.

    Example: leadscore models rollback --reason "complaints from sales"
    """
    with _registry(output) as registry:
        return _one(registry.rollback(reason))


@contextmanager
def _registry(output: Output) -> Iterator[Registry]:
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.registry import open_registry

        yield open_registry(settings, database)


def _one(version: ModelVersion) -> Answer:
    from flows.commands.summary import facts_table

    payload = asdict(version)
    facts: dict[str, Any] = {name: payload[name] for name in ("version", "run_id", "created_at")}
    facts["aliases"] = ", ".join(version.aliases) or None
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
