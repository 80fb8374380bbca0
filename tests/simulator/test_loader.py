from datetime import date

import psycopg
import pytest

import sql as sql_files
from flows.adapters.simulation_loader import has_simulation, load_simulation
from simulator import SimulationConfig
from simulator.truth import conversion_probability
from tests.simulator.worlds import tables

SMALL = SimulationConfig(n_leads=1_500, seed=11)
COLUMNS = {
    "lead": "lead_id created_at created_precision owner_id updated_at account_id contact_id lead_source title"
    " industry country employee_count annual_revenue email_domain notes is_deleted deleted_at"
    " merged_into_id attrs",
    "stage_history": "lead_id stage entered_at ingested_at changed_by",
    "field_history": "entity entity_id field value valid_from valid_to",
    "activity": "activity_id lead_id occurred_at occurred_precision ingested_at activity_type direction"
    " channel outcome duration_seconds actor_id is_bot campaign_id url_class",
    "account": "account_id parent_id industry employee_count annual_revenue country is_customer"
    " is_competitor",
    "outcome": "lead_id outcome outcome_at outcome_precision ingested_at opportunity_id amount currency"
    " lost_reason",
    "owner": "owner_id team_id territory is_active daily_capacity absent_until",
    "consent": "subject_id opted_out_email opted_out_profiling opted_out_processing erase_requested_at",
    "identity_map": "source_id canonical_id valid_from",
}
TYPES = {
    "web_visit",
    "pricing_visit",
    "form_submit",
    "webinar",
    "document_view",
    "chat",
    "call",
    "meeting",
    "email_sent",
    "email_open",
    "email_click",
    "email_reply",
}


@pytest.fixture(scope="module")
def loaded(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert not has_simulation(connection)
        summary = load_simulation(connection, SMALL)
        connection.execute("CREATE SCHEMA IF NOT EXISTS source")
        for path in sql_files.names("source/simulated"):
            connection.execute(sql_files.load(path).encode())
        yield connection, summary


def count(connection, table):
    return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_every_generated_row_is_loaded(loaded):
    connection, summary = loaded
    assert has_simulation(connection)
    assert summary.clock == SMALL.end
    assert summary.n_leads == 1_500
    for table, frame in tables(SMALL).items():
        assert summary.rows[table] == frame.height == count(connection, table), table


def test_views_have_the_contract_s_columns(loaded):
    connection, _ = loaded
    for view, columns in COLUMNS.items():
        cursor = connection.execute(f"SELECT * FROM source.{view} LIMIT 1")
        assert {column.name for column in cursor.description} == set(columns.split()), view
        assert cursor.fetchone() is not None, view


def test_activities_have_known_names_and_leave_out_plans(loaded):
    connection, _ = loaded
    names = {name for (name,) in connection.execute("SELECT DISTINCT activity_type FROM source.activity")}
    assert names == TYPES
    tasks = connection.execute("SELECT count(*) FROM crm.task WHERE status = 'Completed' AND NOT is_deleted")
    touches = connection.execute("SELECT count(*) FROM source.activity WHERE channel IN ('phone', 'meeting')")
    assert tasks.fetchone() == touches.fetchone()


def test_a_corrected_title_is_shown_as_it_was_first_written(loaded):
    connection, _ = loaded
    wrong = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE lead.title IS DISTINCT FROM history.old_value)"
        " FROM crm.lead_history AS history JOIN source.lead USING (lead_id) WHERE history.field = 'Title'"
    ).fetchone()
    assert wrong[0] > 10
    assert wrong[1] == 0


def test_field_history_is_without_gaps_and_ends_open(loaded):
    connection, _ = loaded
    broken = connection.execute(
        "SELECT count(*) FROM (SELECT valid_to, lead(valid_from) OVER (PARTITION BY entity_id, field"
        " ORDER BY valid_from) AS next FROM source.field_history) AS period"
        " WHERE valid_to IS DISTINCT FROM next"
    ).fetchone()[0]
    current = connection.execute(
        "SELECT count(*) FROM source.field_history AS history JOIN crm.lead ON lead.id = history.entity_id"
        " WHERE field = 'title' AND valid_to IS NULL AND value IS DISTINCT FROM title"
    ).fetchone()[0]
    assert (broken, current) == (0, 0)


def test_each_conversion_has_an_amount(loaded):
    connection, _ = loaded
    rows = connection.execute(
        "SELECT count(*), count(amount), count(currency) FROM source.outcome WHERE outcome = 'converted'"
    ).fetchone()
    assert rows[0] > 20
    assert len(set(rows)) == 1


def test_sql_and_polars_tell_the_same_truth(loaded):
    connection, _ = loaded
    for as_of, horizon in ((date(2025, 8, 1), 60), (date(2026, 6, 15), 14), (SMALL.end, 180)):
        rows = connection.execute(
            "SELECT * FROM truth.conversion_probability(%s, %s)", [as_of, horizon]
        ).fetchall()
        expected = dict(conversion_probability(tables(SMALL)["truth.lead"], as_of, horizon).iter_rows())
        assert dict(rows) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        lead_id = rows[0][0]
        one = connection.execute(
            "SELECT * FROM truth.conversion_probability(%s, %s, %s)", [as_of, horizon, lead_id]
        )
        assert one.fetchall() == [rows[0]]


def test_no_view_reads_the_truth(loaded):
    connection, _ = loaded
    readers = connection.execute(
        "SELECT viewname FROM pg_views WHERE schemaname = 'source' AND definition LIKE '%truth.%'"
    ).fetchall()
    assert readers == []
    allowed = connection.execute(
        "SELECT bool_or(acl.grantee = 0) FROM pg_namespace, aclexplode(nspacl) AS acl WHERE nspname = 'truth'"
    ).fetchone()[0]
    assert not allowed


def test_a_failed_load_changes_nothing_and_a_second_load_replaces(loaded):
    connection, summary = loaded
    other = SimulationConfig(n_leads=2_000, seed=12)

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_simulation(connection, other, stop)
    assert count(connection, "crm.lead") == 1_500
    seen = []
    again = load_simulation(connection, SMALL, lambda done, total: seen.append((done, total)))
    assert again == summary
    assert seen == [(0, 1_500), (1_500, 1_500)]
    assert count(connection, "source.activity") > 20_000
