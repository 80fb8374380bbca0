"""What the doctor and the commands around a replicated CRM say, on a small Salesforce."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from flows import source_findings
from flows.adapters.database import Database
from flows.adapters.migrations import installed_source, set_clock
from flows.adapters.publisher import publish
from flows.adapters.score_runs import start_run
from flows.adapters.settings import Settings
from flows.cli import main
from flows.doctor import scores_finding
from tests.adapters.crm_fixtures import land
from tests.adapters.test_publisher import make_scores

pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture
def command(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Run a command on the module's database: exit status and JSON."""
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", database.uri())
    monkeypatch.setenv("LEADSCORE_HOME", str(tmp_path))

    def run(*arguments: str) -> tuple[int, dict]:
        status = main([*arguments, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope="module")
def crm(database: Database) -> Database:
    land(database, "salesforce")
    with database.connect() as connection:
        connection.execute("DROP TABLE salesforce.event")
        connection.execute("ALTER TABLE salesforce.lead DROP COLUMN title")
    return database


def test_a_crm_is_installed_by_command_and_its_gaps_are_said(crm: Database, command) -> None:
    status, answer = command("db", "install-source", "salesforce", "--schema", "salesforce")
    assert (status, answer["status"]) == (0, "installed")
    assert answer["missing"] == [
        {"table": "lead", "column": "title", "costs": "seniority and department of the person"},
        {"table": "event", "column": None, "costs": "meetings"},
    ]
    assert installed_source(crm).schema == "salesforce"
    status, answer = command("db", "install-source", "salesforce", "--schema", "nowhere")
    assert status == 1
    assert "schema nowhere has no table that this user may read" in answer["error"]
    status, answer = command("db", "install-source", "siebel", "--schema", "nowhere")
    assert "no source adapter siebel" in answer["error"]
    set_clock(crm, date(2024, 4, 1))


def test_the_doctor_says_what_is_there_what_is_missing_and_what_it_costs(crm: Database) -> None:
    contract, replica = source_findings.contract(crm), source_findings.replica(crm)
    state = {row["column"]: row["state"] for row in contract.rows}
    assert (state["lead.lead_id"], state["lead.industry"], state["lead.title"]) == (
        "required",
        "found",
        "empty",
    )
    assert "seniority and department of the person" in contract.detail
    assert replica.status == "warn"
    assert replica.rows[1] == {"missing": "event", "costs": "meetings"}
    assert "leadscore db install-source salesforce --schema salesforce" in replica.remedy


def test_the_doctor_says_how_much_there_is_and_how_old(crm: Database) -> None:
    fresh = source_findings.freshness(crm)
    assert fresh.status == "warn"  # nothing since the 22nd of February
    assert "8 rows in lead" in fresh.detail
    assert "is the replication of the CRM still running?" in fresh.remedy
    assert {row["view"]: row["n_rows"] for row in fresh.rows}["account"] == 2


def test_the_doctor_audits_the_labels_and_names_the_tier(crm: Database) -> None:
    labels, tier = source_findings.labels(Settings(horizon_days=30, reporting_lag_days=7), crm)
    assert labels.detail.startswith("3 conversions, 10/50/90 % after 15.9, 37.6, 37.7 days")
    for words in ("1 without an opportunity", "2 dated by the day only"):
        assert words in labels.detail
    january, february = labels.rows
    assert (january["month"], january["n_leads"], january["n_converted"]) == ("2024-01", 7, 2)
    assert january["base_rate"] == 0.0  # both took longer than the 30 days of the horizon
    assert february["base_rate"] == 1.0
    assert tier.status == "warn"
    assert "3 leads with a conversion that is old enough, 40 are needed" in tier.detail


def test_the_doctor_warns_of_scores_that_are_too_old_to_be_shown(crm: Database) -> None:
    settings, night = Settings(), date(2024, 3, 30)
    scores = make_scores(20, valid_until=pl.lit(datetime(2024, 4, 1, tzinfo=UTC)))
    publish(crm, start_run(crm, settings.model_key, night), scores)
    set_clock(crm, date(2024, 4, 2))
    old = scores_finding(settings, crm)
    assert (old.status, old.detail) == (
        "warn", "20 leads as of 2024-03-30; 20 of them are past their valid_until",
    )  # fmt: skip
    assert "leadscore nightly" in old.remedy
    set_clock(crm, date(2024, 4, 1))
    assert scores_finding(settings, crm).status == "ok"


def test_the_court_sits_and_a_person_rules_by_command(crm: Database, command) -> None:
    assert "attrs_converted_revenue_c" in source_findings.leak_court(crm).remedy
    status, answer = command("doctor", "court", "--ablation")
    assert (status, answer["status"]) == (0, "judged")
    found = {ruling["column"]: ruling["verdict"] for ruling in answer["rulings"]}
    assert (found["attrs_converted_revenue_c"], found["attrs_budget_c"]) == ("suspect", "allowed")
    status, answer = command(
        "doctor", "court", "--ban", "attrs_converted_revenue_c", "--reason", "known at the end"
    )
    assert (status, answer["verdict"]) == (0, "banned")
    assert source_findings.leak_court(crm).status == "ok"
    status, answer = command("doctor", "court", "--allow", "attrs_budget_c")
    assert (status, answer["error"]) == (
        2,
        "rule on one column at a time, --allow or --ban, and give a --reason",
    )
