"""Confidence lies inside (0, 1), grows with evidence, and falls where the forecast is contradicted."""

import numpy as np
import pytest

from flows.confidence import confidence


def cohort(n: int, seed: int = 0) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 9, n)
    return {"y": (rng.random(n) < p).astype(float).tolist(), "p": p.tolist(), "rows_per_lead": 1.0}


P = np.array([1e-6, 0.01, 0.1, 0.4, 1 - 1e-6])


def test_it_lies_inside_the_unit_interval_and_grows_with_the_cohort():
    small, large = confidence(P, cohort(300)), confidence(P, cohort(30_000))
    assert ((small > 0) & (small < 1) & (large > 0) & (large < 1)).all()
    assert (large[1:4] > small[1:4] + 0.1).all()


def test_one_bin_by_hand():
    found = confidence(np.array([0.25]), {"y": [1.0] * 10 + [0.0] * 30, "p": [0.25] * 40})
    middle, half = np.log(10.5 / 30.5), 1.959964 * np.sqrt(1 / 10.5 + 1 / 30.5)
    low, high = 1 / (1 + np.exp(half - middle)), 1 / (1 + np.exp(-half - middle))
    assert found[0] == pytest.approx(1 - (high - low) / (high + low), abs=1e-12)


def test_snapshots_of_one_lead_count_once():
    rows = cohort(5_000)
    assert (confidence(P, rows | {"rows_per_lead": 4.0})[1:4] < confidence(P, rows)[1:4]).all()


def test_a_forecast_that_its_bin_contradicts_is_less_sure():
    settled = {"y": [1.0, 0.0] * 500, "p": [0.01] * 1000, "rows_per_lead": 1.0}
    assert confidence(np.array([0.01]), settled)[0] < 0.05 < confidence(np.array([0.5]), settled)[0]


def test_nothing_is_known_without_a_backtest():
    assert confidence(P, {"y": [], "p": []}) is None
