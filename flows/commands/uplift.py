"""`uplift`: what the worklist brings, by its standing experiment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError, database_of, opened

if TYPE_CHECKING:
    from rich.console import Group

_VERDICTS = {"more": "more", "fewer": "fewer", "tie": "a tie"}
_MEANING = {
    "lists by value": "listed in order of value, against never listed (hold-out)",
    "lists at random": "listed by lot, against never listed (hold-out)",
    "value over random": "listed in order of value, against listed by lot, as many places each",
}


def uplift(
    *,
    since: Annotated[date | None, Parameter(help="Only leads first scored on this day or later.")] = None,
    until: Annotated[date | None, Parameter(help="Only leads first scored on this day or earlier.")] = None,
    as_of: Annotated[
        date | None,
        Parameter(
            help="With what was known at the start of this day. [default: the data's clock, else today]"
        ),
    ] = None,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Tell what the worklist brings: conversions and revenue of listed leads against the hold-out.

    Every lead was drawn into an arm when it was first scored: listed by value,
    listed by lot, or never listed. A lead counts once its outcome is settled:
    horizon and reporting lag after that day. Effects are differences of means
    with 95 % intervals, weighted by the logged chances of the draw and adjusted
    for the score of that day. Where 0 is inside an interval, that is a tie.
    docs/uplift.md has the formulas and how they were checked.

    Example: leadscore uplift --since 2026-01-01 --json
    """
    if since is not None and until is not None and until < since:
        raise UsageError(f"--until {until} lies before --since {since}")
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.experiment import drawn_leads
        from flows.adapters.migrations import today
        from flows.uplift_report import uplift_report

        day = as_of or today(database)
        with progress.stage("read the experiment"):
            leads = drawn_leads(database, settings.model_key, day, settings.horizon_days, since, until)
        with progress.stage("estimate"):
            report = uplift_report(leads, day, settings.horizon_days, settings.reporting_lag_days)
    report |= {"since": since, "until": until}
    return Answer(report, lambda: _sheet(report))


def _sheet(report: Mapping[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    settled = (
        f"{report['n_settled']:,} of {report['n_leads']:,} leads settled as of {report['as_of']}: "
        f"drawn {report['horizon_days']} days and the reporting lag ago"
    )
    if report["next_settled_on"] is not None:
        settled += f"; the next on {report['next_settled_on']}"
    parts: list[Any] = [Text(settled), Text(), _arms(report["arms"])]
    for contrast, meaning in _MEANING.items():
        parts += [Text(), *_contrast(report, contrast, meaning)]
    parts += [Text(f"note: {note}", style="yellow") for note in report["notes"]]
    return Group(*parts)


def _arms(arms: list[Mapping[str, Any]]) -> Any:
    from flows.commands.plain_table import plain_table

    table = plain_table(
        "arm", "leads", "settled", "converted", "conversion", "worked by people", words=("arm",)
    )
    for arm in arms:
        shares = [_percent(arm[name]) for name in ("conversion", "worked_by_people")]
        counts = [f"{arm[name]:,}" for name in ("n_leads", "n_settled", "n_converted")]
        table.add_row(arm["arm"], *counts, *shares)
    return table


def _contrast(report: Mapping[str, Any], contrast: str, meaning: str) -> list[Any]:
    from rich.text import Text

    from flows.commands.plain_table import plain_table

    rows = [row for row in report["effects"] if row["contrast"] == contrast]
    told = [row for row in rows if row["problem"] is None]
    heading = Text.assemble((contrast, "bold"), f"  {meaning}")
    if not told:
        return [heading, Text(f"too few: {rows[0]['problem']}")]
    table = plain_table(
        "", "with", "without", "effect", "95 % interval", "times", "seen from", "", words=("",)
    )
    for row in told:
        show = _percent if row["outcome"] == "conversion" else _money
        times = "-" if row["times"] is None else f"{row['times']:.2f}x"
        interval = f"{show(row['low'], '+')} to {show(row['high'], '+')}"
        table.add_row(
            _name(row), show(row["treated"]), show(row["control"]), show(row["value"], "+"), interval,
            times, show(row["detectable"]), _VERDICTS[row["verdict"]],
        )  # fmt: skip
    for found in report["differences"]:
        if found["contrast"] == contrast:
            interval = f"{_percent(found['low'], '+')} to {_percent(found['high'], '+')}"
            table.add_row(
                "best fifth less the rest", "", "", _percent(found["value"], "+"), interval, "", "",
                _VERDICTS[found["verdict"]],
            )  # fmt: skip
    missing = [Text(f"{_name(row)}: too few: {row['problem']}") for row in rows if row["problem"] is not None]
    return [heading, table, *missing]


def _name(row: Mapping[str, Any]) -> str:
    if row["group"] != "all":
        return f"{row['outcome']}, {row['group']} by score"
    return f"{row['outcome']}, {'adjusted for the score' if row['method'] == 'adjusted' else 'plain means'}"


def _percent(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2%}"


def _money(value: float, sign: str = "") -> str:
    return f"{value:{sign},.2f}"
