"""All feature groups side by side."""

from collections.abc import Callable, Mapping
from functools import partial

import polars as pl

from features.account import account
from features.activity import activity
from features.attrs import Kind, attrs
from features.calendar import calendar
from features.engagement import engagement
from features.lead import lead
from features.sources import Sources
from features.spine import KEYS
from features.stage import stage
from features.track_record import track_record

Group = Callable[[Sources, pl.DataFrame], pl.DataFrame]

GROUPS: dict[str, Group] = {
    "lead": lead,
    "account": account,
    "activity": activity,
    "engagement": engagement,
    "stage": stage,
    "track_record": track_record,
    "calendar": calendar,
    "attrs": attrs,
}


def build(
    sources: Sources, spine: pl.DataFrame, attr_kinds: Mapping[str, Kind] | None = None
) -> pl.DataFrame:
    """Return the spine's keys and the columns of every group, same rows, same order.

    Parameters
    ----------
    spine : lead_id, snapshot_date, account_id, owner_id, as `features.spine.spine` makes it.
    attr_kinds : custom columns to make. None discovers them from `sources`, right for training; scoring
        passes the model's `encoding.attr_kinds`, so that its columns are the trained ones whatever the CRM
        has added since.

    Raises
    ------
    ValueError
        Two spine rows share lead_id and snapshot_date.
    """
    _refuse_duplicates(spine)
    groups = GROUPS | {"attrs": partial(attrs, kinds=attr_kinds)}
    columns = [group(sources, spine).drop(KEYS) for group in groups.values()]
    return pl.concat([spine.select(KEYS), *columns], how="horizontal")


def _refuse_duplicates(spine: pl.DataFrame) -> None:
    twice = spine.filter(pl.struct("lead_id", "snapshot_date").is_duplicated())
    if not twice.is_empty():
        lead_id, day = twice.select("lead_id", "snapshot_date").row(0)
        raise ValueError(
            f"lead {lead_id!r} appears more than once at {day}; a spine has one row per lead and snapshot"
        )
