import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from simulator import SimulationConfig
from simulator.truth import Hidden, conversion_probability, normal_upper_tail, probability_within
from tests.simulator.worlds import DEFAULT, tables


def test_normal_tail_agrees_with_the_error_function():
    x = np.linspace(-9.0, 9.0, 2_001)
    expected = np.array([0.5 * math.erfc(value / math.sqrt(2.0)) for value in x])
    np.testing.assert_allclose(normal_upper_tail(x), expected, rtol=0, atol=2e-15)
    np.testing.assert_allclose(normal_upper_tail(x), expected, rtol=2e-8)


def test_formula_agrees_with_counting_simulated_leads():
    rng = np.random.default_rng(0)
    n, age, horizon = 400_000, 12.0, 30.0
    hidden = Hidden(np.full(1, 0.3), np.full(1, np.log(20.0)), 0.8, np.log(25.0), 0.9, 0.1)
    converts = rng.random(n) < 0.3
    delay = rng.lognormal(np.log(20.0), 0.8, n)
    loss = np.where(rng.random(n) < 0.1, np.inf, rng.lognormal(np.log(25.0), 0.9, n))
    is_open = np.where(converts, delay, loss) >= age
    counted = (converts & is_open & (delay < age + horizon)).sum() / is_open.sum()
    assert probability_within(hidden, np.full(1, age), horizon)[0] == pytest.approx(counted, abs=0.004)


def test_open_leads_convert_as_often_as_the_truth_says():
    """Deciles of the truth against what happened, over leads open on dates more than a horizon apart."""
    truth = tables(SimulationConfig(n_leads=12_000))["truth.lead"]
    horizon = 60
    parts = []
    for as_of in (date(2025, 9, 1), date(2025, 12, 1), date(2026, 3, 1), date(2026, 6, 1), date(2026, 9, 1)):
        start = datetime.combine(as_of, datetime.min.time(), UTC)
        within = pl.col("outcome_at").is_between(start, start + timedelta(days=horizon), closed="left")
        happened = truth.select(
            "lead_id", label=(within & (pl.col("outcome") == "converted")).fill_null(False)
        )
        parts.append(conversion_probability(truth, as_of, horizon).join(happened, on="lead_id"))
    judged = pl.concat(parts).sort("probability").with_columns(decile=pl.int_range(pl.len()) * 10 // pl.len())
    deciles = judged.group_by("decile", maintain_order=True).agg(
        observed=pl.col("label").sum(),
        expected=pl.col("probability").sum(),
        deviation=(pl.col("probability") * (1 - pl.col("probability"))).sum().sqrt(),
    )
    assert deciles["expected"].to_list()[-1] > 20 * deciles["expected"].to_list()[0]
    z = (deciles["observed"] - deciles["expected"]) / (deciles["deviation"] + 0.5)
    assert z.abs().max() < 3.5


def test_only_open_leads_have_a_probability():
    truth = tables()["truth.lead"]
    as_of = date(2026, 5, 1)
    start = datetime.combine(as_of, datetime.min.time(), UTC)
    scored = conversion_probability(truth, as_of, 60).join(truth, on="lead_id")
    assert (scored["created_at"] < start).all()
    assert (scored["closed_at"].is_null() | (scored["closed_at"] >= start)).all()
    assert scored["probability"].is_between(0.0, 1.0).all()
    assert scored.height > 100


def test_a_longer_horizon_is_never_less_likely():
    truth = tables()["truth.lead"]
    short = conversion_probability(truth, DEFAULT.end, 30)["probability"]
    long = conversion_probability(truth, DEFAULT.end, 90)["probability"]
    assert (long >= short).all()
    with pytest.raises(ValueError, match="horizon_days=0"):
        conversion_probability(truth, DEFAULT.end, 0)


def test_the_ceiling_at_snapshots_is_hard_but_no_toy():
    """Expected ROC-AUC of the truth itself: pairs weighted by the chance to be a positive and a negative."""
    truth = tables(SimulationConfig(n_leads=12_000))["truth.lead"]
    p = conversion_probability(truth, date(2026, 6, 1), 60)["probability"].sort().to_numpy()
    negatives_below = np.cumsum(1.0 - p) - 0.5 * (1.0 - p)
    roc_auc = (p * negatives_below).sum() / (p.sum() * (1.0 - p).sum())
    assert 0.90 < roc_auc < 0.95
    assert 0.015 < p.mean() < 0.05
