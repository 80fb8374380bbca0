"""Why a score moved since the night before: time passed, the model changed, or the lead did something.

The three parts are in points and add up to the change of the published score. Time: what the old probability
would be worth tonight had nothing been heard of the lead, by Bayes' theorem and the delay curve alone. Model:
what the new model says of tonight's features beyond what the old one would. The rest is data.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from features.delay import DelayCurve, FloatArray, rescore
from features.late_labels import age_bands
from flows.lead_model import LeadModel
from flows.score_mapping import ScoreMapping
from flows.scoring import PROBABILITY_FLOOR

PARTS = ("delta_data", "delta_decay", "delta_model")


@dataclass(frozen=True)
class NightBefore:
    """The newest published scores of an earlier date: lead_id, probability and score, and what made them."""

    as_of: date
    scores: pl.DataFrame
    model: LeadModel
    model_version: str


def faded(
    probability: FloatArray, curve: DelayCurve | None, age_days: FloatArray, elapsed_days: FloatArray
) -> FloatArray:
    """Return what a probability of `elapsed_days` ago is worth for a lead that is still open: p(1-F)/(1-pF).

    Parameters
    ----------
    probability : float64 (n,), to convert within the horizon of the day it was made.
    curve : of the model that made it; None fades nothing.
    age_days : age of the lead on that day.
    elapsed_days : since that day.

    Returns
    -------
    float64 (n,), falling to 0 by the end of that horizon.
    """
    if curve is None:
        return probability
    return rescore(probability, curve(elapsed_days, age_bands(age_days)))


def with_parts(
    scores: pl.DataFrame, before: NightBefore, model: LeadModel, open_leads: pl.DataFrame, as_of: date
) -> pl.DataFrame:
    """Add why each score moved; null for leads without a score on both nights.

    Parameters
    ----------
    scores : tonight's rows: lead_id, probability, score, model_version.
    model : what made them.
    open_leads : tonight's keys and features, which the model of the night before can score.
    """
    rows = scores.join(
        before.scores.select("lead_id", old_probability="probability", old_score="score"),
        on="lead_id",
        how="left",
        maintain_order="left",
    )
    is_known = rows["old_probability"].is_not_null() & rows["probability"].is_not_null()
    both = rows.filter(is_known)
    parts = both.select("lead_id").hstack(_parts(both, before, model, open_leads, as_of))
    return scores.join(parts, on="lead_id", how="left", maintain_order="left")


def _parts(
    rows: pl.DataFrame, before: NightBefore, model: LeadModel, open_leads: pl.DataFrame, as_of: date
) -> pl.DataFrame:
    old = ScoreMapping(**before.model.recipe["score_mapping"])
    new = ScoreMapping(**model.recipe["score_mapping"])
    features = rows.select("lead_id").join(open_leads, on="lead_id", how="left", maintain_order="left")
    p_old, p_new = rows["old_probability"].to_numpy(), rows["probability"].to_numpy()
    gap = float((as_of - before.as_of).days)
    age = features["lead_age_days"].to_numpy() - gap
    kept = _clipped(faded(p_old, before.model.delay_curve, age, np.full(len(age), gap)))
    decay, change = old.points(kept) - old.points(p_old), np.zeros(len(age))
    if before.model_version != rows["model_version"].first() and len(age):
        by_old = before.model.probabilities(features)
        change = new.points(p_new) - old.points(_clipped(by_old))
    delta = (rows["score"].cast(pl.Float64) - rows["old_score"].cast(pl.Float64)).to_numpy()
    return pl.DataFrame(dict(zip(PARTS, (delta - decay - change, decay, change), strict=True)))


def _clipped(p: FloatArray) -> FloatArray:
    return np.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
