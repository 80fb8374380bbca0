"""Scores on demand: the same as the next night's, with what became known since the last one."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from features.sources import midnight
from flows.adapters import model_in_force, source_reader
from flows.adapters.erasure import forget
from flows.adapters.lead_reader import narrowed_query, read_leads
from flows.adapters.model_in_force import NothingInForceError
from flows.commands.data import load_simulated_crm
from flows.commands.rescore import rescore_now
from flows.dataset import scoring_set
from flows.lead_model import BOOSTER_FILE
from flows.nightly import run_nightly
from flows.progress import Progress
from flows.rescore import moment
from simulator import SimulationConfig

CRM = SimulationConfig(n_leads=1_500, months=9, seed=5)
QUICK = {"min_train_positives": 5, "train_window_days": 112, "snapshot_every_days": 14, "recipe": "mature"}
NEXT_DAY = CRM.end + timedelta(days=1)


@pytest.fixture(scope="module")
def installation(settings, database, prefect):
    load_simulated_crm(database, CRM, Progress())
    settings = settings.model_copy(update=QUICK)
    with pytest.raises(NothingInForceError, match="run `leadscore nightly` first"):
        rescore_now(settings, database, ("any",), Progress())
    run_nightly(settings, database, None, Progress())
    return settings


@pytest.fixture(scope="module")
def open_leads(installation, database):
    """Ids with a score in force, the best first, and who is still open the day after."""
    model = model_in_force.load_model(installation, database, run(installation, database))
    sources, _ = source_reader.read_sources(database, NEXT_DAY)
    frame = scoring_set(sources, NEXT_DAY, installation, model.encoding.attr_kinds)
    by_night = frame.select("lead_id", p=pl.Series(model.predict_proba(frame)))
    with database.connect() as connection:
        query = "SELECT lead_id FROM scoring.lead_score WHERE status = 'scored' ORDER BY rank_overall"
        scored = [name for (name,) in connection.execute(query).fetchall()]
    return by_night.filter(pl.col("lead_id").is_in(scored)).sort("p", "lead_id", descending=True)


def run(settings, database):
    return model_in_force.in_force(database, settings.model_key)


def answers(settings, database, *lead_ids):
    return rescore_now(settings, database, lead_ids, Progress())["leads"]


def touch(database, lead_id, at):
    """A visit to the pricing page that the web analytics tool delivers late."""
    with database.connect() as connection:
        columns = [
            name
            for (name,) in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'crm'"
                " AND table_name = 'web_event' ORDER BY ordinal_position"
            ).fetchall()
        ]
        values = ", ".join(
            {"id": "%(id)s", "lead_id": "%(lead)s", "occurred_at": "%(at)s", "_synced": "%(at)s"}.get(c, c)
            for c in columns
        )
        connection.execute(
            f"INSERT INTO crm.web_event ({', '.join(columns)}) SELECT {values} FROM crm.web_event"
            " WHERE event_type = 'page_view' AND url = '/pricing' LIMIT 1",
            {"id": f"{lead_id}-{at:%H%M%S}", "lead": lead_id, "at": at},
        )


def test_a_few_leads_get_the_numbers_the_next_night_would_give_them(installation, database, open_leads):
    chosen = open_leads[:: max(1, open_leads.height // 12)]
    found = answers(installation, database, *chosen["lead_id"])
    assert [lead["lead_id"] for lead in found] == chosen["lead_id"].to_list()
    assert [lead["probability"] for lead in found] == pytest.approx(chosen["p"].to_list(), abs=1e-12)
    assert {lead["status"] for lead in found} == {"scored"}
    assert all(lead["published"]["probability"] > 0 and lead["reason_1"] for lead in found[:3])


def test_what_became_known_since_the_night_is_used(installation, database, open_leads):
    lead_id = open_leads["lead_id"][open_leads.height // 2]
    (before,) = answers(installation, database, lead_id)
    for hour in (8, 9, 10, 11):
        touch(database, lead_id, midnight(CRM.end) + timedelta(hours=hour, minutes=hour))
    (after,) = answers(installation, database, lead_id)
    assert after["probability"] != before["probability"]
    assert after["published"] == before["published"]


def test_what_lies_after_the_datas_clock_is_not(installation, database, open_leads):
    lead_id = open_leads["lead_id"][1]
    before = answers(installation, database, lead_id)
    touch(database, lead_id, midnight(NEXT_DAY) + timedelta(hours=1))
    assert answers(installation, database, lead_id) == before


def test_the_answer_is_kept_beside_the_night_and_changes_nothing_of_it(installation, database, open_leads):
    lead_id = open_leads["lead_id"][0]
    query = "SELECT md5(string_agg(s::text, '' ORDER BY lead_id)) FROM scoring.lead_score_published AS s"
    with database.connect() as connection:
        before = connection.execute(query).fetchone()
    (found,) = answers(installation, database, lead_id)
    with database.connect() as connection:
        assert connection.execute(query).fetchone() == before
        kept = connection.execute(
            "SELECT probability, published_probability, published_run_id FROM scoring.lead_rescore"
            " WHERE lead_id = %s ORDER BY rescore_id DESC LIMIT 1",
            [lead_id],
        ).fetchone()
    in_force = run(installation, database).run_id
    assert kept == (found["probability"], found["published"]["probability"], in_force)


def test_a_lead_without_a_number_says_why(installation, database, open_leads):
    with database.connect() as connection:
        closed = connection.execute(
            "SELECT lead_id FROM source.conversion WHERE outcome_at < %s ORDER BY outcome_at DESC LIMIT 1",
            [CRM.end - timedelta(days=30)],
        ).fetchone()[0]
        out = open_leads["lead_id"][3]
        connection.execute(
            "INSERT INTO crm.individual (lead_id, has_opted_out_profiling, has_opted_out_processing, _synced)"
            " VALUES (%s, true, false, now())"
            " ON CONFLICT (lead_id) DO UPDATE SET has_opted_out_profiling = true",
            [out],
        )
    gone = open_leads["lead_id"][4]
    forget(installation, database, gone)
    found = answers(installation, database, closed, out, "nobody", gone)
    assert [lead["status"] for lead in found] == ["closed", "opted_out", "unknown", "unknown"]
    assert {lead[name] for lead in found for name in ("probability", "score", "grade", "reason_1")} == {None}
    with database.connect() as connection:
        kept = connection.execute("SELECT lead_id FROM scoring.lead_rescore").fetchall()
    assert {closed, out} <= {name for (name,) in kept}
    assert not {"nobody", gone} & {name for (name,) in kept}  # an erased lead leaves no new trace


def test_now_is_the_calendars_unless_the_data_has_a_clock():
    now = datetime(2026, 5, 3, 14, 30, tzinfo=UTC)
    assert moment(None, now).known_before == now
    assert moment(None, now).snapshot_date == date(2026, 5, 4)
    assert moment(date(2024, 1, 1), now).known_before == midnight(date(2024, 1, 2))


def test_narrowing_refuses_a_query_that_reads_its_view_otherwise():
    with pytest.raises(ValueError, match=r"must read source\.lead once"):
        narrowed_query("activity", "source.lead")


def test_the_night_leaves_its_model_under_the_home_and_a_damaged_copy_is_made_anew(
    installation, database, open_leads
):
    in_force = run(installation, database)
    assert in_force.mlflow_run_id is not None
    booster = installation.root / "cache" / "models" / in_force.mlflow_run_id / BOOSTER_FILE
    good = booster.read_bytes()
    lead_id = open_leads["lead_id"][0]
    before = answers(installation, database, lead_id)
    booster.write_bytes(good[: len(good) // 2])
    assert answers(installation, database, lead_id) == before
    assert booster.read_bytes() == good


def test_scores_that_no_model_made_cannot_be_made_anew(installation, database, open_leads):
    with database.connect() as connection:
        connection.execute("UPDATE scoring.score_run SET model_version = 'none'")
        connection.commit()
        try:
            with pytest.raises(NothingInForceError, match="come from no model, which needs more conversions"):
                run(installation, database)
        finally:
            connection.execute("UPDATE scoring.score_run SET model_version = '1'")


def test_events_of_strangers_are_not_read(installation, database, open_leads):
    lead_id = open_leads["lead_id"][0]
    sources = read_leads(database, midnight(NEXT_DAY), [lead_id])
    everyone, _ = source_reader.read_sources(database, NEXT_DAY)
    assert 0 < sources.activity.height < everyone.activity.height / 10
    of_lead = pl.col("lead_id") == lead_id
    assert sources.activity.filter(of_lead).height == everyone.activity.filter(of_lead).height


def test_the_command_answers_without_prefect_or_mlflow(installation, database, open_leads):
    code = """
import json, sys
from flows.cli import main
status = main(["rescore", sys.argv[1], "--json"])
names = ("prefect", "mlflow", "sklearn", "altair", "pandas", "pyarrow")
heavy = [name for name in names if name in sys.modules]
print(json.dumps(heavy), file=sys.stderr)
sys.exit(status)
"""
    lead_id = open_leads["lead_id"][0]
    environment = os.environ | {
        "LEADSCORE_HOME": str(installation.root),
        "LEADSCORE_DATABASE_URL": installation.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": installation.mlflow_tracking_uri,
    }
    done = subprocess.run(
        [sys.executable, "-c", code, lead_id], env=environment, capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["leads"][0]["lead_id"] == lead_id
    assert json.loads(done.stderr.splitlines()[-1]) == []
