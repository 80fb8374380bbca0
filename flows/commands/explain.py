"""`explain`: one lead's score and the reasons behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, database_of, opened

if TYPE_CHECKING:
    from rich.console import RenderableType

    from flows.adapters.database import Database

_BAR_WIDTH = 24
_FACTS = (
    "lead_id",
    "owner_id",
    "status",
    "score",
    "grade",
    "probability",
    "rank_overall",
    "rank_in_owner_queue",
    "expected_value",
    "currency",
    "confidence",
    "previous_score",
    "model_version",
    "data_as_of",
    "valid_until",
)


def explain(
    lead_id: str,
    *,
    html: Annotated[Path | None, Parameter(help="Draw a page with a waterfall into this file.")] = None,
    output: Output = DEFAULT_OUTPUT,
) -> Answer:
    """Show a lead's published score, and what speaks for it and against it.

    Example: leadscore explain 00Q000000000042 --html lead.html
    """
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        found = _published(database, settings.model_key, lead_id)
        if html is not None:
            _draw(html, found, _average_log_odds(database, settings.model_key))
    return Answer(found, lambda: _sheet(found))


def _draw(path: Path, lead: Mapping[str, Any], average_log_odds: float) -> None:
    from flows.explain_page import render

    page = render(lead, average_log_odds)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _average_log_odds(database: Database, model_key: str) -> float:
    """Mean log-odds of the leads scored in the night that is in force; 0 without any."""
    query = (
        "SELECT avg(ln(probability / (1 - probability))) FROM scoring.lead_score "
        "WHERE model_key = %s AND probability IS NOT NULL"
    )
    with database.connect("score_writer") as connection:
        row = connection.execute(query, [model_key]).fetchone()
    return 0.0 if row is None or row[0] is None else float(row[0])


def _published(database: Database, model_key: str, lead_id: str) -> dict[str, Any]:
    from psycopg.rows import dict_row

    with database.connect("score_writer") as connection, connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT * FROM scoring.lead_score WHERE model_key = %s AND lead_id = %s", [model_key, lead_id]
        )
        found = cursor.fetchone()
        if found is None:
            cursor.execute("SELECT count(*) AS n FROM scoring.lead_score WHERE model_key = %s", [model_key])
            n_scores = (cursor.fetchone() or {"n": 0})["n"]
    if found is None:
        known = (
            f"{n_scores:,} leads have one" if n_scores else "none has been published: run `leadscore nightly`"
        )
        raise NoScoreError(
            f"lead {lead_id!r} has no score ({known}); closed, deleted and merged leads are not scored"
        )
    return found | {"reasons": _decoded(found.get("reasons"))}


class NoScoreError(RuntimeError):
    """The lead asked for is not among the published scores."""


def _decoded(reasons: Any) -> list[Mapping[str, Any]]:
    return json.loads(reasons) if isinstance(reasons, str) else reasons or []


def _sheet(lead: Mapping[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from flows.commands.summary import facts_table

    facts = {name: lead.get(name) for name in _FACTS}
    parts: list[Any] = [facts_table(facts)]
    reasons = lead["reasons"]
    strongest = max((abs(reason["effect"]) for reason in reasons), default=0.0)
    for title, sign in (("For", "+"), ("Against", "-")):
        chosen = [reason for reason in reasons if reason["sign"] == sign]
        parts += [Text(), _bars(title, chosen, strongest or 1.0)] if chosen else []
    if not reasons:
        parts += [Text(), Text("Nothing about this lead stands out.")]
    return Group(*parts)


def _bars(title: str, reasons: Sequence[Mapping[str, Any]], strongest: float) -> RenderableType:
    from rich.text import Text

    from flows.commands.plain_table import plain_table

    table = plain_table("", "log-odds", "why", words=("", "why"), title=title)
    for reason in reasons:
        effect = reason["effect"]
        length = max(1, round(_BAR_WIDTH * abs(effect) / strongest))
        bar = Text("█" * length + " " * (_BAR_WIDTH - length), "green" if effect > 0 else "red")
        table.add_row(bar, f"{effect:+.2f}", Text(str(reason.get("words") or reason["label"])))
    return table
