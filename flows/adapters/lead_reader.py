"""Read what a few leads need to be scored, at any moment: minutes of reading become part of a second.

Their activities and stages are read, and those of leads in the same account. Leads, outcomes and owners are
read whole: how leads of the same source and owner fared is a feature.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
import psycopg

import sql as sql_files
from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.erased import erased_ids
from flows.adapters.source_frames import FRAMES
from flows.adapters.source_reader import Narrowed, believe, reading, without

NARROWED = {"activity": "source.activity", "stage": "source.stage_history"}
"""Frames with many rows per lead, and the view each is staged from."""
_MERGED = """
    SELECT source_id FROM source.lead_merge WHERE canonical_id = ANY(%(ids)s) AND source_id <> ALL(%(ids)s)
"""


def read_leads(database: Database, moment: datetime, lead_ids: Sequence[str]) -> Sources:
    """Read the staged frames as known at a moment, with the events of some leads and of their accounts.

    Features of these leads are the same as those made from all events.

    Parameters
    ----------
    moment : an instant, not only a midnight: rows known at or after it are left out.
    lead_ids : the leads to be scored; erased ones are left out.
    """
    with database.connect("crm_reader") as connection, reading(database, moment) as read:
        gone = erased_ids(connection)

        def believed(name: str, narrowed: Narrowed | None = None) -> pl.DataFrame:
            return believe(name, without(gone, read(name, narrowed)))[0]

        frames = {name: believed(name) for name in FRAMES if name not in NARROWED}
        wanted = json.dumps(_with_merged(connection, _with_neighbours(frames, lead_ids)))
        for name, view in NARROWED.items():
            frames[name] = believed(name, (narrowed_query(name, view), [wanted]))
    return Sources(**frames)


def narrowed_query(name: str, view: str) -> str:
    """Return a staging query whose view holds only the leads of its second parameter, a JSON array of ids."""
    text, whole = sql_files.load(f"staging/stg_{name}.sql"), f"FROM {view}\n"
    if text.count(whole) != 1:
        raise ValueError(f"stg_{name}.sql must read {view} once, at the end of a line, to be narrowed")
    few = "WHERE lead_id IN (SELECT jsonb_array_elements_text($2::jsonb))"
    return text.replace(whole, f"FROM (SELECT * FROM {view} {few}) AS narrowed\n")  # noqa: S608 - our own


def _with_neighbours(frames: dict[str, pl.DataFrame], lead_ids: Sequence[str]) -> list[str]:
    """Add every lead that is, or was, of an account that one of the leads is or was of."""
    moved = frames["field_history"].filter(pl.col("entity") == "lead", pl.col("field") == "account_id")
    membership = pl.concat(
        [
            frames["lead"].select("lead_id", "account_id"),
            moved.select(lead_id="entity_id", account_id="value"),
        ]
    ).drop_nulls()
    accounts = membership.filter(pl.col("lead_id").is_in(list(lead_ids))).select("account_id").unique()
    neighbours = membership.join(accounts, on="account_id", how="semi")["lead_id"]
    return sorted({*lead_ids, *neighbours})


def _with_merged(connection: psycopg.Connection[Any], lead_ids: list[str]) -> list[str]:
    """Add the leads folded into these: their activities count for both."""
    merged = connection.execute(_MERGED, {"ids": lead_ids}).fetchall()
    return [*lead_ids, *(name for (name,) in merged)]
