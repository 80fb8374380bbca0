"""`models`: the registered versions and who is champion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, database_of, opened

if TYPE_CHECKING:
    from rich.table import Table

    from flows.adapters.database import Database
    from flows.adapters.decisions import Decision
    from flows.adapters.registry import ModelVersion, Registry
    from flows.adapters.settings import Settings

app = App(
    name="models",
    help="List models, look at one, choose the champion.\n\nExample: leadscore models list",
    sort_key=8,
)

Reason = Annotated[str, Parameter(help="Why, in words; kept with the version.")]
UNTIL_RESCORED = "the published ones stay until the next night rescores, or `leadscore score`"
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
    """Make a version the champion: the next night, or `leadscore score`, scores with it.

    Example: leadscore models promote 3 --reason "better on the new region"
    """
    with _alone(output) as (settings, database, registry):
        from flows import promotion
        from flows.adapters import decisions

        promotion.repair(database, registry, settings.model_key)
        registry.show(version)
        before = registry.get("champion")
        decision = decisions.Decision(
            as_of=_date(settings, database),
            kind="by_hand",
            verdict="promote",
            state=decisions.IN_FORCE,
            cause=reason,
            champion_before=None if before is None else before.version,
            challenger=version,
        )
        champion = promotion.promote(database, registry, settings.model_key, decision)
        return _one(champion, scores=f"{UNTIL_RESCORED}: until then they are another version's")


@app.command
def rollback(
    *,
    to: Annotated[int | None, Parameter(help="Earlier champion. [default: the previous one]")] = None,
    reason: Reason = "by hand",
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Make an earlier champion the champion again, and put its last scores back in force.

    The scores come from the last nights or from the history; where the champion has none there, the next
    night rescores. No newer model replaces it by itself for two weeks.

    Example: leadscore models rollback --reason "complaints from sales"
    """
    with _alone(output) as (settings, database, registry):
        from flows import promotion

        night = _date(settings, database)
        champion, found = promotion.roll_back(database, registry, settings.model_key, night, reason, to)
    in_force = None if found is None else {"run_id": found[0], "as_of": found[1]}
    return _one(champion, scores_in_force=in_force, scores=_what_happened(champion.version, found))


@app.command
def decisions(
    *,
    limit: Annotated[int, Parameter(help="Newest decisions to list.")] = 20,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """List who became champion, when and why, and who did not.

    With --json every check and input of each decision.

    Example: leadscore models decisions --limit 5
    """
    with _resources(output) as (settings, database, _):
        from flows.adapters.decisions import newest

        found = newest(database, settings.model_key, limit)
    payload = {"decisions": [decision.as_dict() for decision in found]}
    return Answer(payload, lambda: _decisions_table(found) if found else "no decision yet")


def _date(settings: Settings, database: Database) -> date:
    """The newest night; a roll-back leaves an older one in force. Today before the first."""
    from flows.adapters.score_runs import newest_date

    return newest_date(database, settings.model_key) or datetime.now(UTC).date()


def _what_happened(version: int, found: tuple[int, date] | None) -> str:
    if found is None:
        return f"none of version {version} are kept: {UNTIL_RESCORED}"
    return f"those of {found[1]} (run {found[0]}), made by version {version}, are in force"


@contextmanager
def _resources(output: Output) -> Iterator[tuple[Settings, Database, Registry]]:
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.registry import open_registry

        yield settings, database, open_registry(settings, database)


@contextmanager
def _alone(output: Output) -> Iterator[tuple[Settings, Database, Registry]]:
    """Keep nights away: one going on would publish over what is changed here."""
    from flows.adapters.database import exclusive

    with _resources(output) as (settings, database, registry), exclusive(database, "nightly"):
        yield settings, database, registry


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
    from flows.commands.plain_table import plain_table

    measured = [name.replace("_", " ") for name in _SHOWN_METRICS]
    table = plain_table("version", "created (UTC)", "alias", *measured, words=("alias",))
    for version in versions:
        metrics = [version.metrics.get(name) for name in _SHOWN_METRICS]
        table.add_row(
            str(version.version),
            f"{version.created_at:%Y-%m-%d %H:%M}",
            ", ".join(version.aliases),
            *("-" if value is None else f"{value:.3f}" for value in metrics),
        )
    return table


def _decisions_table(found: list[Decision]) -> Table:
    from flows.commands.plain_table import plain_table

    names = ("as of", "kind", "verdict", "state", "champion", "challenger", "cause", "why not")
    table = plain_table(*names, words=names)
    for one in found:
        table.add_row(
            str(one.as_of),
            one.kind.replace("_", " "),
            one.verdict,
            one.state.replace("_", " "),
            f"{one.champion_before or '-'} -> {one.champion_after or '-'}",
            str(one.challenger or "-"),
            one.cause,
            "; ".join(one.reasons),
        )
    return table
