"""The leakage alarm: silent on honest data, and naming the column that knows the outcome."""

import numpy as np
import polars as pl
import pytest

from flows.leakage import find_suspects, judge

N = 4000


@pytest.fixture
def cohort():
    rng = np.random.default_rng(0)
    y = (rng.random(N) < 0.1).astype(np.float64)
    frame = pl.DataFrame(
        {
            "activity_count_30d": rng.poisson(3 + y).astype(float),
            "lead_industry": rng.choice(["Bank", "Retail", None], N),
            "attrs_result": np.where(y > 0, "signed", rng.choice(["open", "called"], N)),
            "attrs_paid": np.where(y > 0, rng.normal(5, 1, N), np.nan),
            "attrs_last_status": rng.choice(["x", "y"], N),
        }
    )
    return frame, y, np.arange(N).astype(str)


def test_columns_that_know_the_outcome_are_named_strongest_first(cohort):
    suspects = find_suspects(*cohort)
    assert {s.column for s in suspects[:2]} == {"attrs_result", "attrs_paid"}
    assert all(s.roc_auc > 0.99 and "alone" in s.why for s in suspects[:2])


def test_a_suspect_name_is_named_though_it_says_nothing(cohort):
    by_name = {s.column: s for s in find_suspects(*cohort)}
    assert "overwritten in place" in by_name["attrs_last_status"].why
    assert by_name["attrs_last_status"].roc_auc == pytest.approx(0.5, abs=0.05)


def test_honest_columns_are_not_accused(cohort):
    named = {s.column for s in find_suspects(*cohort)}
    assert not named & {"activity_count_30d", "lead_industry"}


def test_the_alarm_says_what_is_left_without_the_suspects(cohort):
    asked = []

    def refit_without(columns):
        asked.extend(columns)
        return 0.71

    report = judge(*cohort, 0.98, 0.97, refit_without)
    assert report.is_alarm
    assert "attrs_result" in asked
    assert "attrs_paid" in report.message
    assert "Without them it is 0.710" in report.message


@pytest.mark.parametrize("low", [None, 0.5, 0.90])
def test_no_alarm_below_the_bar(cohort, low):
    def never(columns):
        raise AssertionError("nothing to refit")

    report = judge(*cohort, 0.89, low, never)
    assert not report.is_alarm
    assert report.message == ""
