"""Negatives that are still open: the gradient is the loss's, and late positives are not lost."""

import numpy as np
import pytest

from pkboost_core import PKBoostClassifier, PKBoostRegressor
from pkboost_core.loss import LogLoss
from pkboost_core.metrics import log_loss
from pkboost_core.open_loss import OpenLogLoss, expected_target, with_open


def rows(n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = (rng.random(n) < 0.3).astype(np.float64)
    odds = np.where(rng.random(n) < 0.5, rng.uniform(0.05, 3.0, n), 0.0) * (y == 0)
    return rng.normal(0, 2, n), y, odds


def test_the_gradient_is_that_of_the_loss():
    raw, y, odds = rows()
    loss, target = OpenLogLoss(), with_open(y, odds).astype(np.float32)
    weight = np.random.default_rng(1).uniform(0.2, 3.0, len(y)).astype(np.float32)
    for w in (weight, weight[:0]):
        total = float(w.sum()) if len(w) else len(y)
        gradient, hessian = np.empty((1, len(y)), np.float32), np.empty((1, len(y)), np.float32)
        loss.gradients(raw[None], target, w, gradient, hessian)
        for i in range(0, len(y), 7):
            step = np.zeros((1, len(y)))
            step[0, i] = 1e-5
            up, down = (loss.mean(raw[None] + s, target, w) for s in (step, -step))
            assert gradient[0, i] == pytest.approx(total * (up - down) / 2e-5, abs=2e-5)


def test_without_open_rows_it_is_log_loss():
    raw, y, _ = rows()
    target = with_open(y, np.zeros(len(y))).astype(np.float32)
    none = np.zeros(0, np.float32)
    pairs = np.empty((2, 2, 1, len(y)), np.float32)
    for pair, loss in zip(pairs, (OpenLogLoss(), LogLoss()), strict=True):
        loss.gradients(raw[None], target, none, *pair)
    np.testing.assert_array_equal(pairs[0], pairs[1])
    assert OpenLogLoss().mean(raw[None], target, none) == LogLoss().mean(raw[None], target, none)
    base, plain = (loss.base_scores(target, none) for loss in (OpenLogLoss(), LogLoss()))
    assert base == pytest.approx(plain, abs=1e-9)


def test_the_prior_makes_the_gradients_sum_to_zero():
    _, y, odds = rows()
    target = with_open(y, odds).astype(np.float32)
    base = OpenLogLoss().base_scores(target, np.zeros(0, np.float32))[0]
    p = 1 / (1 + np.exp(-base))
    assert p == pytest.approx(expected_target(np.full(len(y), base), target).mean(), abs=1e-5)
    assert p > y.mean()


def test_open_rows_alone_beside_positives_are_refused():
    _, y, _ = rows()
    target = with_open(y, np.where(y == 0, 3.0, 0.0)).astype(np.float32)
    with pytest.raises(ValueError, match="hardly a row is settled as negative"):
        OpenLogLoss().base_scores(target, np.zeros(0, np.float32))


@pytest.fixture(scope="module")
def late():
    """Positives of which the younger half of the rows has seen 40 %: more so where the feature is high."""
    rng = np.random.default_rng(5)
    n = 6000
    X = rng.normal(size=(n, 3))
    p = 1 / (1 + np.exp(2.2 - 1.5 * X[:, 0]))
    y = rng.random(n) < p
    is_young = rng.random(n) < 0.5
    is_seen = ~is_young | (rng.random(n) < 0.4)
    odds = np.where(is_young & ~(y & is_seen), 0.6, 0.0)
    return X, (y & is_seen).astype(float), odds, p


def test_open_rows_teach_without_being_taken_for_negatives(late):
    X, y, odds, p = late
    settings = {"n_estimators": 150, "learning_rate": 0.1, "max_leaf_nodes": 7, "random_state": 1}
    soft = PKBoostClassifier(**settings).fit(X, y, open_odds=odds).predict_proba(X)[:, 1]
    fake = PKBoostClassifier(**settings).fit(X, y).predict_proba(X)[:, 1]
    assert soft.mean() == pytest.approx(p.mean(), rel=0.06)
    assert fake.mean() < 0.8 * p.mean()
    assert log_loss(p, soft) < log_loss(p, fake) - 0.005


def test_the_same_seed_gives_the_same_trees_for_any_number_of_threads(late):
    X, y, odds, _ = late
    settings = {"n_estimators": 20, "mode": "quality", "random_state": 1}
    one, two = (PKBoostClassifier(n_threads=n, **settings).fit(X, y, open_odds=odds) for n in (1, 2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_what_does_not_go_with_open_rows_is_refused(late):
    X, y, odds, _ = late
    with pytest.raises(ValueError, match="row 0 is labelled 1 and open_odds says it is open"):
        PKBoostClassifier().fit(X[:4], [1, 0, 1, 0], open_odds=[0.5, 0, 0, 0])
    with pytest.raises(ValueError, match=r"open_odds=-0\.5 at row 1 should lie between 0 and"):
        PKBoostClassifier().fit(X[:4], [1, 0, 1, 0], open_odds=[0, -0.5, 0, 0])
    with pytest.raises(ValueError, match=r"open_odds=1e\+300 at row 3 should lie between 0 and"):
        PKBoostClassifier().fit(X[:4], [1, 0, 1, 0], open_odds=[0, 0.5, 0, 1e300])
    with pytest.raises(ValueError, match=r"scale_pos_weight=3\.0 should be None with open_odds"):
        PKBoostClassifier(scale_pos_weight=3.0).fit(X, y, open_odds=odds)
    with pytest.raises(ValueError, match="classifiers of two classes"):
        PKBoostRegressor().fit(X, y, open_odds=odds)
    with pytest.raises(ValueError, match="classifiers of two classes"):
        PKBoostClassifier().fit(X[:6], [0, 1, 2, 0, 1, 2], open_odds=[0.5, 0, 0, 0, 0, 0])
