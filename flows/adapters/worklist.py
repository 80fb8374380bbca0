"""What the lists of sales need beside scores: rules of exclusion read, owners and last touches copied."""

from datetime import date

import polars as pl

from features.sources import Sources
from features.touches import OUTBOUND_TYPES
from flows.adapters.copy_frame import copy_frame
from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.exclusion import RULES_SCHEMA

_RULES = """
    SELECT kind, pattern, reason FROM scoring.exclusion_rule
    WHERE expires_on IS NULL OR expires_on >= %s ORDER BY rule_id
"""
_COPY_OWNERS = (
    "COPY scoring.owner (owner_id, team_id, is_active, daily_capacity, absent_until) FROM STDIN (FORMAT csv)"
)
_COPY_TOUCHES = (
    "COPY scoring.lead_touch (lead_id, account_id, last_outbound_at, last_touch_at) FROM STDIN (FORMAT csv)"
)


def exclusion_rules(database: Database, as_of: date) -> pl.DataFrame:
    """Return the rules of exclusion in force on a date, the oldest first: kind, pattern, reason."""
    with database.connect(ROLE) as connection:
        rows = connection.execute(_RULES, [as_of]).fetchall()
    return pl.DataFrame(rows, schema=RULES_SCHEMA, orient="row")


def copy_facts(database: Database, sources: Sources, scores: pl.DataFrame) -> None:
    """Copy owners and last touches for the lists of the next publication, and owners for those in force.

    Parameters
    ----------
    scores : lead_id and owner_id of the leads to be published.
    """
    with database.connect(ROLE) as connection:
        connection.execute("DELETE FROM scoring.owner")
        copy_frame(connection, _COPY_OWNERS, owners(sources, scores))
        connection.execute("TRUNCATE scoring.lead_touch")  # read by nobody but a publication
        copy_frame(connection, _COPY_TOUCHES, last_touches(sources, scores))


def owners(sources: Sources, scores: pl.DataFrame) -> pl.DataFrame:
    """List the owners of the CRM, and those that only leads name: they count as active."""
    known = sources.owner.drop_nulls("owner_id").unique("owner_id", keep="any")
    named = scores.select("owner_id").drop_nulls().unique().join(known, on="owner_id", how="anti")
    return (
        pl.concat([known, named], how="diagonal")
        .sort("owner_id")
        .select(
            "owner_id",
            "team_id",
            pl.col("is_active").fill_null(True),
            pl.col("daily_capacity").clip(lower_bound=0),
            "absent_until",
        )
    )


def last_touches(sources: Sources, scores: pl.DataFrame) -> pl.DataFrame:
    """Return of every lead with a score its account, last outbound touch by a person, and last touch.

    Mail of a campaign and what a machine did are no touch by a person: they cool nothing down.
    """
    kind, direction = pl.col("activity_type"), pl.col("direction")
    is_outbound = (direction == "outbound") | (direction.is_null() & kind.is_in(OUTBOUND_TYPES))
    human = sources.activity.filter(pl.col("is_bot").fill_null(False).not_())
    at = pl.col("occurred_at")
    touches = human.group_by("lead_id").agg(
        last_outbound_at=at.filter(is_outbound & pl.col("campaign_id").is_null()).max(),
        last_touch_at=at.max(),
    )
    leads = scores.filter(pl.col("probability").is_not_null()).select("lead_id")
    accounts = sources.lead.select("lead_id", "account_id")
    return (
        leads.join(accounts, on="lead_id", how="left")
        .join(touches, on="lead_id", how="left")
        .sort("lead_id")
        .select("lead_id", "account_id", "last_outbound_at", "last_touch_at")
    )
