"""Scores of open leads: the rows of `scoring.lead_score`, from a model and today's features."""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from features.sources import Sources
from features.spine import KEYS
from flows.confidence import confidence
from flows.exclusion import NO_RULES
from flows.lead_model import LeadModel
from flows.reasons import explain
from flows.score_mapping import ScoreMapping
from flows.status import SCORED, standing, with_fallbacks

VALID_DAYS = 2
PROBABILITY_FLOOR = 1e-6
N_REASON_COLUMNS = 3

NO_SCORES = pl.DataFrame(schema={"lead_id": pl.String, "probability": pl.Float64})


def score_open_leads(
    model: LeadModel,
    open_leads: pl.DataFrame,
    sources: Sources,
    as_of: date,
    model_version: str,
    now: datetime,
    rules: pl.DataFrame = NO_RULES,
    last: pl.DataFrame = NO_SCORES,
) -> pl.DataFrame:
    """Give every open lead, and every lead closed within the last week, a status, and a number where it may.

    Parameters
    ----------
    model : the champion; artefacts from before it had a base rate of its own have that of their mapping
    open_leads : keys and features, one row per lead open on `as_of`
    sources : for what is known of leads, accounts, outcomes and consent
    as_of : the day whose start the features are cut at
    model_version : of the registry
    now : time of scoring, UTC
    rules : of exclusion, kind, pattern and reason, the most important first
    last : lead_id and probability as last published, for leads of which tonight's cannot be computed

    Returns
    -------
    DataFrame
        One row per lead of `open_leads` and per closed one, by rank; leads without a number come last.
    """
    mapping = ScoreMapping(**model.recipe["score_mapping"])
    judged = standing(open_leads, sources, rules, as_of)
    base_rate = model.recipe.get("base_rate", mapping.base_rate)
    numbers = with_fallbacks(_asked(model, open_leads, judged), last, base_rate)
    has_number = pl.col("probability").is_not_null()
    with_number = numbers.filter(has_number)
    features = open_leads.filter(pl.col("lead_id").is_in(with_number["lead_id"].implode())).drop(KEYS)
    p = np.clip(with_number["probability"].to_numpy(), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    graded = with_number.with_columns(
        probability=pl.Series(p, dtype=pl.Float64),
        score=pl.Series(mapping.scores(p), dtype=pl.Int16),
        grade=pl.Series(mapping.grades(p).tolist(), dtype=pl.String),
    )
    rows = pl.concat(
        [
            _ranked(graded)
            .hstack(_reasons(model, features, with_number["status"]))
            .hstack(_worth(model, features, p)),
            numbers.filter(~has_number),
        ],
        how="diagonal",
    )
    return stamped(rows, as_of, now, model_version, mapping.version)


def stamped(
    rows: pl.DataFrame, as_of: date, now: datetime, model_version: str, mapping_version: str | None
) -> pl.DataFrame:
    """Add what all rows of a run share, and put them in order of rank; leads without one come last."""
    midnight = datetime(as_of.year, as_of.month, as_of.day, tzinfo=now.tzinfo)
    return rows.with_columns(
        model_version=pl.lit(model_version),
        mapping_version=pl.lit(mapping_version, pl.String),
        data_as_of=pl.lit(midnight).cast(pl.Datetime("us", "UTC")),
        scored_at=pl.lit(now).cast(pl.Datetime("us", "UTC")),
        valid_until=pl.lit(midnight + timedelta(days=VALID_DAYS)).cast(pl.Datetime("us", "UTC")),
    ).sort("rank_overall", "lead_id", nulls_last=True)


def _asked(model: LeadModel, open_leads: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Add the probability of every lead that the model may be asked of; null for the others."""
    may_ask = judged.filter(pl.col("status") == SCORED)["lead_id"]
    rows = open_leads.filter(pl.col("lead_id").is_in(may_ask.implode()))
    p = pl.Series("probability", model.probabilities(rows), dtype=pl.Float64)
    return judged.join(
        rows.select("lead_id").with_columns(p), on="lead_id", how="left", maintain_order="left"
    )


def _reasons(model: LeadModel, features: pl.DataFrame, status: pl.Series) -> pl.DataFrame:
    """Tell why each number is what it is; nothing where it is not the model's of tonight."""
    told = explain(model, features)
    return told.with_columns(status).select(pl.when(pl.col("status") == SCORED).then(pl.col(told.columns)))


def _worth(model: LeadModel, features: pl.DataFrame, p: np.ndarray) -> pl.DataFrame:
    """Expected value, its currency and the confidence of each lead, null where they are not known."""
    amounts = None if model.amounts is None else model.amounts.predict(features, model.encoding)
    sure = confidence(p, model.recipe["evaluation_cohort"]) if "evaluation_cohort" in model.recipe else None
    return pl.DataFrame(
        {
            "expected_value": [None] * len(p) if amounts is None else p * amounts,
            "currency": [None if model.amounts is None else model.amounts.currency] * len(p),
            "confidence": [None] * len(p) if sure is None else sure,
        },
        schema={"expected_value": pl.Float64, "currency": pl.String, "confidence": pl.Float64},
    )


def _ranked(numbers: pl.DataFrame) -> pl.DataFrame:
    """Add ranks and the percentile; equal probabilities are ordered by lead."""
    order = numbers.with_row_index("row").sort(["probability", "lead_id"], descending=[True, False])
    return in_places(order).sort("row").drop("row")


def in_places(order: pl.DataFrame) -> pl.DataFrame:
    """Add ranks (1 is best) and the percentile, 100 for the best, to leads that come best first."""
    return order.with_columns(rank_overall=pl.int_range(1, pl.len() + 1, dtype=pl.Int32)).with_columns(
        rank_in_owner_queue=pl.col("rank_overall").rank("ordinal").over("owner_id").cast(pl.Int32),
        percentile=100.0 * (1 - (pl.col("rank_overall") - 1) / pl.len()),
    )
