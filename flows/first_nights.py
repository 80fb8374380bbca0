"""Nights before there is a model: the pooled prior where some leads have converted, else a plain rule.

The rule orders leads without a number: who was heard of, or came in, within the last 7 days, then within 30,
then the others; among these by the number of stages reached, then by who was heard of last.
"""

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl

from features.sources import Sources, midnight
from flows.adapters.settings import Settings
from flows.exclusion import NO_RULES
from flows.pooled_prior import UNKNOWN, PooledPrior, pooled_prior
from flows.score_mapping import ScoreMapping
from flows.scoring import in_places, stamped
from flows.status import INSUFFICIENT, NO_MODEL, POOLED_PRIOR, RULE, SCORED, standing

BANDS_DAYS = (7, 30)
_BLANK = pl.DataFrame(
    schema={
        "grade": pl.String,
        "reasons": pl.String,
        "reason_1": pl.String,
        "reason_2": pl.String,
        "reason_3": pl.String,
    }
)


@dataclass(frozen=True)
class FirstNight:
    """The scores of a night without a model, and where they come from.

    Attributes
    ----------
    tier : `pooled_prior` or `rule`.
    scores : rows of `scoring.lead_score`; with the rule none has a probability, and ranks say the order.
    words : where the scores come from, for people.
    """

    tier: str
    scores: pl.DataFrame
    words: str


def score_without_model(
    open_leads: pl.DataFrame,
    sources: Sources,
    as_of: date,
    settings: Settings,
    now: datetime,
    rules: pl.DataFrame = NO_RULES,
) -> FirstNight:
    """Give every open lead, and every lead closed within the last week, a status, and a rank where it may.

    Parameters
    ----------
    open_leads : the spine's keys of the leads open on `as_of`.
    sources : what was known at `as_of`.
    now : time of scoring, UTC.
    rules : of exclusion, as for `flows.scoring.score_open_leads`.
    """
    judged = standing(open_leads, sources, rules, as_of)
    is_asked = pl.col("status").is_in([SCORED, INSUFFICIENT])
    asked = _by_rule(judged.filter(is_asked), sources, as_of)
    prior = pooled_prior(sources, as_of, settings)
    if prior is None:
        asked, mapping, tier, words = _ruled(asked), None, RULE, _RULE_WORDS
    else:
        asked, mapping = _with_prior(asked, prior, settings), ScoreMapping(f"prior-{as_of}", prior.rate)
        tier, words = POOLED_PRIOR, _prior_words(prior)
        asked = _scored(asked, mapping)
    rows = pl.concat([_BLANK, in_places(asked), judged.filter(~is_asked)], how="diagonal")
    scores = stamped(rows, as_of, now, NO_MODEL, None if mapping is None else mapping.version)
    return FirstNight(tier, scores, words)


_RULE_WORDS = (
    "no model and no number: of the earlier leads that had time to convert none did, or all, which tells"
    " nothing; leads are in order of how lately they were heard of and how many stages they reached"
)


def _prior_words(prior: PooledPrior) -> str:
    return (
        "no model yet: each number is the share of earlier leads of the same source that converted, pulled"
        f" to the average ({prior.n_won:,} of {prior.n_leads:,} leads)"
    )


def _by_rule(leads: pl.DataFrame, sources: Sources, as_of: date) -> pl.DataFrame:
    """Add lead_source, last_touch_at, stage, n_stages and a day's age; the first by the rule come first."""
    human = sources.activity.filter(pl.col("is_bot").fill_null(False).not_())
    touched = human.group_by("lead_id").agg(last_touch_at=pl.col("occurred_at").max())
    reached = (
        sources.stage.sort("entered_at", "stage")
        .group_by("lead_id")
        .agg(stage=pl.col("stage").last(), n_stages=pl.col("stage").n_unique())
    )
    facts = sources.lead.select("lead_id", "lead_source", "created_at")
    rows = leads
    for found in (facts, touched, reached):
        rows = rows.join(found, on="lead_id", how="left", maintain_order="left")
    heard = pl.max_horizontal("created_at", "last_touch_at")
    days = (pl.lit(midnight(as_of)) - heard).dt.total_days()
    band = pl.sum_horizontal((days >= limit).cast(pl.Int8) for limit in BANDS_DAYS)
    rows = rows.with_columns(pl.col("n_stages").fill_null(0), quiet_days=days)
    return rows.sort(band, "n_stages", heard, "lead_id", descending=[False, True, True, False])


def _ruled(rows: pl.DataFrame) -> pl.DataFrame:
    """Say why each lead has its place, without a number."""
    days = pl.col("quiet_days")
    ago = pl.when(days < 1).then(pl.lit("within a day")).otherwise(pl.format("{} days ago", days))
    was_touched = pl.col("last_touch_at").is_not_null()
    heard = pl.when(was_touched).then(pl.lit("last heard of")).otherwise(pl.lit("no activity yet, created"))
    several = pl.format("{} stages reached, now {}", "n_stages", "stage")
    return rows.select(
        "lead_id",
        "owner_id",
        status=pl.lit(INSUFFICIENT),
        status_reason=pl.lit("no conversion to learn from yet: a place in the order, and no number"),
        tier=pl.lit(RULE),
        probability=pl.lit(None, pl.Float64),
        score=pl.lit(None, pl.Int16),
        reason_1=pl.format("{} {}", heard, ago),
        reason_2=pl.when(pl.col("n_stages") > 1).then(several).otherwise(pl.format("stage: {}", "stage")),
    )


def _with_prior(rows: pl.DataFrame, prior: PooledPrior, settings: Settings) -> pl.DataFrame:
    """Give each lead the number of its source; leads of equal numbers stay in the rule's order."""
    counted = prior.of(rows["lead_source"])
    is_named = pl.col("lead_source") != UNKNOWN
    named = pl.when(is_named).then(pl.format("from {}", "lead_source")).otherwise(pl.lit("of unknown source"))
    days = settings.horizon_days
    reason = pl.format("of {} earlier leads {}, {} converted within {} days", "n_leads", named, "n_won", days)
    numbers = counted.select(
        "probability", reason_1=pl.when(pl.col("n_leads") > 0).then(reason).otherwise(
            pl.format("no earlier lead {}: the average of all", named)
        )
    )  # fmt: skip
    return (
        rows.select("lead_id", "owner_id")
        .hstack(numbers)
        .with_columns(
            status=pl.lit(INSUFFICIENT),
            status_reason=pl.lit(
                "too few conversions for a model yet: the number is that of its lead source"
            ),
            tier=pl.lit(POOLED_PRIOR),
        )
        .sort("probability", descending=True, maintain_order=True)
    )


def _scored(rows: pl.DataFrame, mapping: ScoreMapping) -> pl.DataFrame:
    p = np.asarray(rows["probability"].to_numpy(), dtype=np.float64)
    return rows.with_columns(
        score=pl.Series(mapping.scores(p), dtype=pl.Int16),
        grade=pl.Series(mapping.grades(p).tolist(), dtype=pl.String),
    )
