"""Status before score: which leads get a number tonight, from what, and why the others get none.

The first of these that holds decides: opted_out, closed, excluded, too_young, insufficient_data, scored. A
lead of which nothing is known gets the pooled prior under `insufficient_data`, and so does every lead while
there is no model (`flows.first_nights`); one whose number cannot be computed keeps its last under
`kept_last_on_error`. The other statuses carry no number: null, never 0.
"""

from datetime import date, timedelta

import polars as pl

from features.sources import Sources, midnight
from flows.exclusion import excluded

SCORED, KEPT_LAST, INSUFFICIENT = "scored", "kept_last_on_error", "insufficient_data"
TOO_YOUNG, CLOSED, EXCLUDED, OPTED_OUT = "too_young", "closed", "excluded", "opted_out"
OWN_MODEL, POOLED_PRIOR, RULE = "own_model", "pooled_prior", "rule"
NO_MODEL = "none"
"""Stands in `model_version` where no model made the scores."""

CLOSED_FOR = timedelta(days=7)
"""So long a closed lead stays in the table, so that who missed a night still hears of it."""
MIN_AGE = timedelta(hours=1)
"""A lead created later than this before the cut, without any activity yet, waits for its first touches."""

_FIELDS = (
    "lead_source", "title", "industry", "country", "employee_count", "annual_revenue", "email_domain",
)  # fmt: skip


def standing(open_leads: pl.DataFrame, sources: Sources, rules: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Say of every open lead, and every lead closed within the last week, whether it gets a number.

    Parameters
    ----------
    open_leads : lead_id, owner_id and account_id, one row per lead open on `as_of`.
    sources : what was known before `as_of`.
    rules : kind, pattern and reason, the most important first, as in `scoring.exclusion_rule`.

    Returns
    -------
    DataFrame
        lead_id, owner_id, status and status_reason (null for `scored`): the open leads in their order, then
        the closed ones by lead_id, without those who opted out: nothing is said of how they ended.
    """
    facts = sources.lead.select("lead_id", "created_at", "attrs", *_FIELDS)
    leads = open_leads.select("lead_id", "owner_id", "account_id").join(
        facts, on="lead_id", how="left", maintain_order="left"
    )
    opted_out = _opted_out(sources)
    why_not = {
        OPTED_OUT: opted_out,
        EXCLUDED: excluded(leads, sources.account, rules),
        TOO_YOUNG: _too_young(leads, sources, as_of),
        INSUFFICIENT: _unknown(leads, sources),
    }
    leads = leads.select("lead_id", "owner_id")
    for status, reasons in why_not.items():
        leads = leads.join(
            reasons.select("lead_id", pl.col("reason").alias(status)),
            on="lead_id",
            how="left",
            maintain_order="left",
        )
    found = [pl.when(pl.col(status).is_not_null()).then(pl.lit(status)) for status in why_not]
    open_rows = leads.select(
        "lead_id",
        "owner_id",
        status=pl.coalesce(*found, pl.lit(SCORED)),
        status_reason=pl.coalesce(*why_not),
    )
    listed = pl.concat([open_rows.select("lead_id"), opted_out.select("lead_id")])
    return pl.concat([open_rows, _closed(listed, sources, as_of)])


def _opted_out(sources: Sources) -> pl.DataFrame:
    consent = sources.consent
    processing = pl.col("opted_out_processing").fill_null(False)
    is_out = pl.col("opted_out_profiling").fill_null(False) | processing
    what = pl.when(processing).then(pl.lit("processing")).otherwise(pl.lit("profiling"))
    return (
        consent.filter(is_out).select("lead_id", reason=pl.format("opted out of {}", what)).unique("lead_id")
    )


def _too_young(leads: pl.DataFrame, sources: Sources, as_of: date) -> pl.DataFrame:
    fresh = leads.filter(pl.col("created_at") > midnight(as_of) - MIN_AGE)
    created = pl.col("created_at").dt.strftime("%H:%M")
    return fresh.join(sources.activity, on="lead_id", how="anti").select(
        "lead_id",
        reason=pl.format("created at {} UTC, just before the data was cut; nothing heard yet", created),
    )


def _unknown(leads: pl.DataFrame, sources: Sources) -> pl.DataFrame:
    has_attrs = pl.col("attrs").is_not_null() & (pl.col("attrs") != "{}")
    blank = leads.filter(pl.all_horizontal(pl.col(*_FIELDS, "account_id").is_null()), ~has_attrs)
    reason = pl.lit("no field filled and no activity: the number is the average of all leads")
    return blank.join(sources.activity, on="lead_id", how="anti").select("lead_id", reason=reason)


def _closed(without: pl.DataFrame, sources: Sources, as_of: date) -> pl.DataFrame:
    newly = sources.outcome.sort("known_at", "outcome", nulls_last=True).unique("lead_id", keep="first")
    newly = newly.filter(pl.col("known_at") >= midnight(as_of) - CLOSED_FOR)
    still_listed = sources.lead.filter(pl.col("removed_at").is_null()).select("lead_id", "owner_id")
    day = pl.col("outcome_at").dt.strftime("%Y-%m-%d")
    return (
        newly.join(still_listed, on="lead_id")
        .join(without, on="lead_id", how="anti")
        .sort("lead_id")
        .select(
            "lead_id",
            "owner_id",
            status=pl.lit(CLOSED),
            status_reason=pl.format("{} on {}", "outcome", day),
        )
    )


def with_fallbacks(numbers: pl.DataFrame, last: pl.DataFrame, prior: float) -> pl.DataFrame:
    """Give leads without a usable number of tonight's model the one that stands in for it, and say which.

    Parameters
    ----------
    numbers : lead_id, status, status_reason and probability, which is null where the model was not asked and
        not finite where it failed.
    last : lead_id and probability as last published.
    prior : the share of all leads that converts.

    Returns
    -------
    DataFrame
        `numbers` with status, status_reason and probability replaced where needed, and with `tier`, what
        the number comes from: own_model or pooled_prior; null without a number.
    """
    known = last.select("lead_id", last=pl.col("probability"))
    rows = numbers.join(known, on="lead_id", how="left", maintain_order="left")
    has_failed = (pl.col("status") == SCORED) & ~pl.col("probability").is_finite().fill_null(False)
    is_kept = has_failed & pl.col("last").is_not_null()
    for is_so, status, reason in (
        (is_kept, KEPT_LAST, "the model gave no number tonight: this is the last one published"),
        (has_failed & ~is_kept, INSUFFICIENT, "the model gave no number: this is the average of all leads"),
    ):
        rows = rows.with_columns(
            status=pl.when(is_so).then(pl.lit(status)).otherwise("status"),
            status_reason=pl.when(is_so).then(pl.lit(reason)).otherwise("status_reason"),
        )
    own = pl.when(pl.col("status") == KEPT_LAST).then("last").otherwise("probability")
    is_prior = pl.col("status") == INSUFFICIENT
    return rows.with_columns(
        probability=pl.when(is_prior).then(prior).otherwise(own),
        tier=pl.when(is_prior).then(pl.lit(POOLED_PRIOR)).when(own.is_not_null()).then(pl.lit(OWN_MODEL)),
    ).drop("last")
