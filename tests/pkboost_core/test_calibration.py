import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from pkboost_core.calibration import KINDS, Calibration, fit_calibration, fit_logistic
from pkboost_core.metrics import calibration_error, log_loss


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def draw(n, true_log_odds, seed=0, spread=1.5):
    rng = np.random.default_rng(seed)
    f = rng.normal(-1, spread, n)
    return f, (rng.random(n) < sigmoid(true_log_odds(f))).astype(float)


def test_auto_leaves_honest_scores_alone():
    kept = [fit_calibration(*draw(3000, lambda f: f, seed)).kind for seed in range(10)]
    assert kept.count("none") >= 8


def test_auto_shifts_scores_of_another_base_rate():
    chosen = [fit_calibration(*draw(4000, lambda f: f - 1.2, seed)) for seed in range(6)]
    assert [c.kind for c in chosen].count("intercept") >= 5
    assert np.mean([c.c for c in chosen]) == pytest.approx(-1.2, abs=0.1)


def test_auto_bends_overconfident_scores():
    f, y = draw(5000, lambda f: 0.4 * f)
    calibration = fit_calibration(f, y)
    test_f, test_y = draw(20_000, lambda f: 0.4 * f, seed=9)
    assert calibration.kind == "beta"
    assert calibration_error(test_y, calibration.predict(test_f)) < 0.02
    assert log_loss(test_y, calibration.predict(test_f)) < log_loss(test_y, sigmoid(test_f)) - 0.01


def test_auto_needs_both_classes():
    assert fit_calibration(np.linspace(-3, 3, 50), np.zeros(50)).kind == "none"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), sign=st.sampled_from([-1, 0, 1]), scale=st.sampled_from([1, 40]))
def test_order_never_flips_and_probabilities_stay_inside(kind, seed, sign, scale):
    f, y = draw(60, lambda f: sign * 2 * f, seed)
    calibration = fit_calibration(scale * f, y, kind=kind)
    p = calibration.predict(np.r_[-np.inf if kind == "none" else -1e4, np.sort(scale * f), 1e4])
    assert (np.diff(p) >= 0).all()
    assert p.min() > 0
    assert p.max() < 1


@pytest.mark.parametrize("kind", ["intercept", "beta"])
def test_separable_labels_stay_finite(kind):
    f = np.linspace(-2, 2, 40)
    calibration = fit_calibration(f, (f > 0).astype(float), kind=kind)
    assert np.isfinite([calibration.a, calibration.b, calibration.c]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_state_survives_json(kind):
    f, y = draw(500, lambda f: 0.5 * f - 1)
    calibration = fit_calibration(f, y, kind=kind)
    assert Calibration.from_state(json.loads(json.dumps(calibration.to_state()))) == calibration


def test_weights_are_repeated_rows():
    f, y = draw(300, lambda f: 0.5 * f - 1)
    times = np.random.default_rng(1).integers(1, 4, 300)
    weighted = fit_calibration(f, y, times.astype(float), kind="beta")
    repeated = fit_calibration(np.repeat(f, times), np.repeat(y, times), kind="beta")
    np.testing.assert_allclose(weighted.predict(f), repeated.predict(f), atol=1e-7)


def test_beta_is_the_best_on_a_grid_under_its_constraint():
    f, y = draw(400, lambda f: -f)
    fitted = fit_calibration(f, y, kind="beta")
    grid = [
        Calibration("beta", a, b, c) for a in (0, 0.2, 1) for b in (0, 0.2, 1) for c in np.linspace(-2, 2, 41)
    ]
    assert log_loss(y, fitted.predict(f)) <= min(log_loss(y, g.predict(f)) for g in grid) + 1e-5


def test_fit_logistic_equals_scikit_learn_with_offset_folded_in():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(800, 2)), rng.uniform(0.5, 2, 800)
    y = (rng.random(800) < sigmoid(x @ [1, -2] + 0.3)).astype(float)
    model = LogisticRegression(C=np.inf, tol=1e-10, fit_intercept=False).fit(x, y, w)
    np.testing.assert_allclose(fit_logistic(x, y, w), model.coef_[0], rtol=1e-5)
    shifted = fit_logistic(x, y, w, offset=x @ np.array([1.0, 1.0]))
    np.testing.assert_allclose(shifted, model.coef_[0] - 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Calibration("isotonic"), "'isotonic' is unknown"),
        (lambda: Calibration("beta", a=-1), "a=-1"),
        (lambda: Calibration("beta", c=float("nan")), "c=nan"),
        (lambda: Calibration.from_state({"kind": "none"}), "incomplete"),
        (lambda: fit_calibration(np.zeros(3), np.zeros(2)), "one length"),
        (lambda: fit_calibration(np.zeros(3), np.zeros(3), kind="platt"), "'platt' is unknown"),
    ],
    ids=["kind", "slope", "shift", "state", "length", "fit"],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
