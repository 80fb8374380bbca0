"""Losses: derivatives against finite differences, reported values against scikit-learn, exact minimisers."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_pinball_loss, mean_poisson_deviance, mean_squared_error

from pkboost_core.loss import LogLoss, Softmax
from pkboost_core.regression_loss import (
    LOSSES,
    HuberLoss,
    PoissonLoss,
    QuantileLoss,
    SquaredLoss,
    weighted_quantile,
)
from pkboost_core.temperature import Temperature, fit_temperature

N = 40
STEP = 1e-5


def targets(loss, rng):
    if isinstance(loss, LogLoss):
        return rng.random(N).astype(np.float32)
    if isinstance(loss, Softmax):
        return rng.integers(0, loss.n_outputs, N).astype(np.float32)
    if isinstance(loss, PoissonLoss):
        return rng.poisson(2, N).astype(np.float32)
    return rng.normal(size=N).astype(np.float32)


def slopes(loss, raw, target):
    """Derivative of each row's loss by each of its scores, by central differences, in boosted units."""
    scale = {"LogLoss": 1.0, "Softmax": 1.0, "SquaredLoss": 2.0, "PoissonLoss": 2.0}
    per_row = np.zeros(raw.shape)
    for k in range(len(raw)):
        for i in range(N):
            values = []
            for sign in (1, -1):
                moved = raw[:, i : i + 1].copy()
                moved[k] += sign * STEP
                values.append(loss.mean(moved, target[i : i + 1], np.zeros(0, np.float32)))
            per_row[k, i] = (values[0] - values[1]) / (2 * STEP)
    return per_row / scale.get(type(loss).__name__, 1.0)


@pytest.mark.parametrize(
    "loss",
    [LogLoss(), Softmax(4), SquaredLoss(), HuberLoss(delta=0.7), PoissonLoss(), QuantileLoss(level=0.8)],
)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_gradients_are_the_slopes_of_the_loss_that_is_reported(loss, is_weighted):
    rng = np.random.default_rng(0)
    raw, target = rng.normal(size=(loss.n_outputs, N)), targets(loss, rng)
    weight = rng.random(N).astype(np.float32) if is_weighted else np.zeros(0, np.float32)
    gradient, hessian = np.empty((2, loss.n_outputs, N), dtype=np.float32)
    loss.gradients(raw, target, weight, gradient, hessian)
    factor = weight if is_weighted else 1.0
    np.testing.assert_allclose(gradient, slopes(loss, raw, target) * factor, rtol=1e-4, atol=1e-5)
    if isinstance(loss, HuberLoss | QuantileLoss | SquaredLoss):
        np.testing.assert_allclose(hessian, np.broadcast_to(factor, hessian.shape))
        return
    above, below = np.empty((2, loss.n_outputs, N), dtype=np.float32)
    for k in range(loss.n_outputs):
        for out, sign in ((above, 1), (below, -1)):
            moved = raw.copy()
            moved[k] += sign * 1e-2
            full = np.empty((loss.n_outputs, N), dtype=np.float32)
            loss.gradients(moved, target, weight, full, np.empty_like(full))
            out[k] = full[k]
    friedman = 4 / 3 if isinstance(loss, Softmax) else 1.0
    np.testing.assert_allclose(hessian, friedman * (above - below) / 2e-2, rtol=2e-3, atol=1e-4)


def test_two_classes_of_softmax_take_the_step_of_log_loss():
    raw, target = np.array([[0.2, -1.0], [0.5, 1.3]]), np.array([0.0, 1.0], np.float32)
    g, h = np.empty((2, 2, 2), dtype=np.float32)
    Softmax(2).gradients(raw, target, np.zeros(0, np.float32), g, h)
    binary_g, binary_h = np.empty((2, 1, 2), dtype=np.float32)
    LogLoss().gradients(raw[1:] - raw[:1], target, np.zeros(0, np.float32), binary_g, binary_h)
    np.testing.assert_allclose(-g[1] / h[1] + g[0] / h[0], -binary_g[0] / binary_h[0], rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_reported_losses_are_scikit_learns_in_the_units_of_y(name):
    rng = np.random.default_rng(1)
    y, weight = rng.poisson(30, 200).astype(float), rng.random(200)
    loss = LOSSES[name].fit(y, weight, 0.7)
    raw = rng.normal(size=(1, 200))
    predicted = loss.predict(raw[0] * loss.factor + loss.shift)
    reference = {
        "squared": lambda: mean_squared_error(y, predicted, sample_weight=weight),
        "poisson": lambda: mean_poisson_deviance(y, predicted, sample_weight=weight),
        "quantile": lambda: mean_pinball_loss(y, predicted, alpha=0.7, sample_weight=weight),
        "huber": lambda: np.average(huber(y - predicted, loss.delta * loss.factor), weights=weight),
    }[name]()
    found = loss.mean(raw, loss.standardise(y).astype(np.float32), weight.astype(np.float32))
    assert found == pytest.approx(reference, rel=1e-5)


def huber(residual, delta):
    distance = np.abs(residual)
    return np.where(distance <= delta, 0.5 * residual**2, delta * (distance - 0.5 * delta))


def test_softmax_reports_log_loss_and_starts_at_log_priors():
    rng = np.random.default_rng(2)
    target, weight = rng.integers(0, 3, 100), rng.random(100).astype(np.float32)
    base = Softmax(3).base_scores(target.astype(np.float32), weight)
    np.testing.assert_allclose(np.exp(base), np.bincount(target, weight) / weight.sum(), rtol=1e-6)
    raw = rng.normal(size=(3, 100))
    expected = log_loss(target, Temperature().predict(raw.T), sample_weight=weight)
    assert Softmax(3).mean(raw, target.astype(np.float32), weight) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_boosting_starts_at_zero_whatever_units_and_order_y_has(name):
    rng = np.random.default_rng(3)
    y = rng.poisson(5, 101).astype(float)
    loss, shuffled = LOSSES[name].fit(y, None, 0.5), LOSSES[name].fit(rng.permutation(y), None, 0.5)
    assert loss == shuffled
    scaled = LOSSES[name].fit(1000 * y, None, 0.5)
    np.testing.assert_allclose(scaled.standardise(1000 * y), loss.standardise(y), rtol=1e-12, atol=1e-12)
    g, h = np.empty((2, 1, 101), dtype=np.float32)
    loss.gradients(np.zeros((1, 101)), loss.standardise(y).astype(np.float32), np.zeros(0, np.float32), g, h)
    if name in ("squared", "poisson"):
        assert g.sum() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_weighted_quantile_minimises_the_pinball_loss(level, is_weighted):
    rng = np.random.default_rng(4)
    values = rng.integers(0, 12, 30).astype(float)
    weight = rng.integers(0, 3, 30).astype(float) if is_weighted else None
    found = weighted_quantile(values, weight, level)

    def loss(at):
        return mean_pinball_loss(values, np.full(30, at), alpha=level, sample_weight=weight)

    assert loss(found) <= min(map(loss, values)) + 1e-12
    repeated = values if weight is None else np.repeat(values, weight.astype(int))
    assert found == pytest.approx(np.quantile(repeated, level, method="averaged_inverted_cdf"))


def test_quantiles_of_nothing_and_of_no_weight_are_zero():
    assert weighted_quantile(np.zeros(0), None, 0.5) == 0.0
    assert weighted_quantile(np.array([3.0]), np.array([0.0]), 0.5) == 0.0


@pytest.mark.parametrize("inverse", [0.3, 1.0, 2.5])
def test_the_temperature_is_found_again(inverse):
    rng = np.random.default_rng(5)
    raw = 2 * rng.normal(size=(4000, 3))
    p = Temperature(inverse).predict(raw)
    target = (rng.random((4000, 1)) > np.cumsum(p, axis=1)).sum(axis=1)
    assert fit_temperature(raw, target, kind="temperature").inverse == pytest.approx(inverse, rel=0.08)
    assert (fit_temperature(raw, target).inverse == 1.0) == (inverse == 1.0)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


@pytest.mark.parametrize("state", [{}, {"inverse": 0.0}, {"inverse": float("nan")}, {"inverse": None}])
def test_a_damaged_temperature_is_refused(state):
    with pytest.raises(ValueError, match="inverse"):
        Temperature.from_state(state)
