"""`leadscore explain`: what speaks for a lead and against it, on a terminal and as a page."""

import json
import math
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.adapters.database import Database
from flows.adapters.publisher import publish
from flows.adapters.score_runs import start_run
from flows.adapters.settings import Settings
from flows.cli import main
from flows.explain_page import render, waterfall
from flows.reason_scale import ReasonScale
from flows.reasons import reason_frame
from tests.flows.browser import DESK, PHONE, look_at

FEATURES = pl.DataFrame(
    {
        "activity_pricing_visit_count_7d": [4, 0],
        "activity_email_reply_recency_days": [31, None],
        "lead_source": ['<b>"Fair"</b>', "Web"],
    }
)
EFFECTS = np.array([[0.8, -0.4, 0.2], [-0.3, 0.0, 0.0]])
USUAL = ReasonScale({"activity_pricing_visit_count_7d": 0.0, "activity_email_reply_recency_days": 12.0})
AVERAGE = (math.log(0.2 / 0.8) + math.log(0.05 / 0.95)) / 2


def scores() -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "lead_id": ["L1", "L2", "L3"],
            "owner_id": ["O1"] * 3,
            "status": ["scored", "scored", "opted_out"],
            "probability": [0.2, 0.05, None],
            "score": [70, 50, None],
            "grade": ["A", "C", None],
            "rank_overall": [1, 2, None],
            "model_version": ["7"] * 3,
        }
    )
    reasons = reason_frame(FEATURES, EFFECTS, USUAL)
    now = pl.lit(date(2026, 5, 1)).cast(pl.Datetime("us", "UTC"))
    return pl.concat([rows.head(2).hstack(reasons), rows.tail(1)], how="diagonal").with_columns(
        data_as_of=now, scored_at=now
    )


@pytest.fixture
def published(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logging_as_before
) -> Path:
    """Scores in force, and the environment of a command that reads them."""
    publish(
        database, start_run(database, Settings().model_key, date(2026, 5, 1)), scores(), make_current=True
    )
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", database_url)
    monkeypatch.setenv("LEADSCORE_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_terminal_shows_for_and_against(published: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["explain", "L1"]) == 0
    shown = capsys.readouterr().out
    assert "4 pricing page visits in 7 days, usual is 0" in shown
    assert shown.index("For") < shown.index("+0.80") < shown.index("Against") < shown.index("-0.40")
    assert "no reply for 31 days, usual is 12 days" in shown


def test_the_page_is_a_waterfall_that_adds_up(published: Path, capsys: pytest.CaptureFixture[str]):
    path = published / "pages" / "lead.html"
    assert main(["explain", "L1", "--html", str(path), "--json"]) == 0
    reasons = json.loads(capsys.readouterr().out)["reasons"]
    steps = waterfall(0.2, AVERAGE, reasons)
    assert sum(s.end - s.start for s in steps[1:-1]) == pytest.approx(math.log(0.2 / 0.8) - AVERAGE)
    assert [s.kind for s in steps] == ["level", "up", "down", "up", "up", "level"]
    page = path.read_text()
    assert page.count('class="step') == 6
    assert "<b>20.0%</b>" in page
    assert "&lt;b&gt;" in page
    assert '<b>"Fair"' not in page
    assert "http" not in page


def test_a_lead_without_a_score_has_no_waterfall(published: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["explain", "L3", "--html", str(published / "no.html"), "--json"]) == 1
    assert "its status is 'opted_out'" in json.loads(capsys.readouterr().out)["error"]
    assert not (published / "no.html").exists()


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_fits_phone_and_desk(width: int, tmp_path: Path):
    lead = scores().row(0, named=True)
    found = look_at(render(lead | {"reasons": json.loads(lead["reasons"])}, AVERAGE), width, tmp_path)
    assert found["wide"] <= width
    assert (tmp_path / f"{width}.png").stat().st_size > 5_000
