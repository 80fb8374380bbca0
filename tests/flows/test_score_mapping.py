"""Points to double the odds: 50 at the base rate, 10 for each doubling, grades that agree with scores."""

import numpy as np
import pytest

from flows.score_mapping import ScoreMapping

BASE = 0.05


def at_odds_ratio(ratio: float) -> np.ndarray:
    odds = ratio * BASE / (1 - BASE)
    return np.array([odds / (1 + odds)])


@pytest.mark.parametrize(
    ("ratio", "score", "grade"), [(0.5, 40, "D"), (1, 50, "C"), (2, 60, "B"), (4, 70, "A"), (2**9, 100, "A")]
)
def test_each_doubling_of_the_odds_adds_ten_points(ratio, score, grade):
    mapping = ScoreMapping("v", BASE)
    assert mapping.scores(at_odds_ratio(ratio)).tolist() == [score]
    assert mapping.grades(at_odds_ratio(ratio)).tolist() == [grade]


def test_scores_are_monotone_and_within_bounds():
    p = np.linspace(1e-6, 1 - 1e-6, 10_001)
    scores = ScoreMapping("v", BASE).scores(p)
    assert (np.diff(scores) >= 0).all()
    assert (scores.min(), scores.max()) == (0, 100)


@pytest.mark.parametrize("base_rate", [0.0, 1.0, -0.1])
def test_a_base_rate_at_the_ends_is_refused(base_rate):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        ScoreMapping("v", base_rate)
