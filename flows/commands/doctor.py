"""`doctor`: is everything there that a night needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, opened

if TYPE_CHECKING:
    from rich.table import Table

    from flows.doctor import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(*, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Check versions, disk, database, roles, source, freshness, champion and scores; say what to do.

    Ends with status 1 when something would stop a night.

    Example: leadscore doctor --json
    """
    with opened(output) as (settings, progress):
        from flows.doctor import examine

        with progress.stage("examine"):
            findings = list(examine(settings))
    failed = any(finding.status == "fail" for finding in findings)
    payload = {"status": "fail" if failed else "ok", "findings": [asdict(finding) for finding in findings]}
    return Answer(payload, lambda: _table(findings), exit_code=1 if failed else 0)


def _table(findings: Sequence[Finding]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for finding in findings:
        detail = Text(finding.detail)
        if finding.remedy:
            detail.append(f"\n-> {finding.remedy}", style="bold")
        table.add_row(Text(finding.status, _COLOURS[finding.status]), finding.check, detail)
    return table
