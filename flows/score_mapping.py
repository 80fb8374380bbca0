"""From probability to the 0-100 score and the grade that people read.

Points to double the odds, as in credit scoring (Siddiqi, Credit Risk Scorecards, 2006): a lead with the base
rate's odds has 50 points and each doubling of the odds adds 10. A grade therefore always means the same
conversion: A at least four times the base odds, B twice, C once, D below. The base rate is fixed when a
mapping is made and inherited by later models, so that an A of last month is an A today.
"""

from dataclasses import asdict, dataclass

import numpy as np

BASE_POINTS = 50.0
POINTS_TO_DOUBLE_ODDS = 10.0
GRADE_POINTS = (("A", 70.0), ("B", 60.0), ("C", 50.0))


@dataclass(frozen=True)
class ScoreMapping:
    """A versioned mapping; `base_rate` in (0, 1) is the share of converting leads when it was made."""

    version: str
    base_rate: float

    def __post_init__(self) -> None:
        if not 0.0 < self.base_rate < 1.0:
            raise ValueError(f"base_rate={self.base_rate} should lie strictly between 0 and 1")

    def scores(self, probability: np.ndarray) -> np.ndarray:
        """Integer scores 0-100, int64 (n,), monotone in `probability`, float64 (n,) in (0, 1)."""
        return np.rint(self.points(probability)).astype(np.int64)

    def grades(self, probability: np.ndarray) -> np.ndarray:
        """Grades A-D, str (n,), by the rounded score, so that score and grade never disagree."""
        points = self.scores(probability)
        conditions = [points >= least for _, least in GRADE_POINTS]
        return np.select(conditions, [grade for grade, _ in GRADE_POINTS], default="D")

    def points(self, probability: np.ndarray) -> np.ndarray:
        """Scores before they are rounded, float64 (n,) in [0, 100]."""
        odds = probability / (1.0 - probability) * (1.0 - self.base_rate) / self.base_rate
        return np.clip(BASE_POINTS + POINTS_TO_DOUBLE_ODDS * np.log2(odds), 0.0, 100.0)

    def as_dict(self) -> dict[str, float | str]:
        """Return the fields as JSON-able values."""
        return asdict(self)
