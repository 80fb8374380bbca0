"""What a night looks like on a terminal: numbers, places, the ten best leads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from flows.adapters.settings import Settings

_TOP = 10


def night_summary(summary: Mapping[str, Any], settings: Settings) -> Group:
    """The summary of one night, most telling numbers first."""
    parts: list[Any] = [_grid(_numbers(summary)), Text(), _grid(_places(summary, settings))]
    leads = summary.get("top_leads") or []
    if leads:
        parts += [Text(), _best_leads(leads[:_TOP])]
    for warning in summary.get("warnings") or []:
        parts += [Text(), Text(f"note: {warning}", style="bold yellow")]
    return Group(*parts)


def facts_table(facts: Mapping[str, Any]) -> Table:
    """Name and value of each entry."""
    return _grid([(name.replace("_", " "), _short(value)) for name, value in facts.items()])


def _numbers(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    interval = _interval(summary.get("average_precision_low"), summary.get("average_precision_high"))
    stages = summary.get("wall_seconds") or {}
    wall = sum(stages.values()) if isinstance(stages, Mapping) else stages
    return [
        ("as of", str(summary.get("as_of"))),
        ("leads scored", f"{_short(summary.get('n_scored'))} of {_short(summary.get('n_open_leads'))} open"),
        ("numbers from", _short(summary.get("tier"))),
        ("model version", _short(summary.get("model_version"))),
        ("trained on", f"{_short(summary.get('n_train_rows'))} rows, "
                       f"{_short(summary.get('n_train_positives'))} conversions"),
        ("PR-AUC", f"{_short(summary.get('average_precision'))}{interval}, "
                   f"prevalence {_short(summary.get('prevalence'))}"),
        ("ROC-AUC", _short(summary.get("roc_auc"))),
        ("lift at 10 %", _short(summary.get("lift_at_10pct"))),
        ("training", f"{_short(summary.get('train_seconds'))} s of {_short(wall)} s"),
        ("peak memory", f"{_short(summary.get('peak_rss_mb'))} MiB"),
    ]  # fmt: skip


def _places(summary: Mapping[str, Any], settings: Settings) -> list[tuple[str, str]]:
    """Where everything is; the embedded server runs only while a command does, or after `db up`."""
    up = "" if settings.database_url is not None else "leadscore db up && "
    query = "SELECT * FROM sales.prioritized_leads ORDER BY rank_overall LIMIT 20"
    tracking = settings.mlflow_tracking_uri or '"$(leadscore db url --mlflow)"'
    return [
        ("table", f'{up}{_psql()} "$(leadscore db url)" -c "{query}"'),
        ("report", _short(summary.get("report_path"))),
        ("MLflow", f"{up}mlflow ui --backend-store-uri {tracking}"),
        ("one lead", "leadscore explain LEAD_ID"),
    ]


def _psql() -> str:
    """The system's psql, or the one that comes with the embedded server."""
    from flows.adapters.postgres_binaries import ServerUnavailableError, find_binaries

    if shutil.which("psql"):
        return "psql"
    try:
        return str(find_binaries().folder / "psql")
    except ServerUnavailableError:
        return "psql"


def _best_leads(leads: list[Mapping[str, Any]]) -> Table:
    table = Table(title="Best leads", title_justify="left", title_style="bold", box=None, padding=(0, 1))
    for name in ("rank", "lead", "company", "title"):
        table.add_column(
            name, justify="right" if name == "rank" else "left", overflow="ellipsis", no_wrap=True
        )
    for name in ("prob.", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("owner", overflow="ellipsis", no_wrap=True)
    table.add_column("because", ratio=1)
    for lead in leads:
        reasons = [lead.get(f"reason_{i}") for i in (1, 2, 3)]
        table.add_row(
            _short(lead.get("rank")),
            *(Text(_short(lead.get(name))) for name in ("lead_id", "company", "title")),
            _short(lead.get("probability")),
            _short(lead.get("score")),
            _short(lead.get("grade")),
            Text(_short(lead.get("owner_id"))),
            Text("; ".join(reason for reason in reasons if reason)),
        )
    return table


def _grid(rows: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(value))
    return grid


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"


def _short(value: Any) -> str:
    """A number with the digits that matter; a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
