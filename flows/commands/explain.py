"""`explain`: one lead's score and the reasons behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    "previous_score",
    "model_version",
    "data_as_of",
    "valid_until",
)


def explain(lead_id: str, *, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Show a lead's published score and what pushed it up or down.

    Example: leadscore explain 00Q000000000042
    """
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        found = _published(database, settings.model_key, lead_id)
    return Answer(found, lambda: _sheet(found))


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
    from rich.table import Table
    from rich.text import Text

    from flows.commands.summary import facts_table

    facts = {name: lead.get(name) for name in _FACTS}
    parts: list[Any] = [facts_table(facts)]
    reasons = lead["reasons"]
    if reasons:
        table = Table(box=None, padding=(0, 1), title="Reasons, strongest first", title_justify="left")
        for name in ("", "log-odds", "what", "value"):
            table.add_column(name, justify="right" if name == "log-odds" else "left")
        strongest = max(abs(reason["effect"]) for reason in reasons) or 1.0
        for reason in reasons:
            effect = reason["effect"]
            bar = Text(
                "█" * max(1, round(_BAR_WIDTH * abs(effect) / strongest)), "green" if effect > 0 else "red"
            )
            table.add_row(bar, f"{effect:+.2f}", str(reason["label"]), _value(reason.get("value")))
        parts += [Text(), table]
    sentences = [lead[f"reason_{i}"] for i in (1, 2, 3) if lead.get(f"reason_{i}")]
    return Group(*parts, Text(), *(Text(f"- {sentence}") for sentence in sentences))


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
