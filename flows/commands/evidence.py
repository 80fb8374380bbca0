"""`evidence`: what calling by the score would have brought, week after week."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.commands.nights import AsOf, ready
from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError

if TYPE_CHECKING:
    from rich.console import Group

MIN_ORIGINS = 8
"""Fewer weeks are too few to tell a lucky one from a steady gain."""
_VERDICTS = {"better": "the score is better", "tie": "a tie", "worse": "the score is worse"}


def evidence(
    *,
    origins: Annotated[int, Parameter(help="Weeks of the past to judge on, at least 8.")] = 12,
    as_of: AsOf = None,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Judge the champion's recipe on past weeks: what would calls by score have
    brought, and what calls by source, by last activity, by a simple regression
    or at random?

    For each week a model learns what was known on its first day and is judged
    by what came after. The figures go to scoring.evidence, MLflow and Prefect,
    and every night's report shows the newest ones. It takes as long as that
    many trainings; nights do not wait for it.

    Example: leadscore evidence --origins 12 --json
    """
    if origins < MIN_ORIGINS:
        raise UsageError(f"--origins {origins} should be at least {MIN_ORIGINS}")
    with ready(output) as (settings, database, progress):
        from flows.evidence_flow import run_evidence

        summary = run_evidence(settings, database, as_of, origins, progress)
        return Answer(summary, lambda: _sheet(summary))


def _sheet(summary: Mapping[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    from flows.evidence import POOLED

    weeks = dict(summary["origins"])
    found = {(row["measure"], row["subject"]): row for row in weeks.pop(POOLED)}
    parts = [Text(summary["protocol"]), Text()]
    return Group(*parts, _ways(found), Text(), _weeks(weeks))


def _ways(found: Mapping[tuple[str, str], Mapping[str, Any]]) -> Any:
    from flows.commands.plain_table import plain_table

    table = plain_table(
        "leads called", "converted", "95 % interval", "score brings", "", words=("leads called", "")
    )
    for (measure, way), row in found.items():
        if measure != "conversion_of_called":
            continue
        times, gain = found.get(("times_as_many", way)), found.get(("gain_over", way))
        table.add_row(
            way,
            f"{row['value']:.1%}",
            _interval(row, "{:.1%}"),
            "" if times is None else f"{times['value']:.2f}x{_bracketed(times)}",
            "" if gain is None else _VERDICTS[gain["verdict"]],
        )
    return table


def _weeks(weeks: Mapping[str, list[Mapping[str, Any]]]) -> Any:
    from flows.commands.plain_table import plain_table

    table = plain_table("open on", "by score", "at random", "times", words=("open on",))
    for day, rows in sorted(weeks.items()):
        found = {(row["measure"], row["subject"]): row for row in rows}
        score, chance = (found.get(("conversion_of_called", way)) for way in ("score", "at random"))
        if score is None or chance is None:
            table.add_row(day, "no conversions", "", "")
            continue
        times = found.get(("times_as_many", "at random"))
        shown = "" if times is None else f"{times['value']:.2f}x"
        table.add_row(day, f"{score['value']:.1%}", f"{chance['value']:.1%}", shown)
    return table


def _interval(row: Mapping[str, Any], form: str) -> str:
    if row["low"] is None or row["high"] is None:
        return ""
    return f"{form.format(row['low'])} to {form.format(row['high'])}"


def _bracketed(row: Mapping[str, Any]) -> str:
    interval = _interval(row, "{:.2f}")
    return f" ({interval})" if interval else ""
