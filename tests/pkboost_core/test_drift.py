import math

import numpy as np
import pytest

from pkboost_core import drift


@pytest.mark.parametrize(
    ("q", "df", "expected"),
    [
        (0.95, 1, 3.841458820694124),
        (0.99, 9, 21.665994333461924),
        (0.95, 10, 18.307038053275146),
        (0.5, 2, 2 * math.log(2)),
        (0.999, 100, 149.44925277903886),
        (0.01, 5, 0.5542980767282773),
        (0.995, 2, -2 * math.log(0.005)),
    ],
)
def test_chi_square_quantiles_equal_published_ones(q, df, expected):
    assert drift.chi2_quantile(q, df) == pytest.approx(expected, rel=1e-10)
    assert drift.chi2_sf(expected, df) == pytest.approx(1 - q, rel=1e-8)


@pytest.mark.parametrize("x", [0.01, 1, 7.9, 8.1, 40, 400])
def test_chi_square_tail_with_even_degrees_is_a_poisson_sum(x):
    exact = math.exp(-x / 2) * sum((x / 2) ** i / math.factorial(i) for i in range(4))
    assert drift.chi2_sf(x, 8) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(500, 500), (5000, 300)])
def test_alarm_rate_without_drift_is_the_promised_one(n, m):
    rng = np.random.default_rng(0)
    share = np.full(10, 0.1)
    samples = [(rng.multinomial(n, share), rng.multinomial(m, share)) for _ in range(3000)]
    values = np.array([drift.psi(e, a) for e, a in samples])
    assert np.mean(values > drift.psi_critical(n, m, 10, q=0.95)) == pytest.approx(0.05, abs=0.015)


def test_psi_by_hand_and_symmetric():
    e, a = np.array([100_000, 300_000]), np.array([200_000, 200_000])
    by_hand = (0.5 - 0.25) * math.log(2) + (0.5 - 0.75) * math.log(0.5 / 0.75)
    assert drift.psi(e, a) == pytest.approx(by_hand, rel=1e-4)
    assert drift.psi(e, a) == pytest.approx(drift.psi(a, e))
    assert drift.psi(e, 3 * e) == pytest.approx(0, abs=1e-9)
    assert math.isfinite(drift.psi([10, 0], [0, 10]))


def test_histograms_count_every_row_once():
    X = np.array([[0.5, 3], [1.0, 5], [1.5, 4], [np.nan, np.nan], [np.inf, 3], [-np.inf, -1]])
    numeric, categorical = drift.bin_histograms(
        X, (np.array([0.5, 1.0]), np.array([3.0, 5.0])), [False, True]
    )
    assert numeric.tolist() == [2, 1, 2, 1]
    assert categorical.tolist() == [2, 1, 3]


def test_constant_and_unknown_columns_have_one_or_two_bins():
    X = np.array([[1.0, 7], [np.nan, 8]])
    numeric, categorical = drift.bin_histograms(X, (np.zeros(0), np.zeros(0)), [False, True])
    assert numeric.tolist() == [1, 1]
    assert categorical.tolist() == [2]


def test_merged_bins_hold_about_equal_mass_and_missing_stands_alone():
    reference = np.r_[np.full(100, 10), 77]
    groups = drift.merge_bins(reference, 10)
    assert (np.diff(groups) >= 0).all()
    assert np.bincount(groups, reference).tolist() == [100] * 10 + [77]
    assert drift.merge_bins(np.array([5, 900, 5, 0]), 10).tolist() == [0, 1, 2, 3]


def test_column_drift_sees_a_shift_and_ignores_a_resample():
    rng = np.random.default_rng(0)
    thresholds = (np.quantile(rng.normal(size=10_000), np.linspace(0.01, 0.99, 99)),)

    def histogram(x):
        return drift.bin_histograms(x[:, None], thresholds, [False])[0]

    reference = histogram(rng.normal(size=5000))
    same = drift.column_drift(reference, histogram(rng.normal(size=1000)))
    moved = drift.column_drift(reference, histogram(rng.normal(0.2, 1, size=1000)))
    lost = drift.column_drift(
        reference, histogram(np.where(rng.random(1000) < 0.05, np.nan, rng.normal(size=1000)))
    )
    assert not same.is_drifted
    assert same.p_value > 0.01
    assert moved.is_drifted
    assert moved.p_value < 0.001
    assert lost.is_drifted
    assert lost.missing_change == pytest.approx(0.05, abs=0.02)


def test_column_that_never_varies_does_not_drift():
    still = drift.column_drift(np.array([100, 0]), np.array([50, 0]))
    assert (still.psi, still.is_drifted, still.p_value) == (0, False, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: drift.psi([1, 2], [1, 2, 3]), "same bins"),
        (lambda: drift.psi_critical(0, 5, 10), "n=0"),
        (lambda: drift.chi2_quantile(1, 5), "q=1"),
        (lambda: drift.column_drift([1, 2], [1]), "differ in bins"),
        (lambda: drift.bin_histograms(np.zeros((2, 3)), (np.zeros(1),), [False]), "1 columns"),
    ],
    ids=["psi", "critical", "quantile", "column", "width"],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
