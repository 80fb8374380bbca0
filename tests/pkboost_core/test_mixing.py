"""Votes on held-out rows: how kinds of members are weighed."""

import numpy as np
import pytest

from pkboost_core.loss import LogLoss, Softmax
from pkboost_core.mixing import mixture
from pkboost_core.regression_loss import SquaredLoss

NO_WEIGHT = np.zeros(0, np.float32)


@pytest.fixture(scope="module")
def scores():
    """Two scores with errors of their own, and labels."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4_000)
    y = (rng.random(4_000) < 1 / (1 + np.exp(-2 * truth))).astype(np.float32)
    return [(2 * truth + rng.normal(size=4_000))[None] for _ in range(2)], y


def test_equally_good_models_share_the_votes(scores):
    raws, y = scores
    shares = mixture(raws, y, NO_WEIGHT, LogLoss())
    assert shares.sum() == 1
    np.testing.assert_allclose(shares, 0.5, atol=0.13)
    mixed = LogLoss().mean(np.tensordot(shares, raws, 1), y, NO_WEIGHT)
    assert mixed < min(LogLoss().mean(raw, y, NO_WEIGHT) for raw in raws) - 0.01


def test_a_model_that_knows_nothing_new_gets_no_vote(scores):
    raws, y = scores
    noise = np.random.default_rng(1).normal(scale=3, size=raws[0].shape)
    np.testing.assert_array_equal(mixture([raws[0] + noise, raws[0]], y, NO_WEIGHT, LogLoss()), [0, 1])


def test_the_earlier_of_equals_wins_and_one_is_alone(scores):
    raws, y = scores
    np.testing.assert_array_equal(mixture([raws[0], raws[0]], y, NO_WEIGHT, LogLoss()), [1, 0])
    np.testing.assert_array_equal(mixture(raws[:1], y, NO_WEIGHT, LogLoss()), [1])


def test_weights_say_whose_rows_decide(scores):
    raws, y = scores
    is_first = np.arange(len(y)) < 2_000
    halves = [np.where(is_first == side, raws[0], -raws[0]) for side in (True, False)]
    for side, chosen in ((True, 0), (False, 1)):
        weight = np.where(is_first == side, 1, 1e-3).astype(np.float32)
        assert mixture(halves, y, weight, LogLoss())[chosen] > 0.7


def test_without_rows_to_judge_by_all_count_alike():
    raws = [np.zeros((1, 0))] * 2
    np.testing.assert_array_equal(mixture(raws, np.zeros(0, np.float32), NO_WEIGHT, LogLoss()), [0.5, 0.5])
    zeros = np.zeros(3, np.float32)
    np.testing.assert_array_equal(mixture([np.ones((1, 3))] * 2, zeros, zeros, LogLoss()), [0.5, 0.5])


def test_scores_are_judged_on_the_scale_of_the_boosted_loss():
    """The units of a regression's targets are taken out first."""
    loss = SquaredLoss(shift=100.0, factor=10.0)
    target = np.array([-1.0, 0.0, 1.0], np.float32)
    np.testing.assert_array_equal(
        mixture([np.full((1, 3), 100.0), np.array([[90.0, 100.0, 110.0]])], target, NO_WEIGHT, loss), [0, 1]
    )


def test_classes_are_mixed_score_by_score():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=2_000).astype(np.float32)
    good = 3.0 * (np.arange(3)[:, None] == y) + rng.normal(size=(3, 2_000))
    np.testing.assert_array_equal(mixture([good[[1, 2, 0]], good], y, NO_WEIGHT, Softmax(3)), [0, 1])
