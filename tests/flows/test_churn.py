"""What a night changes in the ranking is counted on the leads of both nights."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from flows.churn import churn

SINCE = date(2026, 1, 5)


def pairs(old: np.ndarray, new: np.ndarray) -> pl.DataFrame:
    def grades(p: np.ndarray) -> list[str]:
        return ["A" if one > 0.5 else "D" for one in p]

    return pl.DataFrame(
        {"old_probability": old, "probability": new, "old_grade": grades(old), "grade": grades(new)}
    )


def test_the_same_scores_keep_everything():
    p = np.linspace(0.01, 0.99, 100)
    found = churn(pairs(p, p), SINCE)
    assert (found.leads, found.best_tenth_kept, found.grade_kept) == (100, 1.0, 1.0)
    assert found.rank_correlation == pytest.approx(1.0)
    assert found.warning() is None
    assert found.to_dict()["since"] == "2026-01-05"


def test_a_list_turned_round_is_warned_of():
    p = np.linspace(0.01, 0.99, 100)
    found = churn(pairs(p, p[::-1]), SINCE)
    assert found.best_tenth_kept == found.grade_kept == 0.0
    assert found.rank_correlation == pytest.approx(-1.0)
    assert found.warning() == "the best leads are others than on 2026-01-05: only 0% of them stayed"


def test_a_part_of_the_best_tenth_may_change():
    p = np.linspace(0.01, 0.99, 100)
    new = p.copy()
    new[[95, 96, 97, 0, 1, 2]] = new[[0, 1, 2, 95, 96, 97]]
    assert churn(pairs(p, new), SINCE).best_tenth_kept == pytest.approx(0.7)


def test_few_leads_say_nothing():
    assert churn(pairs(np.full(29, 0.2), np.full(29, 0.3)), SINCE) is None


def test_scores_without_a_rank_have_no_correlation():
    assert churn(pairs(np.full(40, 0.2), np.full(40, 0.3)), SINCE).rank_correlation is None
