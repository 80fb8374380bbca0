"""`forget` and `export-subject`: what one person may ask of a database of scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, UsageError, database_of, opened

if TYPE_CHECKING:
    from rich.console import Group

_WORDS = {
    "erased": "Erased, and kept out of every later night. Erase the person in the CRM as well.",
    "already_erased": "Erased before; nothing more was found.",
    "nothing_found": "Nothing is stored about this subject and the CRM has no such lead; later nights will"
    " leave it out all the same. Is the id right?",
}


def forget(subject: str, *, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Erase a lead, and whoever the CRM has merged with it, from everything but the CRM.

    Scores of all nights, reasons, reports, logs, artefacts; a certificate without the data stays. The lead is
    left out of later nights even while the CRM still holds it.

    Example: leadscore forget 00Q000000000042
    """
    if not subject.strip():
        raise UsageError("name the subject: leadscore forget LEAD_ID")
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.erasure import forget as erase

        with progress.stage("erase"):
            done = erase(settings, database, subject)
    return Answer(done, lambda: _certificate(done), exit_code=1 if done["status"] == "nothing_found" else 0)


def export_subject(subject: str, *, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Print everything stored about one lead as JSON: what the CRM's views say and what was made of it.

    Example: leadscore export-subject 00Q000000000042 > subject.json
    """
    with opened(output) as (settings, progress), database_of(settings, progress) as database:
        from flows.adapters.subject_export import export

        found = export(database, subject)
    return Answer(found, lambda: _as_json(found))


def _certificate(done: Mapping[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    from flows.commands.summary import facts_table

    facts = {
        "certificate": done["certificate"],
        "at": done["erased_at"],
        "ids": done["n_ids"],
        **done["counts"],
    }
    missed = [Text(f"not reached: {place}", style="yellow") for place in done["not_reached"]]
    return Group(facts_table(facts), *missed, Text(_WORDS[done["status"]]))


def _as_json(found: Mapping[str, Any]) -> str:
    import json

    return json.dumps(found, indent=1, default=str, ensure_ascii=False)
