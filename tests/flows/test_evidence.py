"""Evidence is right where it can be worked out by hand, unsure where data is few, and calls a tie a tie."""

from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.adapters.database import Database
from flows.adapters.evidence_table import evidence_on, replace_evidence
from flows.dataset import TrainingSet
from flows.evidence import Cohort, Evidence, evidence, evidence_metrics
from flows.evidence_section import render_evidence
from flows.floors import DEFAULT_CAPACITY, capacity_share, floors
from flows.report import ReportData, render
from tests.flows.browser import DESK, PHONE, look_at

N = 2_000


def cohort(n: int = N, **changes: object) -> Cohort:
    """Calibrated scores; one floor of pure noise, one that is the score itself, bent."""
    rng = np.random.default_rng(3)
    p = rng.beta(1, 12, n)
    given = {
        "leads": np.arange(n) // 2,
        "days": np.arange(n) % 2,
        "y": (rng.random(n) < p).astype(float),
        "p": p,
        "segments": pl.Series(np.where(np.arange(n) % 3 == 0, "Web", "<b>Fair</b>")),
        "floors": {"source only": rng.random(n), "recency only": p**2},
        "capacity": 0.1,
    }
    return Cohort(**{**given, **changes})


def found(rows: list[Evidence], measure: str, subject: str) -> Evidence:
    return next(row for row in rows if (row.measure, row.subject) == (measure, subject))


@pytest.fixture(scope="module")
def measured() -> list[Evidence]:
    return evidence(cohort(), seed=1)


def test_conversion_of_called_leads_is_that_of_each_days_best(measured: list[Evidence]):
    data = cohort()
    called = np.zeros(N, dtype=bool)
    for day in (0, 1):
        of_day = np.flatnonzero(data.days == day)
        called[of_day[np.argsort(-data.p[of_day])[:100]]] = True
    by_score = found(measured, "conversion_of_called", "score")
    assert by_score.value == pytest.approx(data.y[called].mean())
    assert by_score.low < by_score.value < by_score.high
    at_random = found(measured, "conversion_of_called", "at random")
    assert at_random.value == pytest.approx(data.y.mean())
    assert found(measured, "times_as_many", "at random").value == pytest.approx(
        by_score.value / at_random.value
    )


def test_a_tie_is_said_to_be_a_tie(measured: list[Evidence]):
    assert found(measured, "gain_over", "recency only").value == 0
    verdicts = {row.subject: row.verdict for row in measured if row.measure == "gain_over"}
    assert verdicts == {"source only": "better", "recency only": "tie", "at random": "better"}


def test_leads_of_equal_score_share_the_last_places():
    same = evidence(cohort(p=np.full(N, 0.1)), seed=1)
    assert found(same, "conversion_of_called", "score").value == pytest.approx(cohort().y.mean())
    assert found(same, "tied_at_capacity", "score").value == N
    assert found(same, "decile_lift", "01").value == pytest.approx(1.0)


def test_deciles_hold_all_rows_and_all_conversions(measured: list[Evidence]):
    deciles = [row for row in measured if row.measure == "decile_conversion"]
    assert [row.n_rows for row in deciles] == [N / 10] * 10
    assert sum(row.n_won for row in deciles) == cohort().y.sum()
    last = found(measured, "gains", "10")
    assert (last.value, last.low, last.high) == (1.0, 1.0, 1.0)
    assert found(measured, "decile_lift", "01").value > 2


def test_calibrated_scores_are_as_forecast_and_doubled_ones_are_not(measured: list[Evidence]):
    assert found(measured, "forecast_to_observed", "all").verdict == "as forecast"
    doubled = evidence(cohort(p=np.minimum(2 * cohort().p, 0.99)), seed=1)
    assert found(doubled, "forecast_to_observed", "all").verdict == "fewer than forecast"
    assert found(doubled, "segment_forecast", "Web").verdict == "fewer than forecast"


def test_no_conversion_among_few_leads_proves_little():
    y = np.where(cohort().p > np.quantile(cohort().p, 0.5), cohort().y, 0.0)
    last = found(evidence(cohort(y=y), seed=1), "decile_conversion", "10")
    assert (last.value, last.low) == (0.0, 0.0)
    assert last.high == pytest.approx(3 / len(np.unique(cohort().leads[np.argsort(cohort().p)[:200]])))


def test_one_class_or_no_scores_give_no_evidence():
    assert evidence(cohort(y=np.zeros(N)), seed=1) == []
    assert evidence(cohort(p=np.full(N, np.nan)), seed=1) == []


def test_floors_learn_from_the_past_alone():
    rng = np.random.default_rng(0)
    names = rng.choice(["Web", "Fair"], 600)
    x = rng.normal(size=600)
    y = (rng.random(600) < 1 / (1 + np.exp(2 - 2 * x - (names == "Fair")))).astype(float)
    frame = pl.DataFrame(
        {
            "lead_id": [f"L{i}" for i in range(600)],
            "lead_source": names.tolist(),
            "activity_recency_days": [None, *range(599)],
            "attrs_x": x,
            "empty": [None] * 600,
        },
        schema_overrides={"empty": pl.Float64},
    )
    past = TrainingSet(frame, y, date(2026, 5, 1), np.zeros(600), np.zeros(600))
    ranked = floors(frame.with_columns(lead_source=pl.lit("New")), past, seed=0)
    assert set(ranked["source only"]) == {y.mean()}
    assert ranked["recency only"][0] == -np.inf
    assert ranked["recency only"][1] > ranked["recency only"][2]
    assert np.corrcoef(ranked["logistic regression"], x)[0, 1] > 0.9


def test_capacity_is_a_days_calls_of_active_owners():
    owners = pl.DataFrame({"is_active": [True, False, None], "daily_capacity": [20, 50, 10]})
    assert capacity_share(owners, 300) == 0.1
    unknown = owners.with_columns(daily_capacity=pl.lit(None, dtype=pl.Int64))
    assert capacity_share(unknown, 300) == DEFAULT_CAPACITY


def test_the_table_keeps_the_newest_evidence_of_each_version(database: Database, measured: list[Evidence]):
    for rows in (measured[:3], measured):
        replace_evidence(database, "k", "7", date(2026, 5, 1), "the newest mature cohort", {"newest": rows})
    stored = evidence_on(database, "k", "7")
    as_given = {(row.measure, row.subject): asdict(row) for row in measured}
    assert {
        (row["measure"], row["subject"]): {k: v for k, v in row.items() if k not in ("protocol", "origin")}
        for row in stored
    } == as_given
    assert evidence_on(database, "k", "8") == []


def test_evidence_over_origins_stands_beside_it_and_the_newest_is_shown(
    database: Database, measured: list[Evidence]
):
    of_newest = {"newest": measured}
    replace_evidence(database, "beside", "7", date(2026, 5, 1), "the newest mature cohort", of_newest)
    for day, version in ((date(2026, 5, 2), "6"), (date(2026, 5, 3), "5"), (date(2026, 5, 3), "5")):
        by_origin = {"all": measured[:4], "2026-02-01": measured[:2]}
        replace_evidence(database, "beside", version, day, f"weeks as of {day}", by_origin)
    stored = evidence_on(database, "beside", "7")
    assert [sum(row["origin"] == origin for row in stored) for origin in ("newest", "all", "2026-02-01")] == [
        len(measured), 4, 2,
    ]  # fmt: skip
    assert {row["protocol"] for row in stored if row["origin"] != "newest"} == {"weeks as of 2026-05-03"}


def test_past_weeks_are_told_one_by_one(measured: list[Evidence]):
    of_week = [r for r in measured if r.measure in ("conversion_of_called", "gain_over", "times_as_many")]
    rows = [asdict(row) | {"origin": "newest"} for row in measured]
    rows += [asdict(row) | {"origin": "all"} for row in measured]
    rows += [asdict(row) | {"origin": day} for day in ("2026-02-08", "2026-02-01") for row in of_week]
    shown = render_evidence(rows)
    assert "Measured on 2 weeks from 2026-02-01 to 2026-02-08" in shown
    assert "ahead of calling at random on 2 of them" in shown
    assert shown.index(">2026-02-01</span>") < shown.index(">2026-02-08</span>")
    assert shown.count("Tenths of the list, best first") == 2


def test_metrics_have_names_that_a_tracker_takes(measured: list[Evidence]):
    metrics = evidence_metrics(measured)
    assert metrics["gain_over_at_random_low"] > 0
    assert {"decile_lift_01", "conversion_of_called_score"} <= metrics.keys()
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_") for name in metrics)


def section(rows: list[Evidence]) -> str:
    return render_evidence([asdict(row) for row in rows])


def test_a_sales_manager_reads_how_many_of_100_calls_convert(measured: list[Evidence]):
    shown = section(measured)
    score = found(measured, "conversion_of_called", "score")
    assert f"<b>{100 * score.value:.1f}</b> convert" in shown
    assert "when the best 10% of the open leads are called each day" in shown
    assert "a tie: too close to tell" in shown
    assert "&lt;b&gt;Fair&lt;/b&gt;" in shown
    assert "<b>Fair" not in shown


def test_few_conversions_are_told_as_a_tie():
    few = evidence(cohort(60), seed=1)
    assert "That is a tie: there are too few conversions" in section(few)
    assert section([]) == ""


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_report_fits_phone_and_desk(width: int, tmp_path: Path, measured: list[Evidence]):
    data = cohort()
    rows = [
        asdict(row) | {"origin": origin} for origin in ("newest", "all", "2026-02-01") for row in measured
    ]
    page = render(ReportData("Lead scores", "newest cohort", {}, data.y, data.p, data.p, evidence=rows))
    seen = look_at(page, width, tmp_path)
    assert seen["wide"] <= width
    assert (tmp_path / f"{width}.png").stat().st_size > 20_000
