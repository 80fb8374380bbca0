import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.linear_model import LogisticRegression

from pkboost_core import metrics


@st.composite
def scored(draw, both_classes=True):
    """Labels, heavily tied scores inside (0, 1), positive weights."""
    n = draw(st.integers(2, 40))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), dtype=float)
    p = np.array(draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))) / 10
    w = np.array(draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)), dtype=float)
    assume(not both_classes or 0 < y.sum() < n)
    return y, p, w


@settings(max_examples=150, deadline=None)
@given(scored())
def test_ranking_and_probability_metrics_equal_scikit_learn(case):
    y, p, w = case
    for weight in (None, w):
        same = {"sample_weight": weight}
        assert metrics.average_precision(y, p, weight) == pytest.approx(
            oracle.average_precision_score(y, p, **same)
        )
        assert metrics.roc_auc(y, p, weight) == pytest.approx(oracle.roc_auc_score(y, p, **same))
        assert metrics.log_loss(y, p, weight) == pytest.approx(oracle.log_loss(y, p, **same))
        assert metrics.brier(y, p, weight) == pytest.approx(oracle.brier_score_loss(y, p, **same))


@settings(max_examples=50, deadline=None)
@given(scored())
def test_weights_are_repeated_rows(case):
    y, p, w = case
    times = w.astype(int)
    for name in ("average_precision", "roc_auc", "log_loss", "brier", "calibration_error"):
        metric = getattr(metrics, name)
        assert metric(y, p, w) == pytest.approx(
            metric(np.repeat(y, times), np.repeat(p, times)), abs=1e-12
        ), name
    repeated = metrics.lift_at(np.repeat(y, times), np.repeat(p, times), share=0.3)
    assert metrics.lift_at(y, p, w, share=0.3) == pytest.approx(repeated)


@settings(max_examples=50, deadline=None)
@given(scored())
def test_soft_label_is_a_split_row(case):
    y, p, w = case
    soft = np.clip(y, 0.25, 0.75)
    halves = (np.r_[np.ones_like(y), np.zeros_like(y)], np.r_[p, p], np.r_[w * soft, w * (1 - soft)])
    for metric in (metrics.average_precision, metrics.roc_auc, metrics.log_loss, metrics.calibration_error):
        assert metric(soft, p, w) == pytest.approx(metric(*halves), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(scored(), st.data())
def test_top_k_is_the_mean_over_random_orders_of_ties(case, data):
    y, p, _ = case
    k = data.draw(st.integers(1, len(y)))
    rng = np.random.default_rng(0)
    orders = (np.lexsort((rng.random(len(y)), -p))[:k] for _ in range(4000))
    mean = np.mean([y[order].mean() for order in orders])
    assert metrics.precision_at(y, p, k=k) == pytest.approx(mean, abs=0.04)


def test_top_share_by_hand():
    y = np.array([1, 0, 1, 0, 0, 0, 0, 1, 0, 0], float)
    p = np.linspace(1, 0, 10)
    assert metrics.precision_at(y, p, share=0.3) == pytest.approx(2 / 3)
    assert metrics.capture_at(y, p, share=0.3) == pytest.approx(2 / 3)
    assert metrics.lift_at(y, p, share=0.3) == pytest.approx(2 / 3 / 0.3)
    assert metrics.lift_at(y, np.zeros(10), share=0.3) == pytest.approx(1)
    assert metrics.precision_at(y, p, k=3) == metrics.precision_at(y, p, share=0.3)


def test_calibration_error_by_hand():
    y, p = np.repeat([0, 1, 0, 1], [5, 5, 9, 1]), np.repeat([0.6, 0.3], 10)
    assert metrics.calibration_error(y, p) == pytest.approx((0.1 + 0.2) / 2)
    assert metrics.calibration_error(y, np.repeat([0.5, 0.1], 10)) == pytest.approx(0, abs=1e-12)


def test_calibration_line_equals_an_unpenalised_logistic_regression():
    rng = np.random.default_rng(0)
    logit = rng.normal(-2, 1.5, 3000)
    y = (rng.random(3000) < 1 / (1 + np.exp(-(0.6 * logit + 0.3)))).astype(float)
    line = metrics.calibration_slope_intercept(y, 1 / (1 + np.exp(-logit)))
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], y)
    assert line.slope == pytest.approx(model.coef_[0, 0], rel=1e-5)
    assert line.intercept == pytest.approx(model.intercept_[0], rel=1e-4)


@pytest.mark.parametrize(
    ("y", "p"), [([0, 0], [0.1, 0.2]), ([0, 1], [0.5, 0.5]), ([0, 1, 1], [0.1, 0.2, 0.3])]
)
def test_undefined_calibration_line_is_nan(y, p):
    assert math.isnan(metrics.calibration_slope_intercept(np.array(y), np.array(p)).slope)


@pytest.mark.parametrize("y", [[], [0, 0], [1, 1]])
def test_undefined_ranking_is_nan(y):
    p = np.linspace(0, 1, len(y))
    assert math.isnan(metrics.roc_auc(y, p))
    assert math.isnan(metrics.average_precision(y, p)) == (sum(y) == 0)
    if len(y) and not sum(y):
        assert math.isnan(metrics.lift_at(y, p, share=0.5))
        assert math.isnan(metrics.capture_at(y, p, share=0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.roc_auc([0, 1], [0.1]), "one length"),
        (lambda: metrics.roc_auc([0, 1], [0.1, math.nan]), "1 of 2 scores are NaN"),
        (lambda: metrics.lift_at([0, 1], [0.1, 0.2]), "either share or k"),
        (lambda: metrics.lift_at([0, 1], [0.1, 0.2], share=0), r"share must be in \(0, 1\]"),
        (lambda: metrics.precision_at([0, 1], [0.1, 0.2], k=3), r"k in \(0, 2\]"),
        (lambda: metrics.bootstrap_interval(metrics.brier, [0, 1], [0.1, 0.2], level=95), "level=95"),
    ],
    ids=["length", "nan", "neither", "zero", "beyond", "level"],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bootstrap_over_rows_matches_the_binomial_error():
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.2).astype(float)
    value, low, high = metrics.bootstrap_interval(metrics.brier, y, np.zeros(2000), n=800, seed=1)
    standard_error = math.sqrt(y.mean() * (1 - y.mean()) / 2000)
    assert value == y.mean()
    assert (high - low) / (2 * 1.96 * standard_error) == pytest.approx(1, abs=0.12)


def test_bootstrap_over_groups_is_wider_when_groups_agree():
    rng = np.random.default_rng(0)
    y = np.repeat((rng.random(100) < 0.3).astype(float), 20)
    p, groups = np.zeros(2000), np.repeat([f"g{i}" for i in range(100)], 20)
    rows = metrics.bootstrap_interval(metrics.brier, y, p, n=400)
    clusters = metrics.bootstrap_interval(metrics.brier, y, p, groups=groups, n=400)
    assert (clusters.high - clusters.low) / (rows.high - rows.low) == pytest.approx(math.sqrt(20), rel=0.25)
    assert clusters == metrics.bootstrap_interval(metrics.brier, y, p, groups=groups, n=400)


def test_bootstrap_of_an_undefined_metric_is_nan():
    assert math.isnan(metrics.bootstrap_interval(metrics.roc_auc, np.zeros(5), np.arange(5), n=10).low)
