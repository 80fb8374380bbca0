"""A night end to end on real parts: Postgres, MLflow, Prefect, a simulated CRM."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sql as sql_files
from flows.adapters import decisions
from flows.adapters.database import AlreadyRunningError, Database, exclusive
from flows.adapters.evidence_table import evidence_on
from flows.adapters.registry import RegistryError, open_registry
from flows.adapters.settings import Settings
from flows.lead_model import LeadModel
from flows.nightly import run_nightly, run_scoring, run_training
from flows.progress import Progress
from flows.training import TooFewConversionsError
from simulator import SimulationConfig
from tests.flows.conftest import SMALL_CRM

CLOCK = SimulationConfig().end
WANTED = {
    "run_id", "status", "as_of", "model_version", "n_open_leads", "n_scored", "n_train_rows",
    "n_train_positives", "prevalence", "average_precision", "average_precision_low", "average_precision_high",
    "roc_auc", "lift_at_10pct", "precision_at_2pct", "log_loss", "train_seconds", "wall_seconds",
    "peak_rss_mb", "report_path", "leakage_alarm",
}  # fmt: skip


def published(database: Database) -> pl.DataFrame:
    columns = "lead_id, status, probability, score, grade, rank_overall"
    query = f"SELECT {columns} FROM scoring.lead_score ORDER BY 1"
    with database.connect() as connection:
        cursor = connection.execute(query)
        return pl.DataFrame(cursor.fetchall(), schema=[c.name for c in cursor.description], orient="row")


def moved(database: Database) -> pl.DataFrame:
    """Why the scores in force moved, where they had one the night before."""
    query = (
        "SELECT delta, delta_data, delta_decay, delta_model FROM scoring.lead_score WHERE delta IS NOT NULL"
    )
    with database.connect() as connection:
        cursor = connection.execute(query)
        return pl.DataFrame(cursor.fetchall(), schema=[c.name for c in cursor.description], orient="row")


def query(database: Database, text: str) -> pl.DataFrame:
    with database.connect() as connection:
        cursor = connection.execute(text)
        names = [column.name for column in cursor.description]
        return pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)


def states(database: Database) -> list[str]:
    with database.connect() as connection:
        return [
            s for (s,) in connection.execute("SELECT state FROM scoring.score_run ORDER BY run_id").fetchall()
        ]


@dataclass(frozen=True)
class Young:
    """A night before there was a model: its summary, its rows, and what sales saw."""

    summary: dict[str, Any]
    scores: pl.DataFrame
    shown: pl.DataFrame


def young(settings: Settings, database: Database, as_of: date) -> Young:
    strict = settings.model_copy(update={"min_train_positives": 2000})
    summary = run_nightly(strict, database, as_of, Progress())
    scores = query(database, "SELECT * FROM scoring.lead_score ORDER BY rank_overall NULLS LAST, lead_id")
    shown = query(database, "SELECT lead_id, score, tier FROM sales.prioritized_leads ORDER BY rank_overall")
    return Young(summary, scores, shown)


@pytest.fixture(scope="module")
def nobody_has_won(settings, simulated) -> Young:
    """The CRM is seven weeks old: no conversion had time to arrive."""
    return young(settings, simulated, SMALL_CRM.start + timedelta(days=49))


@pytest.fixture(scope="module")
def some_have_won(settings, simulated, nobody_has_won) -> Young:
    """The night before the first model."""
    return young(settings, simulated, CLOCK - timedelta(days=1))


@pytest.fixture(scope="module")
def first(settings, simulated, some_have_won):
    return run_nightly(settings, simulated, None, Progress())


def test_before_any_conversion_leads_are_in_a_plain_order_without_numbers(nobody_has_won):
    night, scores = nobody_has_won.summary, nobody_has_won.scores
    placed = scores.filter(pl.col("tier") == "rule")
    assert (night["tier"], night["n_scored"], night["model_version"]) == ("rule", 0, None)
    assert "found 0 in" in night["why_no_model"]
    assert placed.height > 100
    assert placed["rank_overall"].to_list() == list(range(1, placed.height + 1))
    assert set(placed["status"]) == {"insufficient_data"}
    assert scores.select("probability", "score", "grade", "expected_value").null_count().row(0) == (
        scores.height,
    ) * 4  # fmt: skip
    assert placed["reason_1"].null_count() == 0
    assert scores.filter(pl.col("status") != "insufficient_data")["tier"].null_count() > 0
    assert nobody_has_won.shown["lead_id"].to_list() == placed["lead_id"].to_list()
    assert nobody_has_won.shown["score"].null_count() == placed.height
    page = Path(night["report_path"]).read_text()
    assert "no model and no number" in page
    assert placed["reason_1"][0] in page


def test_before_a_model_leads_have_the_rate_of_their_source(simulated, some_have_won):
    night, scores = some_have_won.summary, some_have_won.scores
    numbers = scores.filter(pl.col("tier") == "pooled_prior")
    assert (night["tier"], night["n_scored"], night["is_retrained"]) == (
        "pooled_prior",
        numbers.height,
        False,
    )
    assert "at least 2000 leads with a mature conversion, found" in night["why_no_model"]
    assert numbers.height > 100
    assert set(numbers["status"]) == {"insufficient_data"}
    assert set(numbers["model_version"]) == {"none"}
    assert numbers["probability"].is_between(0, 1, closed="none").all()
    assert numbers["probability"].is_sorted(descending=True)
    assert 3 <= numbers["probability"].n_unique() <= 12
    assert "pooled_prior" in Path(night["report_path"]).read_text()
    assert night["hindsight"] is None or night["hindsight"]["roc_auc"] > 0.5
    listed = query(
        simulated, "SELECT DISTINCT reason_1 FROM scoring.lead_score_history WHERE tier IS NOT NULL"
    )
    assert any("earlier leads from " in reason for reason in listed["reason_1"])


def test_the_first_model_takes_over_from_the_averages(simulated, some_have_won, first):
    assert (first["tier"], first["why_no_model"]) == ("own_model", None)
    tiers = query(simulated, "SELECT DISTINCT tier FROM scoring.lead_score WHERE status = 'scored'")
    assert tiers["tier"].to_list() == ["own_model"]


def test_a_night_publishes_every_open_lead_and_says_what_it_did(settings, simulated, first):
    assert set(first) >= WANTED
    assert json.dumps(first, default=str)
    assert first["as_of"] == CLOCK
    scores = published(simulated)
    assert scores.filter(pl.col("status") != "closed").height == first["n_open_leads"] > 100
    assert {"scored", "excluded", "closed"} <= set(scores["status"])
    assert scores["probability"].drop_nulls().is_between(0, 1, closed="none").all()
    assert scores["probability"].count() == first["n_scored"]
    assert first["roc_auc"] > 0.6
    assert first["average_precision_low"] <= first["average_precision"] <= first["average_precision_high"]
    assert first["average_precision"] > first["prevalence"]
    assert first["peak_rss_mb"] > 0  # of this process, tests and all; test_up has that of a night alone
    assert "<svg" in Path(first["report_path"]).read_text()
    best = first["top_leads"]
    assert [lead["rank"] for lead in best] == list(range(1, 11))
    assert all(lead["reason_1"] for lead in best)


def test_every_number_comes_with_its_worth_and_every_model_with_its_evidence(settings, simulated, first):
    with simulated.connect() as connection:
        bare = connection.execute(
            "SELECT count(*) FROM scoring.lead_score WHERE probability IS NOT NULL AND (currency IS NULL"
            " OR expected_value IS NULL OR NOT (confidence > 0 AND confidence < 1) OR confidence IS NULL)"
        ).fetchone()
        (reasons,) = connection.execute(
            "SELECT reasons FROM scoring.lead_score WHERE rank_overall = 1"
        ).fetchone()
    assert bare == (0,)
    assert any(", usual is " in r["words"] for r in reasons)
    assert all(abs(r["effect"]) >= r["uncertainty"] for r in reasons)
    rows = evidence_on(simulated, settings.model_key, first["model_version"])
    chance = next(r for r in rows if (r["measure"], r["subject"]) == ("gain_over", "at random"))
    assert chance["verdict"] == "better"
    page = Path(first["report_path"]).read_text()
    assert "What calling by score brings" in page
    run = open_registry(settings, simulated).load_champion()[1].run_id
    assert metric_of(settings, run, "gain_over_at_random") == pytest.approx(chance["value"])


def metric_of(settings, run_id: str, name: str) -> float:
    import mlflow

    return mlflow.MlflowClient(settings.mlflow_tracking_uri).get_run(run_id).data.metrics[name]


def test_owners_find_their_lists_in_the_morning(simulated, first):
    with simulated.connect() as connection:
        listed = connection.execute(
            "SELECT count(*), count(DISTINCT owner_id) FROM sales.worklist"
        ).fetchone()
        present = connection.execute(
            "SELECT count(*) FROM scoring.worklist_owner WHERE n_places > 0"
        ).fetchone()
        touched = connection.execute("SELECT count(last_outbound_at) FROM scoring.lead_queue").fetchone()
        for path in sql_files.names("checks/worklist"):
            assert connection.execute(sql_files.load(path).encode()).fetchall() == [], path
    assert listed[0] > 50
    assert 0 < listed[1] <= present[0]
    assert touched[0] > 0


def test_opted_out_leads_have_a_status_and_no_number(settings, simulated, first):
    query = """
        SELECT status, probability, score FROM scoring.lead_score
        JOIN source.consent ON subject_id = lead_id WHERE opted_out_profiling
    """
    with simulated.connect() as connection:
        rows = connection.execute(query).fetchall()
    assert rows
    assert set(rows) == {("opted_out", None, None)}


def test_a_rerun_replaces_its_date_and_keeps_the_champion(settings, simulated, first):
    before = published(simulated)
    again = run_nightly(settings, simulated, CLOCK, Progress())
    assert again["model_version"] == first["model_version"]
    assert not again["is_retrained"]
    assert again["average_precision"] == first["average_precision"]
    assert published(simulated).equals(before)
    with simulated.connect() as connection:
        n = connection.execute(
            "SELECT count(*) FROM scoring.lead_score_history WHERE as_of_date = %s", [CLOCK]
        ).fetchone()[0]
    assert n == before.height


def test_an_earlier_date_is_filed_without_touching_what_is_in_force(settings, simulated, first):
    before = published(simulated)
    past = run_nightly(settings, simulated, CLOCK - timedelta(days=30), Progress())
    assert past["is_retrained"]
    assert past["model_version"] != first["model_version"]
    assert past["hindsight"]["n_positives"] > 0
    assert published(simulated).equals(before)
    champion = open_registry(settings, simulated).get("champion")
    assert str(champion.version) == first["model_version"]


def test_a_champion_does_not_score_a_date_whose_future_it_has_learnt(settings, simulated, first):
    past = CLOCK - timedelta(days=30)
    query = "SELECT count(*) FROM scoring.lead_score_history WHERE as_of_date = %s AND model_version = %s"
    with pytest.raises(LookupError, match=f"trained as of {CLOCK} and knows what came after {past}"):
        run_scoring(settings, simulated, past, Progress())
    with simulated.connect() as connection:
        assert connection.execute(query, [past, first["model_version"]]).fetchone() == (0,)


def test_too_few_conversions_keep_the_champion(settings, simulated, first):
    later = CLOCK + timedelta(days=1)
    strict = settings.model_copy(update={"min_train_positives": 2000})
    night = run_nightly(strict, simulated, later, Progress())
    assert night["model_version"] == first["model_version"]
    assert any("not retrained" in warning and "2000" in warning for warning in night["warnings"])
    assert first["churn"] is None
    assert night["churn"]["since"] == CLOCK.isoformat()
    assert night["churn"]["best_tenth_kept"] > 0.7
    assert 0.7 < night["churn"]["grade_kept"] < 1
    assert "rank churn" in Path(night["report_path"]).read_text()
    moves = moved(simulated)
    parts = moves.select(pl.sum_horizontal("delta_data", "delta_decay", "delta_model")).to_series()
    assert moves.height > 0.9 * night["n_scored"]
    assert (parts - moves["delta"]).abs().max() < 1e-6
    assert (moves["delta_decay"] < 0).mean() > 0.9
    assert (moves["delta_model"] == 0).all()
    with pytest.raises(TooFewConversionsError):
        run_training(strict, simulated, later, Progress())


def test_a_champion_with_other_columns_is_refused_by_score_and_replaced_by_a_night(
    settings, simulated, first
):
    registry = open_registry(settings, simulated)
    model, _ = registry.load_champion()
    names = tuple("activity_gone_30d" if name == "lead_age_days" else name for name in model.encoding.names)
    encoding = type(model.encoding)(names, model.encoding.levels, model.encoding.constant)
    other = LeadModel(
        model.booster,
        encoding,
        model.label_definition,
        model.training_range,
        model.recipe,
        model.code_version,
    )
    from flows.adapters.run_files import RunRecord

    foreign = registry.log_run(other, RunRecord("other columns", {}, {}, "0" * 64))
    registry.promote(foreign.version, "test")
    before = published(simulated)
    with pytest.raises(LookupError, match="in another kind, activity_gone_30d"):
        run_scoring(settings, simulated, CLOCK + timedelta(days=1), Progress())
    assert published(simulated).equals(before)
    with simulated.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE scoring.score_run SET model_version = %s WHERE as_of_date <= %s",
            [str(foreign.version), CLOCK],
        )
    night = run_nightly(settings, simulated, CLOCK + timedelta(days=1), Progress())
    assert night["is_retrained"]
    assert int(night["model_version"]) > foreign.version
    assert moved(simulated).height > 100, "scores moved"
    assert moved(simulated).drop("delta").null_count().row(0) == (moved(simulated).height,) * 3
    assert any("why scores moved is not said tonight" in warning for warning in night["warnings"])


def test_two_nights_cannot_overlap(settings, simulated, first):
    with exclusive(simulated, "nightly"), pytest.raises(AlreadyRunningError, match="nightly"):
        run_nightly(settings, simulated, None, Progress())


def test_train_replaces_a_champion_whose_files_are_lost(settings, simulated, first):
    registry, day = open_registry(settings, simulated), CLOCK + timedelta(days=1)
    lost = registry.get("champion").version
    source = registry._client.get_model_version_download_uri(registry.model_name, str(lost))
    shutil.rmtree(Path(source.removeprefix("file://")))
    with pytest.raises(RegistryError, match=r"cannot be read .* or `leadscore train`"):
        run_nightly(settings, simulated, day, Progress())
    trained = run_training(settings, simulated, day, Progress())
    assert int(trained["model_version"]) == registry.get("champion").version > lost
    assert f"version {lost} cannot be read" in trained["warnings"][0]
    decision = decisions.newest(simulated, settings.model_key)[0]
    assert (decision.champion_before, decision.state) == (lost, "done")
    assert decision.cause.startswith("asked for; the champion cannot be read: files of")
    assert run_nightly(settings, simulated, day, Progress())["status"] == "published"


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_night_leaves_the_last_scores_and_a_rerun_repairs(
    settings, simulated, first, stop, tmp_path
):
    before = published(simulated)
    environment = os.environ | {
        "LEADSCORE_HOME": str(settings.home),
        "LEADSCORE_DATABASE_URL": settings.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "LEADSCORE_RETRAIN_EVERY_DAYS": "1",
    }
    day = CLOCK + timedelta(days=2)
    n_runs = len(states(simulated))
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "flows", "nightly", "--as-of", str(day)]
        child = subprocess.Popen(command, env=environment, stderr=log, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while len(states(simulated)) == n_runs and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(stop)
    status, said = child.wait(timeout=60), (tmp_path / "log").read_text()
    assert status == (130 if stop == signal.SIGINT else -signal.SIGKILL), said[-2000:]
    if stop == signal.SIGINT:
        assert (
            said.splitlines()[-1] == "leadscore: stopped by Ctrl-C; the last published scores are untouched"
        )
        assert "Traceback" not in said
    assert published(simulated).equals(before)
    night = run_nightly(settings, simulated, day, Progress())
    assert night["status"] == "published"
    is_told = f"killed before its end, with nothing published: the run of {day}" in night["warnings"]
    assert is_told == (stop == signal.SIGKILL)
    assert states(simulated)[-2:] == (
        ["failed", "published"] if stop == signal.SIGINT else ["killed", "published"]
    )
