"""Erase one person from everything this installation keeps, and certify it without the data."""

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from psycopg.types.json import Jsonb

from flows.adapters import erased
from flows.adapters.database import MLFLOW_DATABASE, Database, exclusive
from flows.adapters.erasure_files import edit_for, erase_from_home
from flows.adapters.erasure_tables import erase_from_postgres, erase_from_sqlite
from flows.adapters.settings import Settings
from flows.redaction import Subject, is_distinctive

_CERTIFY = """
    INSERT INTO scoring.erasure (subject_sha256, n_ids, counts, not_reached) VALUES (%s, %s, %s, %s)
    RETURNING erasure_id, erased_at
"""


def forget(settings: Settings, database: Database, subject_id: str) -> dict[str, Any]:
    """Erase a lead and everybody merged with it, keep them out of later nights, and write a certificate.

    The bar against later nights is set first: a crash, or a night that is running, leaves them barred, and
    the next call does the rest. A second call finds nothing and says so.

    Parameters
    ----------
    subject_id : a lead's id, or any id that the CRM has merged with it.

    Returns
    -------
    dict : status (`erased`, `already_erased`, `nothing_found`), the certificate's number and time, the
        subject's salted hash, the number of ids, counts by store, and what could not be reached. No id is in
        it.

    Raises
    ------
    AlreadyRunningError : a night, or one of a replay, is being published; the subject is barred already.
    """
    with database.connect() as connection:
        ids = erased.ids_of_person(connection, subject_id)
        is_known = erased.is_in_crm(connection, ids)
        hashes = erased.hashes(connection, ids)
        is_new = erased.bar(connection, hashes.values()) > 0
    with exclusive(database, "nightly"), exclusive(database, "replay"):
        counts, not_reached = _erase_everywhere(settings, database, Subject(ids))
        if any(not is_distinctive(name) for name in ids):
            not_reached.append(
                "mentions of an id of few letters in running text: not told from other numbers"
            )
        with database.connect() as connection:
            row = connection.execute(
                _CERTIFY, [hashes[subject_id], len(ids), Jsonb(counts), Jsonb(not_reached)]
            ).fetchone()
    number, erased_at = row or (None, None)
    known = "erased" if counts or (is_known and is_new) else "nothing_found"
    return {
        "status": known if is_new or counts else "already_erased",
        "certificate": number,
        "erased_at": erased_at,
        "subject_sha256": hashes[subject_id],
        "n_ids": len(ids),
        "counts": dict(counts),
        "not_reached": not_reached,
    }


def _erase_everywhere(
    settings: Settings, database: Database, subject: Subject
) -> tuple[Counter[str], list[str]]:
    counts = erase_from_postgres(database, subject)
    found, not_reached = erase_from_home(settings.root, subject)
    counts += found
    found, missed = _erase_from_mlflow(settings, database, subject)
    not_reached += missed
    if settings.prefect_api_url:
        not_reached.append("the Prefect server at PREFECT_API_URL: delete its artefacts `best-leads` there")
    return counts + found, not_reached


def _erase_from_mlflow(
    settings: Settings, database: Database, subject: Subject
) -> tuple[Counter[str], list[str]]:
    """MLflow where it is not below the home: our database, a SQLite file elsewhere, a server's artefacts."""
    uri = settings.mlflow_tracking_uri
    if uri is None:
        if not _has_database(database, MLFLOW_DATABASE):
            return Counter(), []
        found = erase_from_postgres(database.at(MLFLOW_DATABASE), subject, ("public",))
        return Counter({f"{MLFLOW_DATABASE}.{name}": n for name, n in found.items()}), []
    if uri.startswith("sqlite:"):
        path = Path(urlsplit(uri).path.removeprefix("/")).resolve()
        if path.is_relative_to(settings.root) or not path.exists():
            return Counter(), []
        return +Counter({"MLflow's SQLite file": erase_from_sqlite(path, subject)}), []
    if uri.startswith(("http://", "https://")):
        from flows.adapters.registry import open_registry

        def edit(name: str, text: str) -> str:
            return edit_for(name)(text, subject)

        return +Counter({"MLflow artefacts": open_registry(settings, database).edit_artifacts(edit)}), []
    return Counter(), [
        "MLflow's tracking database at MLFLOW_TRACKING_URI: only our own or SQLite is searched"
    ]


def _has_database(database: Database, name: str) -> bool:
    with database.connect() as connection:
        query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)"
        return connection.execute(query, [name]).fetchone() == (True,)
