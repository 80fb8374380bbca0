"""`doctor`: is everything there that a night needs, and may every column be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError, database_of, opened

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from flows.adapters.database import Database
    from flows.adapters.settings import Settings
    from flows.finding import Finding
    from flows.leak_court import Ruling, Verdict

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_VERDICT_COLOURS = {"allowed": "green", "suspect": "yellow", "banned": "bold red"}

app = App(
    name="doctor",
    help="Is everything there that a night needs; may every column be used.\n\nExample: leadscore doctor",
    sort_key=10,
)


@app.default
def doctor(
    *,
    figures: Annotated[bool, Parameter(negative="", help="Show the figures behind each finding.")] = False,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Check database, source, contract, freshness, labels, columns, champion and scores; say what to do.

    Ends with status 1 when something would stop a night.

    Example: leadscore doctor --figures
    """
    with opened(output) as (settings, progress):
        from flows.doctor import examine

        with progress.stage("examine"):
            findings = list(examine(settings))
    failed = any(finding.status == "fail" for finding in findings)
    payload = {"status": "fail" if failed else "ok", "findings": [asdict(finding) for finding in findings]}
    return Answer(payload, lambda: _report(findings, figures), exit_code=1 if failed else 0)


@app.command
def court(
    *,
    allow: Annotated[str | None, Parameter(help="Let this column be a feature.")] = None,
    ban: Annotated[str | None, Parameter(help="Keep this column out of the features.")] = None,
    reason: Annotated[str, Parameter(help="Why, in words; kept with the ruling.")] = "",
    reviewer: Annotated[str | None, Parameter(help="Who rules; your login name if left out.")] = None,
    ablation: Annotated[
        bool, Parameter(negative="", help="Also fit small models with and without each accused column.")
    ] = False,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Judge which columns of the leads may know how they end; or rule on one column by hand.

    Suspect and banned columns are left out of the features from the next night on. A ruling by hand stays in
    force whatever the court finds later.

    Example: leadscore doctor court --allow attrs_budget_c --reason "asked on the web form"
    """
    if allow is None and ban is None:
        return _sit(ablation, output)
    if (allow is None) == (ban is None) or not reason.strip():
        raise UsageError("rule on one column at a time, --allow or --ban, and give a --reason")
    column = allow or ban or ""
    verdict: Verdict = "allowed" if allow is not None else "banned"
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        import getpass

        from flows.adapters.leak_rulings import rule_by_hand

        rule_by_hand(database, column, verdict, reason.strip(), reviewer or getpass.getuser())
    payload = {"status": "ruled", "column": column, "verdict": verdict, "reason": reason.strip()}
    return Answer(payload, lambda: f"{column} is {verdict}: {reason.strip()}")


def _sit(ablation: bool, output: Output) -> Answer:
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.leak_rulings import in_force, record

        with progress.stage("hear the columns"):
            rulings = _hear(settings, database, ablation)
            n_new = record(database, rulings)
        verdicts = in_force(database)
    payload = {
        "status": "judged",
        "n_new": n_new,
        "rulings": [_plain(ruling) for ruling in rulings],
        "in_force": verdicts,
    }
    return Answer(payload, lambda: _docket(rulings, verdicts))


def _hear(settings: Settings, database: Database, ablation: bool) -> list[Ruling]:
    from flows.adapters.leak_rulings import read_case
    from flows.leak_court import hear
    from flows.source_findings import data_clock

    case = read_case(database, data_clock(database) - settings.maturity)
    return hear(case.columns, case.is_won, case.lead_ids, case.filled_after, ablation)


def _plain(ruling: Ruling) -> dict[str, Any]:
    return {
        "column": ruling.column,
        "verdict": ruling.verdict,
        "reason": ruling.reason,
    } | ruling.evidence.as_dict()


def _docket(rulings: Sequence[Ruling], verdicts: Sequence[dict[str, Any]]) -> Table:
    """What was found, beside what is in force: a person's ruling may differ."""
    from rich.table import Table
    from rich.text import Text

    in_force = {row["column_name"]: row for row in verdicts}
    table = Table(box=None, pad_edge=False)
    for name in ("verdict", "column", "filled won", "others", "after", "AUC", "ablation"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("verdict", "column") else "right")
    table.add_column("why", overflow="fold")
    for ruling in rulings:
        evidence, row = ruling.evidence, in_force[ruling.column]
        by_hand = "" if row["is_automatic"] else f"{row['reviewer']}: {row['reason']}; found: "
        table.add_row(
            Text(row["verdict"], _VERDICT_COLOURS[row["verdict"]]),
            ruling.column,
            f"{evidence.fill_won:.0%}",
            f"{evidence.fill_open:.0%}",
            "" if evidence.filled_after is None else f"{evidence.filled_after:.0%}",
            "" if evidence.roc_auc is None else f"{evidence.roc_auc:.2f}",
            "" if evidence.ablation_delta is None else f"{evidence.ablation_delta:+.3f}",
            by_hand + ruling.reason,
        )
    return table


def _report(findings: Sequence[Finding], figures: bool) -> RenderableType:
    from rich.console import Group

    return Group(*_parts(findings)) if figures else _table(findings)


def _parts(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    from rich.padding import Padding

    for finding in findings:
        yield _table([finding])
        if finding.rows:
            yield Padding(_figures(finding.rows), (0, 0, 1, 6))


def _figures(rows: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    names = [name for name in rows[0] if name != "evidence"]
    table = Table(*names, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else str(value)


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
