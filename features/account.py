"""Account group: the company behind the lead, and how its other leads fared."""

from datetime import timedelta

import polars as pl

from features.fields import spells, value_at
from features.ledger import book, read
from features.outcomes import first_known
from features.sources import Sources
from features.spine import KEYS
from features.touches import daily

NEXT_DAY = timedelta(days=1)
TOUCH_DAYS = 30
MAX_LEVELS_UP = 10


def account(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Return size, industry and country at the snapshot, hierarchy, and the account's other leads.

    `is_customer` is left out: CRMs set it when a lead converts. `account_won_count` says the same as of the
    snapshot. Counts leave the row's own lead out and are 0 without an account; a lead that was lost and came
    back counts as lost and as won. `account_family_*` covers all accounts under the same top parent.
    Hierarchy has no history: today's parents stand for all snapshots.
    """
    keys = spine.select("account_id", "snapshot_date")
    fields = {
        f"account_{field}": value_at(sources, "account", field, keys)
        for field in ("industry", "country", "employee_count", "annual_revenue")
    }
    family = _family(sources.account)
    placed = keys.join(family, on="account_id", how="left", maintain_order="left")
    return pl.concat(
        [
            spine.select(KEYS),
            pl.DataFrame(fields),
            placed.select(account_is_competitor="is_competitor", account_has_parent="has_parent"),
            _other_leads(sources, spine),
            _family_leads(sources, spine, family, placed["family_id"]),
        ],
        how="horizontal",
    )


def _family(account: pl.DataFrame) -> pl.DataFrame:
    """Top parent of each account, at most `MAX_LEVELS_UP` levels up, so that circles end."""
    parents = account.select("account_id", "parent_id").unique("account_id", keep="any")
    is_own = pl.col("parent_id") == pl.col("account_id")
    parent_of = parents.filter(~is_own).drop_nulls("parent_id")
    top = parents.select("account_id", family_id="account_id")
    for _ in range(MAX_LEVELS_UP):
        above = top.join(
            parent_of, left_on="family_id", right_on="account_id", how="left", maintain_order="left"
        )
        if above["parent_id"].null_count() == above.height:
            break
        top = above.select("account_id", family_id=pl.coalesce("parent_id", "family_id"))
    facts = account.select("account_id", "is_competitor", has_parent=pl.col("parent_id").is_not_null())
    return top.join(facts.unique("account_id", keep="any"), on="account_id")


def _memberships(sources: Sources) -> pl.DataFrame:
    """Spans over which each lead counts for an account: known, not removed, and assigned to it."""
    lead = sources.lead.select(
        "lead_id", known_day=pl.col("known_at").dt.date(), removed_day=pl.col("removed_at").dt.date()
    )
    assigned = spells(sources, "lead", "account_id").rename({"value": "account_id"}).drop_nulls("account_id")
    return assigned.join(lead, on="lead_id").select(
        "lead_id",
        "account_id",
        start=pl.max_horizontal("start", pl.col("known_day") + NEXT_DAY),
        end=pl.min_horizontal("end", pl.col("removed_day") + NEXT_DAY),
        amount=pl.lit(1),
    )


def _other_leads(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    members, touched = _memberships(sources), _touch_spans(sources, spine)
    totals = read(
        [
            book(members, "account_id", "leads"),
            book(_closed(members, sources, is_conversion=True), "account_id", "won"),
            book(_closed(members, sources, is_conversion=False), "account_id", "lost"),
            book(_while_member(touched, members), "account_id", "touches"),
        ],
        "account_id",
        spine,
    )
    own_touches = touched.join(spine, on="lead_id", how="semi")
    own = read([book(own_touches, "lead_id", "touches")], "lead_id", spine)["touches"]
    has_account = spine["account_id"].is_not_null().cast(pl.Int64)
    return totals.select(
        account_other_lead_count=pl.col("leads") - has_account,
        account_won_count="won",
        account_lost_count="lost",
        account_other_touch_count_30d=pl.col("touches") - own * has_account,
    )


def _family_leads(
    sources: Sources, spine: pl.DataFrame, family: pl.DataFrame, family_id: pl.Series
) -> pl.DataFrame:
    members = _memberships(sources).join(family.select("account_id", "family_id"), on="account_id")
    totals = read(
        [
            book(members, "family_id", "leads"),
            book(_closed(members, sources, is_conversion=True), "family_id", "won"),
        ],
        "family_id",
        spine.select("snapshot_date", family_id),
    )
    return totals.select(
        account_family_other_lead_count=pl.col("leads") - family_id.is_not_null().cast(pl.Int64),
        account_family_won_count="won",
    )


def _closed(members: pl.DataFrame, sources: Sources, *, is_conversion: bool) -> pl.DataFrame:
    closing = first_known(sources, is_conversion=is_conversion)
    return members.join(closing, on="lead_id").with_columns(
        start=pl.max_horizontal("start", pl.col("known_day") + NEXT_DAY)
    )


def _touch_spans(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Spans, met by some snapshot, over which touches by people lie in the last `TOUCH_DAYS` days."""
    spans = daily(sources).select(
        "lead_id",
        start=pl.max_horizontal("occurred_day", "known_day") + NEXT_DAY,
        end=pl.min_horizontal(
            pl.col("occurred_day") + timedelta(days=TOUCH_DAYS) + NEXT_DAY, pl.col("bot_day") + NEXT_DAY
        ),
        amount="n",
    )
    dates = spine["snapshot_date"]
    first, last = pl.lit(dates.min(), dtype=pl.Date), pl.lit(dates.max(), dtype=pl.Date)
    return spans.filter(pl.col("start") <= last, pl.col("end") > first).collect()


def _while_member(spans: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Give each lead's span to the accounts it was a member of meanwhile."""
    met = spans.join(members.drop("amount"), on="lead_id", suffix="_member")
    return met.with_columns(
        start=pl.max_horizontal("start", "start_member"), end=pl.min_horizontal("end", "end_member")
    )
