"""Tail probabilities against scipy, control of false discoveries against its promise."""

import numpy as np
import pytest
from scipy import special, stats

from flows.monitors.exact import (
    benjamini_hochberg,
    binomial_tail,
    dispersion,
    e_benjamini_hochberg,
    hypergeometric_tail,
    incomplete_beta,
    p_to_e,
    poisson_gamma_p_value,
    share_p_value,
    student_t_quantile,
)


@pytest.mark.parametrize("x", [0.0, 1e-6, 0.03, 0.4, 0.77, 0.999, 1.0])
@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1, 40), (3.3, 900), (250, 2.5), (4000, 3900)])
def test_incomplete_beta_is_scipys(x, a, b):
    assert incomplete_beta(x, a, b) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-250)


@pytest.mark.parametrize(
    ("k", "n", "p"), [(0, 5, 0.3), (1, 1, 0.2), (9, 10, 0.5), (130, 1000, 0.1), (11, 10, 0.9)]
)
def test_binomial_tail_is_scipys(k, n, p):
    assert binomial_tail(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-9)


@pytest.mark.parametrize(
    ("k", "drawn", "marked", "total"),
    [
        (0, 5, 3, 9),
        (3, 5, 3, 9),
        (2, 8, 3, 9),
        (40, 200, 800, 6000),
        (199, 200, 800, 6000),
        (30, 30, 30, 900),
    ],
)
def test_hypergeometric_tail_is_scipys(k, drawn, marked, total):
    expected = stats.hypergeom.sf(k - 1, total, marked, drawn)
    assert hypergeometric_tail(k, drawn, marked, total) == pytest.approx(expected, rel=1e-8, abs=1e-280)


def test_share_p_value_is_twice_fishers_smaller_tail():
    table = [[12, 38], [60, 900]]
    one_sided = stats.fisher_exact(table, alternative="greater").pvalue
    assert share_p_value(12, 50, 60, 960) == pytest.approx(2 * one_sided, rel=1e-9)
    assert share_p_value(38, 50, 900, 960) == pytest.approx(2 * one_sided, rel=1e-9)


def test_dispersion_only_ever_weakens_a_share_test():
    plain = share_p_value(30, 100, 280, 2800)
    assert plain < share_p_value(30, 100, 280, 2800, 2.0) < share_p_value(30, 100, 280, 2800, 6.0) <= 1


def test_share_test_holds_its_level_and_finds_a_difference():
    rng = np.random.default_rng(0)
    quiet = [
        share_p_value(int(rng.binomial(60, 0.2)), 60, int(rng.binomial(1500, 0.2)), 1500) for _ in range(2000)
    ]
    assert np.mean(np.array(quiet) < 0.05) < 0.06
    moved = [
        share_p_value(int(rng.binomial(60, 0.45)), 60, int(rng.binomial(1500, 0.2)), 1500) for _ in range(200)
    ]
    assert np.mean(np.array(moved) < 0.05) > 0.9


def test_volume_test_holds_its_level_for_poisson_counts():
    rng = np.random.default_rng(1)
    past, new = rng.poisson(20, (3000, 4)).sum(axis=1), rng.poisson(20, 3000)
    p = np.array([poisson_gamma_p_value(int(x), int(s), 4) for x, s in zip(new, past, strict=True)])
    assert np.mean(p < 0.05) < 0.055
    assert poisson_gamma_p_value(0, 0, 4) == 1.0
    assert poisson_gamma_p_value(0, 80, 4) < 1e-6


def test_dispersion_of_binomial_counts_is_near_one_and_of_clustered_ones_is_not():
    rng = np.random.default_rng(2)
    n, p = 100, 0.2
    cells = np.full(28, n * p), np.full(28, n * p * (1 - p))
    plain = [dispersion(rng.binomial(n, p, 28), *cells, 1) for _ in range(300)]
    clustered = [dispersion(5 * rng.binomial(n // 5, p, 28), *cells, 1) for _ in range(300)]
    assert np.mean(np.array(plain) >= 1) == 1
    assert np.median(plain) < 1.8
    assert 0.7 < np.mean(np.array(clustered) > 5) < 0.95


def test_student_t_quantile_is_scipys():
    for df in (1, 5, 11, 60):
        assert student_t_quantile(0.95, df) == pytest.approx(stats.t.ppf(0.95, df), rel=1e-9)


def test_benjamini_hochberg_is_scipys_adjustment():
    p = np.random.default_rng(3).uniform(size=40) ** 3
    assert benjamini_hochberg(p, 0.05).tolist() == (stats.false_discovery_control(p) <= 0.05).tolist()
    assert benjamini_hochberg([], 0.05).tolist() == []


def test_e_benjamini_hochberg_by_hand_and_under_dependence():
    assert e_benjamini_hochberg([100.0, 50.0, 1.0], 0.05).tolist() == [True, True, False]
    assert e_benjamini_hochberg([59.0, 29.0, 1.0], 0.05).tolist() == [False, False, False]
    rng = np.random.default_rng(4)
    shared = [np.full(30, p_to_e(rng.uniform())) for _ in range(4000)]
    assert np.mean([e_benjamini_hochberg(e, 0.05).any() for e in shared]) <= 0.05


def test_calibrated_p_values_have_mean_one():
    grid = (np.arange(100_000) + 0.5) / 100_000
    assert np.mean([p_to_e(p) for p in grid]) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    "call",
    [
        lambda: incomplete_beta(1.5, 1, 1),
        lambda: hypergeometric_tail(1, 10, 3, 5),
        lambda: student_t_quantile(0.2, 5),
    ],
)
def test_impossible_arguments_are_refused(call):
    with pytest.raises(ValueError, match="must be inside"):
        call()
