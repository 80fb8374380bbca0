"""Erasure, proven by search: a night on real parts, then every table and every file is read."""

import json
import os
from pathlib import Path

import pytest
from psycopg import sql

from flows.adapters import source_reader
from flows.adapters.database import AlreadyRunningError, exclusive
from flows.adapters.erasure import forget
from flows.adapters.erasure_files import erase_from_home
from flows.adapters.registry import open_registry
from flows.adapters.subject_export import UnknownSubjectError, export
from flows.cli import main
from flows.commands.data import load_simulated_crm
from flows.dataset import all_labels
from flows.nightly import run_nightly, run_scoring
from flows.progress import Progress
from flows.redaction import Subject
from simulator import SimulationConfig

CRM = SimulationConfig(n_leads=1_500, months=9, seed=5)
QUICK = {"min_train_positives": 5, "train_window_days": 112, "snapshot_every_days": 14, "recipe": "mature"}
CRM_SCHEMAS = ["crm", "truth", "pg_catalog", "information_schema", "pg_toast"]
COLUMNS = """
    SELECT table_schema, table_name, column_name FROM information_schema.columns
    JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_type = 'BASE TABLE' AND table_schema <> ALL(%s) AND table_schema NOT LIKE 'pg\\_temp%%'
      AND data_type IN ('text', 'character varying', 'character', 'json', 'jsonb', 'ARRAY')
"""


@pytest.fixture(scope="module")
def installation(settings, database, prefect):
    """One night, and what else may name a lead: a log, a finding of set-aside rows, a person's feedback."""
    load_simulated_crm(database, CRM, Progress())
    settings = settings.model_copy(update=QUICK)
    best = run_nightly(settings, database, None, Progress())["top_leads"][0]["lead_id"]
    merge(database, "person-before-merge", best)
    (settings.root / "logs").mkdir(exist_ok=True)
    (settings.root / "logs" / "leadscore.log").write_text(
        f'{{"event": "lead {best} looked at"}}\n{{"event": "night done"}}\n'
    )
    with database.connect() as connection:
        found = {"set_aside": [{"frame": "stage", "sample_ids": [best, "other-lead"]}], "n_scored": 7}
        connection.execute("UPDATE scoring.score_run SET counts = %s", [json.dumps(found)])
        connection.execute(
            "INSERT INTO scoring.page (model_key, cause, monitor, words, first_seen, last_seen, details)"
            " VALUES ('k', 'c', 'T1', %s, now(), now(), %s)",
            [f"duplicate of {best}", json.dumps({"lead": "person-before-merge"})],
        )
    return settings, best


def merge(database, source_id, canonical_id):
    """The CRM folds one lead into another."""
    with database.connect() as connection:
        columns = ", ".join(
            name
            for (name,) in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'crm'"
                " AND table_name = 'lead' AND column_name NOT IN"
                " ('id', 'master_record_id', 'is_deleted')"
            ).fetchall()
        )
        connection.execute(
            f"INSERT INTO crm.lead (id, master_record_id, is_deleted, {columns})"
            f" SELECT %s, id, true, {columns} FROM crm.lead"
            " WHERE id = %s",
            [source_id, canonical_id],
        )


def object_to(connection, lead_id, what):
    """The CRM records that a person objects to profiling, or to all processing."""
    values = {"has_opted_out_profiling": False, "has_opted_out_processing": False, what: True}
    connection.execute("DELETE FROM crm.individual WHERE lead_id = %s", [lead_id])
    connection.execute(
        "INSERT INTO crm.individual (lead_id, has_opted_out_profiling, has_opted_out_processing, _synced)"
        " VALUES (%s, %s, %s, now())",
        [lead_id, *values.values()],
    )


def mentions_in_tables(database, words):
    """Tables outside the CRM with a text that holds one of the words."""
    found = set()
    with database.connect() as connection:
        for schema, table, column in connection.execute(COLUMNS, [CRM_SCHEMAS]).fetchall():
            query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {}::text ILIKE ANY(%s))")
            patterns = [f"%{word}%" for word in words]
            place = query.format(sql.Identifier(schema, table), sql.Identifier(column))
            if connection.execute(place, [patterns]).fetchone() == (True,):
                found.add(f"{schema}.{table}")
    return found


def mentions_in_files(folder, words):
    """Files, whatever their kind, whose bytes hold one of the words."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    }


def email_of(database, lead_id):
    with database.connect() as connection:
        return connection.execute("SELECT email FROM crm.lead WHERE id = %s", [lead_id]).fetchone()[0]


@pytest.fixture(scope="module")
def forgotten(installation, database):
    settings, best = installation
    words = [best, "person-before-merge", email_of(database, best)]
    prefect_home = Path(os.environ["PREFECT_HOME"])
    before = (
        mentions_in_tables(database, words),
        mentions_in_files(settings.root, words),
        mentions_in_files(prefect_home, words),
    )
    exported = export(database, best)
    done = forget(settings, database, best)
    erase_from_home(prefect_home, Subject(words))
    return settings, best, words, before, exported, done


def test_a_night_leaves_a_lead_in_many_stores(forgotten):
    *_, (tables, files, prefect_files), _, _ = forgotten
    assert {"scoring.lead_score_published", "scoring.score_run", "scoring.page"} <= tables
    assert any(name.startswith("scoring.lead_score_history_") for name in tables)
    assert any(name.startswith("reports/") for name in files)
    assert any(name.startswith("mlflow/artifacts/") and "/report/" in name for name in files)
    assert "logs/leadscore.log" in files
    assert any(name.startswith("prefect.db") for name in prefect_files)


def test_after_forgetting_no_store_but_the_crm_holds_the_lead(forgotten, database):
    settings, _, words, *_ = forgotten
    assert mentions_in_tables(database, words) == set()
    assert mentions_in_files(settings.root, words) == set()
    assert mentions_in_files(Path(os.environ["PREFECT_HOME"]), words) == set()
    assert email_of(database, words[0]) == words[2]


def test_others_stay(forgotten, database):
    settings = forgotten[0]
    with database.connect() as connection:
        counts = connection.execute("SELECT counts FROM scoring.score_run LIMIT 1").fetchone()[0]
        n_scores = connection.execute("SELECT count(*) FROM scoring.lead_score").fetchone()[0]
    assert counts == {"set_aside": [{"frame": "stage", "sample_ids": ["other-lead"]}], "n_scored": 7}
    assert n_scores > 50
    report = next((settings.root / "reports").glob("*.html")).read_text()
    assert report.count('class="chance"') == 10  # a head and nine of ten leads
    assert (settings.root / "logs" / "leadscore.log").read_text() == '{"event": "night done"}\n'
    model, _ = open_registry(settings, database).load_champion()
    assert model.training_range.n_rows > 0


def test_the_certificate_counts_and_names_nobody(forgotten, database):
    *_, words, _, _, done = forgotten
    assert done["status"] == "erased"
    assert done["n_ids"] == 2
    assert done["counts"]["scoring.lead_score_published"] == 1
    assert done["not_reached"] == []
    with database.connect() as connection:
        row = connection.execute("SELECT * FROM scoring.erasure ORDER BY erasure_id LIMIT 1").fetchone()
    assert done["subject_sha256"] in row
    assert not any(word in str((row, done)) for word in words)


def test_a_second_time_finds_nothing_more(forgotten, database):
    settings, best, *_ = forgotten
    again = forget(settings, database, best)
    assert (again["status"], again["counts"]) == ("already_erased", {})


def test_a_subject_nobody_knows_gets_a_certificate_of_nothing(forgotten, database):
    settings = forgotten[0]
    done = forget(settings, database, "nobody-at-all")
    assert (done["status"], done["counts"]) == ("nothing_found", {})
    assert done["certificate"] > 0


def test_a_night_that_runs_is_waited_for_and_the_bar_is_up(forgotten, database):
    settings = forgotten[0]
    for lock in ("nightly", "replay"):
        with exclusive(database, lock), pytest.raises(AlreadyRunningError, match=f"{lock} already runs"):
            forget(settings, database, "late-subject")
    assert forget(settings, database, "late-subject")["status"] == "already_erased"


def test_artefacts_that_only_mlflow_reaches_are_edited_through_it(forgotten, database):
    registry = open_registry(forgotten[0], database)
    version = registry.get("champion")
    registry.attach_json(version.run_id, "notes/night.json", {"word": "to-be-erased"})
    assert registry.edit_artifacts(lambda name, text: text.replace("to-be-erased", "(erased)")) == 1
    assert registry.edit_artifacts(lambda name, text: text.replace("to-be-erased", "(erased)")) == 0


def test_later_nights_leave_the_lead_out_though_the_crm_still_has_it(forgotten, database):
    settings, best, words, *_ = forgotten
    run_scoring(settings, database, CRM.end, Progress())
    assert mentions_in_tables(database, words) == set()
    assert mentions_in_files(settings.root, words) == set()
    sources, _ = source_reader.read_sources(database, CRM.end)
    assert best not in sources.activity["lead_id"]


def test_the_export_told_everything_and_tells_nothing_of_strangers(forgotten, database):
    best, exported = forgotten[1], forgotten[4]
    assert exported["ids"] == sorted([best, "person-before-merge"])
    stored = exported["stored"]
    assert {"source.lead", "source.activity", "scoring.lead_score_history"} <= set(stored)
    assert stored["scoring.lead_score_published"][0]["reason_1"]
    assert not any("_20" in name for name in stored)
    with pytest.raises(UnknownSubjectError):
        export(database, "nobody-at-all")


def test_the_commands_answer_in_json(forgotten, monkeypatch, capsys, logging_as_before):
    settings, best, words, *_ = forgotten
    monkeypatch.setenv("LEADSCORE_HOME", str(settings.root))
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)
    assert main(["forget", "unheard-of", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "nothing_found"
    assert main(["forget", best, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "already_erased"
    assert main(["export-subject", best, "--json"]) == 0
    assert {name.partition(".")[0] for name in json.loads(capsys.readouterr().out)["stored"]} == {"source"}
    assert mentions_in_files(settings.root, words) == set()


def test_who_opted_out_has_no_number_and_teaches_nothing(forgotten, database):
    settings = forgotten[0]
    sources, _ = source_reader.read_sources(database, CRM.end)
    rows, _ = all_labels(sources, CRM.end, settings)
    lead_id = rows["lead_id"].mode()[0]
    with database.connect() as connection:
        scored = connection.execute(
            "SELECT lead_id FROM scoring.lead_score WHERE score IS NOT NULL ORDER BY rank_overall LIMIT 1"
        ).fetchone()[0]
        for one, column in ((lead_id, "has_opted_out_processing"), (scored, "has_opted_out_profiling")):
            object_to(connection, one, column)
    run_scoring(settings, database, CRM.end, Progress())
    with database.connect() as connection:
        cursor = connection.execute("SELECT * FROM scoring.lead_score WHERE lead_id = %s", [scored])
        row = dict(zip([c.name for c in cursor.description], cursor.fetchone(), strict=True))
    assert row["status"] == "opted_out"
    told = {name for name, value in row.items() if value is not None}
    numbers = {
        "probability",
        "score",
        "grade",
        "rank_overall",
        "rank_in_owner_queue",
        "percentile",
        "expected_value",
    }
    assert (
        told & (numbers | {"reasons", "reason_1", "delta", "trend", "previous_score", "delta_data"}) == set()
    )
    sources, _ = source_reader.read_sources(database, CRM.end)
    learnt, _ = all_labels(sources, CRM.end, settings)
    assert lead_id not in learnt["lead_id"]
