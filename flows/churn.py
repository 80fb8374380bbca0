"""How much of the ranking stays from night to night: nobody trusts a list that is another one every day.

A new model may not change it further than the gate allows (`flows.artefact_checks`); what a night changed in
fact is measured here, whatever the reason.
"""

import math
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import polars as pl

from flows.artefact_checks import LEAST_TOP_OVERLAP, MIN_LEADS, top_overlap


@dataclass(frozen=True)
class Churn:
    """What two nights made of the same leads; JSON-able.

    Attributes
    ----------
    since : date of the earlier night.
    leads : scored on both.
    best_tenth_kept : share of the earlier best tenth that is still among the best tenth.
    grade_kept : share of leads with the same grade.
    rank_correlation : Spearman's, of the probabilities; None where all are equal.
    """

    since: date
    leads: int
    best_tenth_kept: float
    grade_kept: float
    rank_correlation: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self) | {"since": self.since.isoformat()}

    def words(self) -> str:
        """Say it in one line."""
        said = (
            f"since {self.since}, {self.best_tenth_kept:.0%} of the best tenth and {self.grade_kept:.0%} "
            "of all grades stayed"
        )
        ranks = self.rank_correlation
        return said if ranks is None else f"{said}; rank correlation {ranks:.2f}"

    def warning(self) -> str | None:
        """Return what to tell people when more of the best leads changed than a new model may change."""
        if self.best_tenth_kept >= LEAST_TOP_OVERLAP:
            return None
        return (
            f"the best leads are others than on {self.since}: only {self.best_tenth_kept:.0%} of them stayed"
        )


def churn(pairs: pl.DataFrame, since: date) -> Churn | None:
    """Compare two nights; None where fewer than 30 leads have a score on both.

    Parameters
    ----------
    pairs : per lead old_probability, probability, float64, and old_grade, grade.
    """
    if pairs.height < MIN_LEADS:
        return None
    kept = top_overlap(pairs["old_probability"].to_numpy(), pairs["probability"].to_numpy())
    ranks = pairs.select(pl.corr("old_probability", "probability", method="spearman")).item()
    same = (pairs["old_grade"] == pairs["grade"]).to_numpy().mean()
    return Churn(since, pairs.height, kept, float(same), float(ranks) if math.isfinite(ranks) else None)
