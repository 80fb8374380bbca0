"""The page is complete, self-contained and safe, and its curves are right."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from features.delay import DelayCurve
from flows import charts, curves, report_charts
from flows.report import ReasonLine, ReportData, TopLead, render, write_report

DELAY = DelayCurve(
    (0.0, 10.0, 30.0, 60.0, 400.0),
    (0.0, 0.3, 0.7, 1.0, 1.0),
    {
        "90+ days": (0.0, 0.2, 0.5, 1.0, 1.0),
        "0-6 days": (0.0, 0.5, 0.8, 1.0, 1.0),
        "7-29 days": (0.0,) * 4 + (1.0,),
    },
    80,
    {"90+ days": 20, "0-6 days": 60, "7-29 days": 0},
    400.0,
    "observed",
)
HOSTILE = '<script>alert("x")</script> & <img src=x onerror=alert(1)>'


def cohort(n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(-rng.normal(-3, 1.5, n)))
    return (rng.random(n) < p).astype(float), p


def report(**changes: object) -> ReportData:
    y, p = cohort()
    data = {
        "title": "Lead scoring, 2026-03-31",
        "protocol": "leads open on 2025-12-28",
        "metrics": {
            "average_precision": 0.412,
            "average_precision_low": 0.361,
            "average_precision_high": 0.463,
            "prevalence": 0.05,
            "roc_auc": 0.903,
            "log_loss": None,
        },
        "y": y,
        "p": p,
        "scores": p[:500],
        "top_leads": [TopLead(1, "00Q1", "CEO, Northwind", 0.93, [ReasonLine("no reply for 31 days", "-")])],
        "facts": {"model version": 3, "training rows": 61234},
        "set_aside": {"opted out of profiling": 1200},
        "seconds": {"features": 2.1, "train": 6.3},
    }
    return ReportData(**{**data, **changes})


class Tags(HTMLParser):
    """Collects opened tags and checks that they close in order."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def tags(page: str) -> Tags:
    parser = Tags()
    parser.feed(page)
    parser.close()
    return parser


def text(page: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.rpartition("</style>")[2])))


def test_the_page_shows_everything() -> None:
    shown = text(render(report(warnings=["ROC-AUC is too good to be true"])))
    for piece in (
        "Lead scoring, 2026-03-31",
        "PR-AUC 0.412 0.361 to 0.463 (95%) 8.2x the prevalence",
        "prevalence 5.0%",
        "ROC-AUC 0.903",
        "Gains",
        "Precision and recall",
        "Calibration",
        "Tonight's scores",
        "CEO, Northwind 00Q1 93.0% no reply for 31 days",
        "model version 3",
        "training rows 61,234",
        "opted out of profiling 1,200",
        "features 2.10 s train 6.30 s",
        "ROC-AUC is too good to be true",
    ):
        assert piece in shown, piece
    assert "log loss" not in shown


def test_the_page_is_whole_small_and_needs_nothing_else(tmp_path: Path) -> None:
    leads = [TopLead(i, f"id{i}", "x" * 80, 0.5, [ReasonLine("y" * 60, "+")] * 3) for i in range(100)]
    path = tmp_path / "reports" / "a.html"
    write_report(path, report(top_leads=leads, scores=cohort(50_000)[1]))
    page = path.read_text(encoding="utf-8")
    assert len(page.encode()) < 1_000_000
    parsed = tags(page)
    assert parsed.open == []
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(tag for tag, _ in parsed.seen)
    assert not any(name in attrs for _, attrs in parsed.seen for name in ("src", "href", "onerror", "onload"))
    assert "url(" not in page
    assert "@import" not in page


def test_text_from_outside_is_escaped() -> None:
    page = render(
        report(
            title=HOSTILE,
            protocol=HOSTILE,
            top_leads=[TopLead(1, HOSTILE, HOSTILE, 0.5, [ReasonLine(HOSTILE, "+")])],
            facts={HOSTILE: HOSTILE},
            set_aside={HOSTILE: 1},
            seconds={HOSTILE: 1.0},
            warnings=[HOSTILE],
        )
    )
    parsed = tags(page)
    assert {"script", "img"}.isdisjoint(tag for tag, _ in parsed.seen)
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("dollars", ["$title", "${facts}", "costs $5 $$"])
def test_dollar_signs_stay_dollar_signs(dollars: str) -> None:
    assert dollars in render(report(title=dollars))


def test_a_night_without_evaluation_or_leads_still_has_a_page() -> None:
    nothing = np.empty(0)
    page = render(
        report(y=nothing, p=nothing, scores=nothing, top_leads=[], metrics={}, seconds={}, set_aside={})
    )
    assert tags(page).open == []
    assert "How good the scores are" not in page
    assert "Best open leads" not in page


def test_probabilities_that_are_unknown_draw_no_evaluation() -> None:
    y, _ = cohort(100)
    assert report_charts.evaluation_charts(y, np.full(100, np.nan)) == {}
    assert report_charts.evaluation_charts(np.zeros(100), np.full(100, 0.1)) == {}


def test_charts_are_valid_svg_within_their_frame() -> None:
    y, p = cohort()
    drawn = report_charts.evaluation_charts(y, p) | {
        "scores": report_charts.score_chart(p),
        "delay": report_charts.delay_chart(DELAY),
    }
    assert sorted(drawn) == ["calibration", "delay", "gains", "lift", "precision_recall", "scores"]
    for svg in drawn.values():
        root = ElementTree.fromstring(charts.standalone(svg))  # noqa: S314
        points = [pair.split(",") for line in root.iter() for pair in line.get("points", "").split()]
        assert all(0 <= float(x) <= charts.WIDTH and 0 <= float(y) <= charts.HEIGHT for x, y in points)
        assert "nan" not in svg


def test_the_delay_chart_shows_the_median_and_ends_where_all_conversions_are_known() -> None:
    svg = report_charts.delay_chart(DELAY)
    assert "half after 20 days" in svg
    lines = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("polyline")]  # noqa: S314
    assert [line.get("class") for line in lines] == ["dash", "dash", "line"]
    assert {len(line.get("points").split()) for line in lines} == {4}
    assert "How late conversions arrive" in text(render(report(delay_curve=DELAY)))
    assert "How late conversions arrive" not in text(render(report()))


def test_gains_end_at_everything_and_start_with_the_best() -> None:
    table = curves.gains(np.array([1.0, 0, 1, 0]), np.array([0.9, 0.6, 0.6, 0.1]))
    assert table["share"] == [0, 0.25, 0.75, 1]
    assert table["capture"] == [0, 0.5, 1, 1]
    assert table["lift"] == [2, 2, pytest.approx(4 / 3, abs=1e-5), 1]


def test_average_precision_is_the_area_under_the_drawn_steps() -> None:
    from pkboost_core.metrics import average_precision

    y, p = cohort(150)
    table = curves.precision_recall(y, p)
    area = float(np.diff([0, *table["recall"]]) @ np.array(table["precision"]))
    assert area == pytest.approx(average_precision(y, p), abs=1e-4)


def test_calibration_groups_hold_equal_shares_and_their_intervals() -> None:
    y, p = cohort(1000)
    table = curves.calibration(y, p)
    assert table["n"] == [100] * 10
    assert np.dot(table["observed"], table["n"]) == pytest.approx(y.sum(), abs=0.1)
    assert all(
        lo <= o <= hi
        for lo, o, hi in zip(*(table[f"observed{s}"] for s in ("_low", "", "_high")), strict=True)
    )


def test_the_histogram_counts_every_lead_whatever_its_probability() -> None:
    p = np.array([0.0, 1e-9, 0.5, 1.0, 0.99])
    table = curves.score_histogram(p)
    assert sum(table["n"]) == 5


def test_long_curves_are_thinned_but_keep_their_ends() -> None:
    y, p = cohort(20_000)
    table = curves.gains(y, p)
    assert len(table["share"]) <= curves.MAX_POINTS
    assert (table["share"][0], table["share"][-1]) == (0, 1)
