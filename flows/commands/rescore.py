"""`rescore`: leads scored now, with what became known since the night."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError, database_of, opened

if TYPE_CHECKING:
    from rich.console import RenderableType

    from flows.adapters.database import Database
    from flows.adapters.settings import Settings
    from flows.lead_model import LeadModel
    from flows.progress import Progress


def rescore(*lead_id: str, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Score leads now, beside their scores in force: activities since the night are used.

    The model is the one behind the scores in force; they stay as they are, the answer is also kept in
    scoring.lead_rescore.

    Example: leadscore rescore 00Q000000000042 00Q000000000043 --json
    """
    if not lead_id:
        raise UsageError("name at least one lead: leadscore rescore LEAD_ID...")
    with (
        opened(output) as (settings, progress),
        _importing() as imported,
        database_of(settings, progress) as database,
    ):
        imported.result()
        answer = rescore_now(settings, database, lead_id, progress)
    return Answer(answer, lambda: _sheet(answer))


@contextmanager
def _importing() -> Iterator[Future[ModuleType]]:
    """Import what scoring needs while the database opens; what comes of it."""
    with ThreadPoolExecutor(1, thread_name_prefix="import") as beside:
        yield beside.submit(import_module, "flows.rescore")


def rescore_now(
    settings: Settings, database: Database, lead_ids: tuple[str, ...], progress: Progress
) -> dict[str, Any]:
    """Read, score, record; returns what the command prints.

    The model is loaded, and its kernels with it, while the database reads.
    """
    with progress.stage("import"):
        from flows.adapters import model_in_force, rescore_table
        from flows.adapters.lead_reader import read_leads
        from flows.adapters.migrations import installed_source
        from flows.adapters.worklist import exclusion_rules
        from flows.rescore import moment, wake
        from flows.rescore import rescore as score

    def load() -> LeadModel:
        model = model_in_force.load_model(settings, database, run)
        wake(model)
        return model

    now, source = datetime.now(UTC), installed_source(database)
    at = moment(None if source is None else source.clock, now)
    run = model_in_force.in_force(database, settings.model_key)
    with ThreadPoolExecutor(1, thread_name_prefix="model") as beside:
        loading = beside.submit(load)
        with progress.stage("read the leads"):
            sources = read_leads(database, at.known_before, lead_ids)
            rules = exclusion_rules(database, at.snapshot_date)
        with progress.stage("load the model"):
            model = loading.result()
    with progress.stage("score"):
        scores = score(model, run.model_version, sources, lead_ids, at, settings.max_lead_age_days, rules)
    with progress.stage("record"):
        before = rescore_table.published(database, settings.model_key, run, lead_ids)
        mapping = model.recipe["score_mapping"]["version"]
        rescore_table.record(database, settings.model_key, run, mapping, at.known_before, now, scores, before)
    return {
        "model_version": run.model_version,
        "data_as_of": at.known_before,
        "published_as_of": run.as_of,
        "leads": [
            row | {"reasons": json.loads(row["reasons"] or "[]"), "published": before.get(row["lead_id"])}
            for row in scores.to_dicts()
        ],
        "wall_seconds": {name: round(seconds, 3) for name, seconds in progress.seconds.items()},
    }


def _sheet(answer: Mapping[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from flows.commands.plain_table import plain_table

    names = ("lead", "status", "score", "grade", "probability", "published", "why")
    table = plain_table(*names, words=("lead", "status", "grade", "why"))
    for lead in answer["leads"]:
        published = lead["published"] or {}
        shown = ("-" if value is None else str(value) for value in (lead["score"], lead["grade"]))
        probability = "-" if lead["probability"] is None else f"{lead['probability']:.3f}"
        was = "-" if published.get("score") is None else str(published["score"])
        table.add_row(lead["lead_id"], lead["status"], *shown, probability, was, lead["reason_1"] or "")
    known = f"known before {answer['data_as_of']:%Y-%m-%d %H:%M} UTC, model version {answer['model_version']}"
    return Group(table, Text(known, style="dim"))
