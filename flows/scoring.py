"""Scores of open leads: the rows of `scoring.lead_score`, from a model and today's features."""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from features.sources import Sources
from features.spine import KEYS
from flows.lead_model import LeadModel
from flows.reasons import explain
from flows.score_mapping import ScoreMapping

VALID_DAYS = 2
PROBABILITY_FLOOR = 1e-6
N_REASON_COLUMNS = 3

SCORED, OPTED_OUT = "scored", "opted_out"


def score_open_leads(
    model: LeadModel,
    open_leads: pl.DataFrame,
    sources: Sources,
    as_of: date,
    model_version: str,
    now: datetime,
) -> pl.DataFrame:
    """Score every open lead; who opted out of profiling gets a status and no number.

    Parameters
    ----------
    model : the champion
    open_leads : keys and features, one row per lead open on `as_of`
    sources : for consent
    as_of : the day whose start the features are cut at
    model_version : of the registry
    now : time of scoring, UTC

    Returns
    -------
    DataFrame
        One row per lead of `open_leads`, ordered by rank; leads without a number come last.
    """
    opted_out = _opted_out(sources)
    scored = open_leads.filter(~pl.col("lead_id").is_in(opted_out))
    mapping = ScoreMapping(**model.recipe["score_mapping"])
    features = scored.drop(KEYS)
    p = np.clip(model.predict_proba(features), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    numbers = scored.select("lead_id", "owner_id").with_columns(
        status=pl.lit(SCORED),
        probability=pl.Series(p, dtype=pl.Float64),
        score=pl.Series(mapping.scores(p), dtype=pl.Int16),
        grade=pl.Series(mapping.grades(p).tolist(), dtype=pl.String),
    )
    rows = pl.concat(
        [_ranked(numbers).hstack(explain(model, features)), _without_number(open_leads, opted_out)],
        how="diagonal",
    )
    midnight = datetime(as_of.year, as_of.month, as_of.day, tzinfo=now.tzinfo)
    return rows.with_columns(
        model_version=pl.lit(model_version),
        mapping_version=pl.lit(mapping.version),
        data_as_of=pl.lit(midnight).cast(pl.Datetime("us", "UTC")),
        scored_at=pl.lit(now).cast(pl.Datetime("us", "UTC")),
        valid_until=pl.lit(midnight + timedelta(days=VALID_DAYS)).cast(pl.Datetime("us", "UTC")),
    ).sort("rank_overall", "lead_id", nulls_last=True)


def _ranked(numbers: pl.DataFrame) -> pl.DataFrame:
    """Add ranks (1 is best; equal probabilities are ordered by lead) and the percentile, 100 for the best."""
    order = numbers.with_row_index("row").sort(["probability", "lead_id"], descending=[True, False])
    ranked = order.with_columns(rank_overall=pl.int_range(1, pl.len() + 1, dtype=pl.Int32)).with_columns(
        rank_in_owner_queue=pl.col("rank_overall").rank("ordinal").over("owner_id").cast(pl.Int32),
        percentile=100.0 * (1 - (pl.col("rank_overall") - 1) / pl.len()),
    )
    return ranked.sort("row").drop("row")


def _without_number(open_leads: pl.DataFrame, opted_out: pl.Series) -> pl.DataFrame:
    rows = open_leads.filter(pl.col("lead_id").is_in(opted_out)).select("lead_id", "owner_id")
    return rows.with_columns(status=pl.lit(OPTED_OUT))


def _opted_out(sources: Sources) -> pl.Series:
    consent = sources.consent
    is_out = pl.col("opted_out_profiling").fill_null(False) | pl.col("opted_out_processing").fill_null(False)
    return consent.filter(is_out)["lead_id"].implode()
