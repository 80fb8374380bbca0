"""`monitor`: what the monitors say of a date, without a whole night."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows.commands.nights import AsOf, ready
from flows.commands.session import DEFAULT_OUTPUT, Answer, Output

if TYPE_CHECKING:
    from rich.console import Group


def monitor(*, as_of: AsOf = None, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Look for broken data and drift as of a date, record it, and tell people what is new.

    Every night does the same; docs/guides/monitoring.md says what each finding means.

    Example: leadscore monitor --as-of 2026-10-31 --json
    """
    with ready(output) as (settings, database, progress):
        from flows.monitor import run_monitor

        summary = run_monitor(settings, database, as_of, progress)
        return Answer(summary, lambda: _shown(summary))


def _shown(summary: Mapping[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    from flows.commands.plain_table import plain_table

    words = ("monitor", "what it says", "what it did")
    table = plain_table("monitor", "what it says", "statistic", "alarm at", "what it did", words=words)
    for one in sorted(summary["drift"], key=lambda row: not row["fired"]):
        numbers = [f"{one[name]:.3g}" for name in ("statistic", "threshold")]
        style = "bold yellow" if one["fired"] else ""
        table.add_row(one["monitor"], Text(one["words"]), *numbers, one["action"], style=style)
    ending = f"as of {summary['as_of']}: {summary['paged']} new pages"
    notes = [Text(f"not watched yet: {note}", style="dim") for note in summary["not_watched"]]
    return Group(table, *notes, Text(ending))
