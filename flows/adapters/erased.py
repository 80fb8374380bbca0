"""Who has been erased: salted hashes that a lead still held by the CRM is recognised by."""

from collections.abc import Collection
from typing import Any

import psycopg

_HASHES = """
    SELECT id, encode(sha256(convert_to(salt || id, 'UTF8')), 'hex')
    FROM unnest(%s::text[]) AS id CROSS JOIN leadscore.erasure_salt
"""
_STILL_HELD = """
    WITH held AS (
        SELECT lead_id AS id FROM source.lead
        UNION SELECT subject_id FROM source.consent
        UNION SELECT lead_id FROM source.outcome
        UNION SELECT lead_id FROM source.stage_history
    )
    SELECT id
    FROM held
    CROSS JOIN leadscore.erasure_salt
    JOIN leadscore.erased_subject ON subject_sha256 = encode(sha256(convert_to(salt || id, 'UTF8')), 'hex')
"""
_PERSON = """
    WITH RECURSIVE link AS (
        SELECT source_id AS one, canonical_id AS other FROM source.identity_map
        UNION
        SELECT lead_id, merged_into_id FROM source.lead WHERE merged_into_id IS NOT NULL
    ),
    both_ways AS (SELECT one, other FROM link UNION SELECT other, one FROM link),
    person AS (
        SELECT %s::text AS id
        UNION
        SELECT other FROM person JOIN both_ways ON one = id
    )
    SELECT id FROM person WHERE id <> '' ORDER BY 1
"""


def ids_of_person(connection: psycopg.Connection[Any], subject: str) -> list[str]:
    """Return the subject's id and every id that the CRM has merged with it, directly or over others."""
    if not _has_source(connection):
        return [subject]
    return [name for (name,) in connection.execute(_PERSON, [subject]).fetchall()]


def is_in_crm(connection: psycopg.Connection[Any], ids: Collection[str]) -> bool:
    """Whether the CRM has a lead of one of these ids."""
    if not _has_source(connection):
        return False
    query = "SELECT EXISTS (SELECT FROM source.lead WHERE lead_id = ANY(%s))"
    return connection.execute(query, [list(ids)]).fetchone() == (True,)


def hashes(connection: psycopg.Connection[Any], ids: Collection[str]) -> dict[str, str]:
    """Return the salted SHA-256 of each id."""
    return dict(connection.execute(_HASHES, [list(ids)]).fetchall())


def bar(connection: psycopg.Connection[Any], subject_hashes: Collection[str]) -> int:
    """Keep these subjects out of every later night; returns how many were not barred before."""
    return connection.execute(
        "INSERT INTO leadscore.erased_subject (subject_sha256) SELECT unnest(%s::text[])"
        " ON CONFLICT DO NOTHING",
        [list(subject_hashes)],
    ).rowcount


def erased_ids(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the ids of erased subjects that the CRM still holds; one look where nobody was erased."""
    if connection.execute("SELECT EXISTS (SELECT FROM leadscore.erased_subject)").fetchone() != (True,):
        return []
    return [name for (name,) in connection.execute(_STILL_HELD).fetchall()]


def _has_source(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute("SELECT to_regclass('source.lead') IS NOT NULL").fetchone() == (True,)
