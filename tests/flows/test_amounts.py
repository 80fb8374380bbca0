"""Amounts are learnt where they can be, pulled to the mean where they cannot, and told apart by currency."""

import numpy as np
import polars as pl
import pytest

from features.matrix import Encoding, fit_encoding
from flows.amounts import MIN_WON, AmountModel, fit_amounts


def world(n: int, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray, pl.DataFrame]:
    """Won leads, at two snapshots each, whose amount is 100 times their employees, and as many lost ones."""
    rng = np.random.default_rng(seed)
    leads = pl.DataFrame(
        {
            "lead_id": [f"L{i}" for i in range(2 * n)],
            "lead_source": rng.choice(["Web", "Fair"], 2 * n).tolist(),
            "account_employee_count": np.exp(rng.uniform(1, 7, 2 * n)),
        }
    )
    amount = 100 * leads["account_employee_count"].to_numpy() * rng.lognormal(0, 0.2, 2 * n)
    outcomes = leads.select("lead_id").with_columns(
        amount=pl.Series(amount), currency=pl.lit("EUR"), is_conversion=pl.Series(np.arange(2 * n) < n)
    )
    frame = pl.concat([leads.with_columns(account_employee_count=pl.lit(1.0)), leads])
    return frame, np.tile(np.arange(2 * n) < n, 2).astype(float), outcomes


def fitted(n: int, **changes: pl.Expr) -> tuple[AmountModel, pl.DataFrame, np.ndarray, Encoding]:
    frame, y, outcomes = world(n)
    encoding = fit_encoding(frame.drop("lead_id"))
    model = fit_amounts(frame, y, outcomes.with_columns(**changes), encoding, seed=1)
    assert model is not None
    fresh, _, truth = world(300, seed=9)
    return model, fresh.tail(600), truth["amount"].to_numpy(), encoding


def test_what_drives_amounts_is_learnt_from_the_last_snapshot_of_won_leads():
    model, fresh, truth, encoding = fitted(300)
    predicted = model.predict(fresh, encoding)
    assert model.weight > 0.8
    assert np.corrcoef(np.log(predicted), np.log(truth))[0, 1] > 0.9
    assert predicted.mean() == pytest.approx(truth.mean(), rel=0.25)
    assert model.low <= predicted.min() <= predicted.max() <= model.high


def test_too_few_won_leads_give_one_mean_for_all_and_say_so():
    model, fresh, _, encoding = fitted(MIN_WON - 1)
    assert np.ptp(model.predict(fresh, encoding)) == 0
    assert model.words() == "39 won leads with an amount (EUR): too few, one mean for all"


def test_noise_earns_the_booster_no_weight():
    noise = pl.Series(np.random.default_rng(2).lognormal(8, 1, 160))
    model, fresh, _, encoding = fitted(80, amount=noise)
    assert model.weight < 0.3
    assert np.log(model.predict(fresh, encoding)).std() < 0.3


def test_the_commonest_currency_counts_and_the_others_are_left_out():
    is_pound = pl.int_range(pl.len()) % 3 == 0
    model, *_ = fitted(
        90, currency=pl.when(is_pound).then(pl.lit("GBP")).otherwise(pl.lit("EUR")), amount=pl.lit(5.0)
    )
    assert (model.currency, model.n_won, model.n_left_out) == ("EUR", 60, 30)
    assert "30 in other currencies left out" in model.words()


def test_without_amounts_there_is_nothing_to_learn():
    frame, y, outcomes = world(50)
    none = outcomes.with_columns(amount=pl.lit(None, dtype=pl.Float64))
    assert fit_amounts(frame, y, none, fit_encoding(frame.drop("lead_id")), seed=1) is None


def test_the_same_data_gives_the_same_amounts():
    (one, fresh, _, encoding), (other, *_) = fitted(60), fitted(60)
    np.testing.assert_array_equal(one.predict(fresh, encoding), other.predict(fresh, encoding))
