"""The artefact keeps its predictions, its reasons for refusing, and no pickle."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.delay import DelayCurve
from features.matrix import fit_encoding, to_matrix
from flows.amounts import fit_amounts
from flows.fitting import OneBooster
from flows.lead_model import LabelDefinition, LeadModel, TrainingRange, from_pandas, pandas_input
from flows.reason_scale import ReasonScale, fit_scale
from pkboost_core import PKBoostClassifier
from tests.flows.small_models import features


@pytest.fixture(scope="module")
def model() -> LeadModel:
    frame = features(600)
    visits = frame["activity_pricing_visit_count_7d"].to_numpy()
    is_referral = (frame["lead_source"] == "Referral").fill_null(False).to_numpy()
    y = (visits + 2 * is_referral + np.random.default_rng(1).normal(0, 0.5, 600) > 2.5).astype(float)
    encoding = fit_encoding(frame)
    booster = PKBoostClassifier(
        n_estimators=12, categorical_features=encoding.categorical_indices, random_state=7
    )
    booster.fit(to_matrix(frame, encoding), y)
    return LeadModel(
        booster,
        encoding,
        LabelDefinition(60, 7, "c" * 64),
        TrainingRange(date(2026, 3, 1), date(2025, 1, 5), date(2025, 12, 24), 600, int(y.sum())),
        {"score_mapping": {"version": "odds-2026-03-01", "base_rate": 0.05}},
        delay_curve=DelayCurve(
            (0.0, 9.5, 67.0),
            (0.0, 0.4, 1.0),
            {"0-6 days": (0.0, 0.6, 1.0)},
            90,
            {"0-6 days": 30},
            67.0,
            "observed",
        ),
        reason_scale=ReasonScale({"lead_completeness": 0.5}, {"lead.source": 0.07}),
    )


def test_a_loaded_model_is_the_saved_one(model: LeadModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = LeadModel.load(tmp_path / "model")
    fresh = features(500, seed=3)
    np.testing.assert_array_equal(loaded.predict_proba(fresh), model.predict_proba(fresh))
    np.testing.assert_array_equal(loaded.contributions(fresh), model.contributions(fresh))
    assert loaded.label_definition == model.label_definition
    assert loaded.training_range == model.training_range
    assert loaded.recipe == model.recipe
    assert loaded.encoding == model.encoding
    assert loaded.code_version == model.code_version
    assert loaded.delay_curve == model.delay_curve
    assert loaded.reason_scale == model.reason_scale


def test_two_fits_that_agree_leave_no_uncertainty_and_two_that_differ_do(model: LeadModel) -> None:
    fit, rows = OneBooster(model.booster, model.encoding), features(300, seed=6)
    assert set(fit_scale(rows, fit, fit, rows).uncertainty.values()) == {0.0}
    other = PKBoostClassifier(n_estimators=4, random_state=1)
    narrow = rows.select("lead_completeness", "activity_pricing_visit_count_7d")
    encoding = fit_encoding(narrow)
    other.fit(to_matrix(narrow, encoding), (rows["lead_completeness"] > 0.5).to_numpy().astype(float))
    scale = fit_scale(rows, fit, OneBooster(other, encoding), rows)
    fields = {"account.is_competitor", "activity.email_reply", "activity.pricing_visit"}
    assert set(scale.uncertainty) == {*fields, "lead.completeness", "lead.source"}
    assert scale.uncertainty["lead.completeness"] > 0.05
    assert scale.usual["activity_pricing_visit_count_7d"] == 1.0


def test_amounts_are_kept_with_the_model(model: LeadModel, tmp_path: Path) -> None:
    frame = features(400, seed=8).with_columns(lead_id=pl.int_range(400).cast(pl.String))
    worth = frame.select("lead_id", amount=10 + 1000 * pl.col("lead_completeness"), currency=pl.lit("EUR"))
    amounts = fit_amounts(
        frame, np.ones(400), worth.with_columns(is_conversion=pl.lit(True)), model.encoding, seed=0
    )
    assert amounts is not None
    assert amounts.weight > 0.5
    replace(model, amounts=amounts).save(tmp_path)
    loaded = LeadModel.load(tmp_path).amounts
    assert loaded is not None
    assert loaded.words() == amounts.words()
    fresh = features(50, seed=3)
    np.testing.assert_array_equal(
        loaded.predict(fresh, model.encoding), amounts.predict(fresh, model.encoding)
    )


def test_saving_twice_writes_the_same_bytes(model: LeadModel, tmp_path: Path) -> None:
    model.save(tmp_path / "a")
    LeadModel.load(tmp_path / "a").save(tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["booster.pkb", "lead_model.json"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_contributions_add_up_to_the_raw_score(model: LeadModel) -> None:
    fresh = features(200, seed=4)
    raw = model.booster.decision_function(to_matrix(fresh, model.encoding))
    rest = raw - model.contributions(fresh).sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-9)


def test_an_unknown_format_is_refused(model: LeadModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    path = tmp_path / "lead_model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99, "code_version": "9.9"}))
    with pytest.raises(ValueError, match=r"format 99, this leadscore reads up to 2.*made it \(9\.9\)"):
        LeadModel.load(tmp_path)


def test_an_artefact_from_before_there_were_delay_curves_still_loads(
    model: LeadModel, tmp_path: Path
) -> None:
    model.save(tmp_path)
    path = tmp_path / "lead_model.json"
    stored = json.loads(path.read_text()) | {"format_version": 1}
    del stored["delay_curve"], stored["reasons"]
    path.write_text(json.dumps(stored))
    old, fresh = LeadModel.load(tmp_path), features(50, seed=3)
    assert old.delay_curve is None
    assert old.reason_scale == ReasonScale()
    np.testing.assert_array_equal(old.predict_proba(fresh), model.predict_proba(fresh))


def test_columns_in_another_order_are_refused_by_name(model: LeadModel) -> None:
    frame = features(5)
    swapped = frame.select("activity_pricing_visit_count_7d", "lead_source", *frame.columns[2:])
    with pytest.raises(ValueError, match="expected lead_source at 0, got activity_pricing_visit_count_7d"):
        model.predict_proba(swapped)


def test_a_missing_column_is_refused_by_name(model: LeadModel) -> None:
    with pytest.raises(ValueError, match="expected lead_completeness at 4"):
        model.predict_proba(features(5).drop("lead_completeness"))


def test_a_model_picks_its_columns_and_knows_what_it_cannot_score(model: LeadModel) -> None:
    frame = features(20, seed=2)
    more = frame.select(pl.lit("x").alias("attrs_new"), *reversed(frame.columns))
    assert model.can_score(more)
    np.testing.assert_array_equal(model.probabilities(more), model.predict_proba(frame))
    empty = frame.with_columns(lead_completeness=pl.lit(None), lead_source=pl.lit(None))
    assert model.can_score(empty), "a column without values is of any kind"
    text = pl.col("lead_completeness").cast(pl.String)
    for strange in (frame.drop("lead_completeness"), frame.with_columns(text)):
        assert not model.can_score(strange)
        with pytest.raises(ValueError, match="trained on lead_completeness, which the data do not have or"):
            model.probabilities(strange)


def test_pandas_and_back_gives_the_same_probabilities(model: LeadModel) -> None:
    fresh = features(300, seed=5)
    there = pandas_input(fresh, model.encoding)
    assert {str(dtype) for dtype in there.dtypes} == {"float64", "object"}
    back = from_pandas(there, model.encoding)
    np.testing.assert_array_equal(model.predict_proba(back), model.predict_proba(fresh))
