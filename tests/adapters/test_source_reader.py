"""Checking the source contract, reading under the least privilege, and hashing what was read."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sql as sql_files
from features.sources import SCHEMAS
from flows import interruption
from flows.adapters.database import Database
from flows.adapters.migrations import install_source
from flows.adapters.snapshot_hash import snapshot_hash
from flows.adapters.source_frames import FRAMES, KEYS
from flows.adapters.source_reader import NoLeadsError, SourceContractError, check_contract, read_sources
from flows.progress import Progress

AS_OF = date(2024, 3, 1)


@pytest.fixture(scope="module")
def imported(database: Database) -> Database:
    with database.connect() as connection:
        connection.execute(sql_files.load("imported/tables.sql"))
    install_source(database, "imported")
    return database


@pytest.fixture
def connection(imported: Database) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that is rolled back, so that each test starts from the shipped views."""
    with imported.connect() as connection:
        yield connection
        connection.rollback()


@pytest.mark.parametrize("name", list(FRAMES))
def test_the_contracts_of_the_frames_are_the_schemas_of_the_features(name: str) -> None:
    assert dict(pl.Schema(FRAMES[name])) == dict(pl.Schema(SCHEMAS[name]))


def test_the_shipped_views_keep_the_contract_and_empty_columns_say_what_they_would_buy(
    connection: psycopg.Connection[Any],
) -> None:
    report = check_contract(connection)
    unused = {(column.view, column.column): column.buys for column in report.unused}
    assert unused["account", "parent_id"] == "groups of companies"
    assert ("lead", "title") in unused
    connection.execute(
        "INSERT INTO imported.lead (lead_id, created_at, created_precision, updated_at, title)"
        " VALUES ('a', '2024-01-01', 'second', '2024-01-01', 'CTO')"
    )
    unused_now = {(column.view, column.column) for column in check_contract(connection).unused}
    assert set(unused) - unused_now == {("lead", "title"), ("lead", "created_precision")}


@pytest.mark.parametrize(
    ("view", "columns", "message"),
    [
        ("owner", "1 AS nothing", r"source\.owner\.owner_id is missing \(required, text\)"),
        (
            "account",
            "'a'::text AS account_id",
            r"source\.account\.employee_count is missing \(optional\): add `NULL::float8`.*fit of the co",
        ),
        ("owner", "7 AS owner_id", r"source\.owner\.owner_id has type integer, expected text: cast it"),
        (
            "stage_history",
            "'a'::text AS lead_id, 'new'::text AS stage, TIMESTAMP '2024-01-01' AS entered_at",
            r"source\.stage_history\.entered_at is a naive timestamp .*AT TIME ZONE",
        ),
        (
            "consent",
            "'a'::text AS subject_id, 'yes'::text AS opted_out_email",
            r"source\.consent\.opted_out_email has type text, expected bool",
        ),
    ],
)
def test_a_broken_view_is_named_with_column_types_and_remedy(
    connection: psycopg.Connection[Any], view: str, columns: str, message: str
) -> None:
    connection.execute(f"DROP VIEW source.{view} CASCADE")
    connection.execute(f"CREATE VIEW source.{view} AS SELECT {columns}")
    with pytest.raises(SourceContractError, match=message):
        check_contract(connection)


def test_all_problems_are_told_at_once(connection: psycopg.Connection[Any]) -> None:
    connection.execute("DROP VIEW source.consent CASCADE")
    connection.execute("DROP VIEW source.owner CASCADE")
    with pytest.raises(SourceContractError) as raised:
        check_contract(connection)
    assert str(raised.value).count("\n- ") == 2
    assert "view source.consent is missing: run `leadscore simulate`" in str(raised.value)


def test_no_leads_at_all_and_none_yet_are_told_apart(imported: Database) -> None:
    with pytest.raises(NoLeadsError, match=r"source\.lead is empty"):
        read_sources(imported, AS_OF)
    with imported.connect() as connection:
        connection.execute(
            "INSERT INTO imported.lead (lead_id, created_at, created_precision, updated_at)"
            " VALUES ('a', '2024-05-06', 'second', '2024-05-06')"
        )
    with pytest.raises(
        NoLeadsError, match=r"1 leads but none that is known at 2024-03-01 .* the first is of 2024-05-06"
    ):
        read_sources(imported, AS_OF)


def test_reading_needs_no_more_than_the_views(imported: Database) -> None:
    """The reader's role sees the leads through the views and cannot touch the tables behind them."""
    with imported.connect() as connection:
        connection.execute(
            "INSERT INTO imported.lead (lead_id, created_at, created_precision, updated_at, attrs)"
            """ VALUES ('b', '2024-01-06', 'second', '2024-01-06', '{"visits": 3}')"""
        )
    sources, set_aside = read_sources(imported, AS_OF)
    assert sources.lead.select("lead_id", "attrs").rows() == [("b", '{"visits": 3}')]
    assert set_aside.n_read["lead"] == 1
    assert (set_aside.n_rows, set_aside.to_dicts()) == (0, [])
    with imported.connect("crm_reader") as connection:
        check_contract(connection)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT 1 FROM imported.lead")


def read_until_interrupted(database: Database) -> None:
    deadline, progress = time.monotonic() + 5, Progress()
    while time.monotonic() < deadline:
        with progress.stage("read the CRM"):
            read_sources(database, date(2024, 6, 1))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a finalizer may meet it
@pytest.mark.parametrize("delay", [0.01 * step for step in range(1, 13)])
def test_no_ctrl_c_is_lost_while_reading(imported: Database, delay: float) -> None:
    """Whenever it comes: while a query runs, between two of them, or at the border."""
    with imported.connect() as connection:
        connection.execute(
            "INSERT INTO imported.lead (lead_id, created_at, created_precision, updated_at)"
            " VALUES ('a', '2024-05-06', 'second', '2024-05-06') ON CONFLICT DO NOTHING"
        )
    read_sources(imported, date(2024, 6, 1))
    ctrl_c = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    ctrl_c.start()
    with interruption.listening(), pytest.raises(KeyboardInterrupt):
        read_until_interrupted(imported)
    ctrl_c.join()


def small_frames(rows: list[tuple[str, float | None]]) -> dict[str, pl.DataFrame]:
    return {
        "lead": pl.DataFrame(rows, schema={"lead_id": pl.String, "annual_revenue": pl.Float64}, orient="row")
    }


rows = st.lists(
    st.tuples(st.text(max_size=4), st.one_of(st.none(), st.floats(allow_nan=False))),
    max_size=8,
    unique_by=lambda row: row[0],
)


@given(rows, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_hash_ignores_the_order_of_rows_and_sees_every_change(
    rows: list[tuple[str, float | None]], random: Any
) -> None:
    shuffled = random.sample(rows, len(rows))
    digest = snapshot_hash(small_frames(rows), KEYS)
    assert snapshot_hash(small_frames(shuffled), KEYS) == digest
    assert snapshot_hash(small_frames([*rows, ("another", 1.0)]), KEYS) != digest
    if rows:
        changed = [(rows[0][0], 1.5 if rows[0][1] != 1.5 else None), *rows[1:]]
        assert snapshot_hash(small_frames(changed), KEYS) != digest


def test_the_hash_tells_missing_from_empty_and_types_apart() -> None:
    texts = [
        pl.DataFrame({"lead_id": ["a"], "title": [title]}, schema_overrides={"title": pl.String})
        for title in (None, "")
    ]
    number = pl.DataFrame({"lead_id": ["a"], "title": [None]}, schema_overrides={"title": pl.Float64})
    assert len({snapshot_hash({"lead": frame}, KEYS) for frame in [*texts, number]}) == 3


def test_the_hash_is_the_same_in_another_process() -> None:
    program = (
        "import polars as pl; from flows.adapters.snapshot_hash import snapshot_hash;"
        "frame = pl.DataFrame({'lead_id': ['b', 'a'], 'n': [.1, None]});"
        "print(snapshot_hash({'lead': frame}, {'lead': ['lead_id']}))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = snapshot_hash({"lead": pl.DataFrame({"lead_id": ["a", "b"], "n": [None, 0.1]})}, KEYS)
    assert other.stdout.strip() == here


def test_all_frames_come_from_one_moment(imported: Database) -> None:
    """Rows committed while reading goes on are not seen, in no frame."""
    from flows.adapters.source_reader import reading

    with reading(imported, datetime(2024, 3, 1, tzinfo=UTC)) as read:
        assert read("lead")["lead_id"].to_list() == ["b"]
        with imported.connect() as connection:
            connection.execute(
                "INSERT INTO imported.outcome (lead_id, outcome, outcome_at, outcome_precision)"
                " VALUES ('b', 'converted', '2024-02-01', 'second')"
            )
        assert read("outcome").is_empty()
