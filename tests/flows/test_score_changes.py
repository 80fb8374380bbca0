"""Why scores move: the parts add up, silence alone makes a score fall, and only the old model's own share."""

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from features.delay import DelayCurve
from features.matrix import fit_encoding, to_matrix
from features.spine import KEYS
from flows.lead_model import LabelDefinition, LeadModel, TrainingRange
from flows.score_changes import PARTS, NightBefore, faded, with_parts
from flows.score_mapping import ScoreMapping
from pkboost_core import PKBoostClassifier
from tests.features.worlds import day

AGES = tuple(float(a) for a in range(68))
SHARES = tuple(min(1.0, 1 - math.exp(-a / 15)) if a < 67 else 1.0 for a in AGES)
CURVE = DelayCurve(AGES, SHARES, {}, 100, {}, 67.0, "observed")
MAPPING = {"version": "odds", "base_rate": 0.05}


def open_leads(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "lead_id": [f"L{i}" for i in range(n)],
            "snapshot_date": [day(1)] * n,
            "account_id": [None] * n,
            "owner_id": [None] * n,
            "lead_age_days": rng.uniform(5, 80, n),
            "activity_visit_count_7d": rng.poisson(1.0, n).astype(np.float64),
        },
        schema_overrides={"account_id": pl.String, "owner_id": pl.String},
    )


def fitted(slope: float) -> LeadModel:
    frame = open_leads(500, 1).drop(KEYS)
    visits = frame["activity_visit_count_7d"].to_numpy()
    y = (np.random.default_rng(0).random(500) < 1 / (1 + np.exp(3 - slope * visits))).astype(float)
    encoding = fit_encoding(frame)
    booster = PKBoostClassifier(n_estimators=10, random_state=1).fit(to_matrix(frame, encoding), y)
    dates = TrainingRange(day(0), day(0), day(0), 500, int(y.sum()))
    return LeadModel(
        booster, encoding, LabelDefinition(60, 7, ""), dates, {"score_mapping": MAPPING}, delay_curve=CURVE
    )


@pytest.fixture(scope="module")
def models() -> tuple[LeadModel, LeadModel]:
    return fitted(1.0), fitted(2.0)


def scored(model: LeadModel, leads: pl.DataFrame, version: str) -> pl.DataFrame:
    p = model.predict_proba(leads.drop(KEYS))
    return leads.select("lead_id").with_columns(
        probability=pl.Series(p),
        score=pl.Series(ScoreMapping(**MAPPING).scores(p), dtype=pl.Int16),
        model_version=pl.lit(version),
    )


def night(model: LeadModel, leads: pl.DataFrame, version: str) -> NightBefore:
    return NightBefore(day(0), scored(model, leads, version), model, version)


def test_a_lead_that_goes_quiet_for_months_fades_by_arithmetic():
    days = np.arange(0.0, 121.0)
    for p in (0.02, 0.3, 0.9):
        worth = faded(np.full(121, p), CURVE, np.full(121, 12.0), days)
        assert worth[0] == p
        assert (np.diff(worth[:68]) < 0).all()
        assert not worth[67:].any()
        share = 1 - math.exp(-30 / 15)
        assert worth[30] == pytest.approx(p * (1 - share) / (1 - p * share))
    assert faded(np.array([0.3]), None, np.array([5.0]), np.array([90.0])).tolist() == [0.3]


def test_the_parts_add_up_to_the_change_of_the_score(models):
    before, now = open_leads(60, 2), open_leads(60, 3)
    for model, version in ((models[0], "1"), (models[1], "2")):
        rows = scored(model, now, version)
        made = with_parts(rows, night(models[0], before, "1"), model, now, day(1))
        change = (rows["score"].cast(pl.Float64) - scored(models[0], before, "1")["score"]).to_numpy()
        np.testing.assert_allclose(made.select(pl.sum_horizontal(PARTS)).to_series(), change, atol=1e-9)
        assert made.drop(PARTS).equals(rows)
        assert (made["delta_decay"] < 0).all()
        assert (made["delta_model"].abs().max() > 0) == (version == "2")


def test_nothing_but_time_moves_a_lead_of_which_nothing_is_heard(models):
    leads = open_leads(60, 2)
    made = with_parts(scored(models[0], leads, "1"), night(models[0], leads, "1"), models[0], leads, day(7))
    points = ScoreMapping(**MAPPING).points
    p = made["probability"].to_numpy()
    kept = faded(p, CURVE, leads["lead_age_days"].to_numpy() - 7, np.full(60, 7.0))
    np.testing.assert_allclose(made["delta_decay"], points(kept) - points(p))
    np.testing.assert_allclose(made["delta_data"], -made["delta_decay"])


def test_a_new_model_on_unchanged_leads_is_the_models_doing(models):
    leads = open_leads(60, 2)
    made = with_parts(scored(models[1], leads, "2"), night(models[0], leads, "1"), models[1], leads, day(1))
    rest = (made["delta_data"] + made["delta_decay"]).abs()
    assert made["delta_model"].abs().max() > 5
    assert rest.max() <= 1  # both scores were rounded


def test_leads_without_a_score_on_both_nights_have_no_parts(models):
    leads = open_leads(3, 2)
    rows = scored(models[0], leads, "1").with_columns(
        probability=pl.when(pl.col("lead_id") != "L0").then("probability")
    )
    before = night(models[0], leads.filter(pl.col("lead_id") != "L1"), "1")
    made = with_parts(rows, before, models[0], leads, day(0) + timedelta(days=1))
    for part in PARTS:
        assert made[part].is_null().to_list() == [True, True, False]
