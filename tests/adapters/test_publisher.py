import contextlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import psycopg
import pytest
import sqlalchemy as sa

from flows.adapters import score_checks, score_tables
from flows.adapters.database import Database
from flows.adapters.publisher import PublicationFailedError, PublicationRefusedError, publish
from flows.adapters.score_runs import Run, fail_run, finish_run, start_run
from flows.adapters.score_storage import KEPT_RUNS, drop_history

KEY = "lead-conversion"
DAY = date(2026, 5, 1)
TABLES = "scoring.lead_score_published, scoring.lead_score_history, scoring.score_pointer, scoring.score_run"


def make_scores(n: int = 200, seed: int = 0, **columns: object) -> pl.DataFrame:
    """Scores as the flow hands them over; keyword arguments replace columns."""
    probability = np.random.default_rng(seed).beta(1, 12, n).clip(1e-6, 1 - 1e-6)
    order = (-probability).argsort().argsort()
    now = datetime(2026, 5, 1, 2, 30, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "lead_id": [f"L{i}" for i in range(n)],
            "owner_id": [f"O{i % 7}" for i in range(n)],
            "status": ["scored"] * n,
            "probability": probability,
            "score": np.rint(100 * probability).astype(np.int16),
            "grade": ["B"] * n,
            "rank_overall": (order + 1).astype(np.int32),
            "percentile": 100.0 - order * 100.0 / n,
            "reasons": [json.dumps([{"label": 'said "yes", twice', "effect": 0.3}])] * n,
            "reason_1": ["Opened the pricing page, 3 times"] * n,
            "reason_2": [""] * n,
            "model_version": ["7"] * n,
            "data_as_of": [now] * n,
            "scored_at": [now] * n,
        }
    )
    return frame.with_columns(**columns)


def publish_day(database: Database, day: date, scores: pl.DataFrame, **options: object) -> Run:
    run = start_run(database, KEY, day)
    publish(database, run, scores, **options)
    return run


@pytest.fixture(autouse=True)
def _empty(database: Database):
    """Each test starts without runs."""
    yield
    with database.connect(autocommit=True) as connection:
        connection.execute(f"TRUNCATE {TABLES}")
    drop_history(database, before=date.max)


def current(owner: psycopg.Connection, columns: str = "count(*), min(run_id), max(run_id)") -> tuple:
    return owner.execute(f"SELECT {columns} FROM scoring.lead_score").fetchone()


def state(owner: psycopg.Connection, run: Run) -> str:
    return owner.execute("SELECT state FROM scoring.score_run WHERE run_id = %s", [run.run_id]).fetchone()[0]


def test_tables_are_those_of_the_migrations(database: Database):
    with database.begin() as connection:
        inspector, dialect = sa.inspect(connection), connection.dialect
        for table in score_tables.metadata.tables.values():
            found = {
                c["name"]: (c["type"].compile(dialect), c["nullable"])
                for c in inspector.get_columns(table.name, schema="scoring")
            }
            wanted = {c.name: (c.type.compile(dialect), c.nullable) for c in table.columns}
            if table.name == "lead_score":  # a view's columns are all nullable
                found, wanted = ({n: t for n, (t, _) in x.items()} for x in (found, wanted))
            assert found == wanted, table.name


def test_a_published_night_reads_back_as_it_was_written(database: Database, owner: psycopg.Connection):
    scores = make_scores()
    run = publish_day(database, DAY, scores, expected_rows=200)
    rows = owner.execute("SELECT * FROM scoring.lead_score ORDER BY lead_id").fetchall()
    names = score_tables.SCORE_COLUMNS
    back = pl.DataFrame(rows, schema=list(names), orient="row", infer_schema_length=None)
    given = scores.sort("lead_id")
    assert back["lead_id"].to_list() == given["lead_id"].to_list()
    assert back["probability"].to_list() == given["probability"].to_list()
    assert set(back["reason_2"]) == {""}
    assert set(back["reason_3"]) == {None}
    assert rows[0][names.index("reasons")] == [{"label": 'said "yes", twice', "effect": 0.3}]
    assert back["scored_at"][0] == datetime(2026, 5, 1, 2, 30, tzinfo=UTC)
    assert set(back["run_id"]) == {run.run_id}
    assert set(back["trend"]) == {"new"}


def test_the_run_record_tells_the_story(database: Database, owner: psycopg.Connection):
    run = start_run(database, KEY, DAY, inputs={"snapshot": "abc"})
    publish(database, run, make_scores())
    finish_run(database, run, counts={"n_open_leads": 200})
    row = owner.execute(
        "SELECT state, row_count, model_version, counts, checks, inputs, published_at IS NOT NULL,"
        " finished_at >= published_at FROM scoring.score_run WHERE run_id = %s",
        [run.run_id],
    ).fetchone()
    assert row == (
        "published", 200, "7", {"n_open_leads": 200}, score_checks.names(), {"snapshot": "abc"}, True, True,
    )  # fmt: skip


def test_the_next_night_knows_what_changed(database: Database, owner: psycopg.Connection):
    publish_day(database, DAY, make_scores(score=pl.lit(50, pl.Int16)))
    tonight = make_scores(201).with_columns(
        score=pl.Series([60, 49, 40, *[50] * 198], dtype=pl.Int16),
    )
    publish_day(database, date(2026, 5, 2), tonight)
    query = "SELECT previous_score, delta, trend FROM scoring.lead_score WHERE lead_id = %s"
    expected = {
        "L0": (50, 10, "rising"),
        "L1": (50, -1, "steady"),
        "L2": (50, -10, "falling"),
        "L200": (None, None, "new"),
    }
    assert {lead: owner.execute(query, [lead]).fetchone() for lead in expected} == expected


def test_a_missing_score_is_a_status(database: Database, owner: psycopg.Connection):
    unscored = pl.col("lead_id") == "L3"
    scores = make_scores().with_columns(
        status=pl.when(unscored).then(pl.lit("opted_out")).otherwise("status"),
        probability=pl.when(unscored).then(None).otherwise("probability"),
        score=pl.when(unscored).then(None).otherwise("score"),
    )
    publish_day(database, DAY, scores)
    assert current(owner)[0] == 200
    assert owner.execute("SELECT count(*) FROM sales.prioritized_leads").fetchone() == (199,)


def test_a_rerun_replaces_its_date(database: Database, owner: psycopg.Connection):
    first = publish_day(database, DAY, make_scores(seed=1))
    second = publish_day(database, DAY, make_scores(seed=2))
    assert current(owner) == (200, second.run_id, second.run_id)
    assert owner.execute("SELECT count(*), max(run_id) FROM scoring.lead_score_history").fetchone() == (
        200, second.run_id,
    )  # fmt: skip
    states = dict(owner.execute("SELECT run_id, state FROM scoring.score_run").fetchall())
    assert states == {first.run_id: "superseded", second.run_id: "published"}


def test_a_retry_whose_commit_went_through_leaves_what_is_published(database, owner):
    """The answer to the commit was lost, so the same run is published once more."""
    run = publish_day(database, DAY, make_scores())
    before = current(owner)
    moved = owner.execute("SELECT moved_at FROM scoring.score_pointer").fetchone()
    again = publish(database, run, make_scores(), also=[sa.text("SELECT 1 / 0")])
    assert (again.run_id, again.row_count) == (run.run_id, 200)
    assert current(owner) == before
    assert owner.execute("SELECT moved_at FROM scoring.score_pointer").fetchone() == moved
    assert state(owner, run) == "published"


def test_a_retry_after_another_run_of_the_date_leaves_that_ones_scores(database, owner):
    run = publish_day(database, DAY, make_scores())
    other = publish_day(database, DAY, make_scores())
    publish(database, run, make_scores())
    assert current(owner) == (200, other.run_id, other.run_id)
    assert state(owner, run) == "superseded"


def test_a_run_whose_place_another_has_taken_publishes_no_more(database, owner):
    """It had lost its lock, and to the next run it looked like one that was killed."""
    late = start_run(database, KEY, DAY)
    other = publish_day(database, date(2026, 5, 2), make_scores())
    with pytest.raises(PublicationFailedError, match="another run began while this one had lost its lock"):
        publish(database, late, make_scores())
    assert current(owner) == (200, other.run_id, other.run_id)
    assert stored(owner) == {other.run_id}
    assert state(owner, late) == "killed"


def test_two_models_live_side_by_side(database: Database, owner: psycopg.Connection):
    publish_day(database, DAY, make_scores())
    publish(database, start_run(database, "upsell", DAY), make_scores(150))
    counts = dict(owner.execute("SELECT model_key, count(*) FROM scoring.lead_score GROUP BY 1").fetchall())
    assert counts == {KEY: 200, "upsell": 150}


def test_filing_a_past_date_leaves_the_pointer(database: Database, owner: psycopg.Connection):
    today = publish_day(database, DAY, make_scores())
    publish_day(database, date(2026, 4, 1), make_scores(seed=3), make_current=False)
    assert current(owner)[1:] == (today.run_id, today.run_id)
    assert owner.execute("SELECT count(DISTINCT as_of_date) FROM scoring.lead_score_history").fetchone() == (
        2,
    )


def test_only_the_last_runs_stay_at_hand(database: Database, owner: psycopg.Connection):
    runs = [publish_day(database, date(2026, 5, day), make_scores()) for day in range(1, KEPT_RUNS + 3)]
    at_hand = owner.execute("SELECT DISTINCT run_id FROM scoring.lead_score_published ORDER BY 1").fetchall()
    assert [run_id for (run_id,) in at_hand] == [run.run_id for run in runs[-KEPT_RUNS:]]
    days = owner.execute("SELECT count(DISTINCT as_of_date) FROM scoring.lead_score_history").fetchone()
    assert days == (len(runs),)


def test_history_can_be_shortened(database: Database, owner: psycopg.Connection):
    for day in (1, 2, 3):
        publish_day(database, date(2026, 5, day), make_scores())
    assert len(drop_history(database, before=date(2026, 5, 3))) == 2
    left = owner.execute("SELECT DISTINCT as_of_date FROM scoring.lead_score_history").fetchall()
    assert left == [(date(2026, 5, 3),)]


def test_listeners_hear_of_it(database: Database):
    with database.connect(autocommit=True) as listener:
        listener.execute("LISTEN lead_scores_published")
        run = publish_day(database, DAY, make_scores())
        heard = [note.payload for note in listener.notifies(timeout=5, stop_after=1)]
    assert heard == [str(run.run_id)]


ONE_BAD = pl.col("lead_id") == "L5"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"probability": pl.when(ONE_BAD).then(1.0).otherwise("probability")}, "ranges: 1 row, .*lead_id=L5"),
        ({"probability": pl.when(ONE_BAD).then(0.0).otherwise("probability")}, "ranges: 1 row"),
        ({"probability": pl.when(ONE_BAD).then(np.nan).otherwise("probability")}, "ranges: 1 row"),
        ({"expected_value": pl.lit(np.inf)}, "ranges: 200 rows"),
        ({"score": pl.lit(101)}, "ranges: 200 rows"),
        ({"score": pl.lit(70000)}, "do not fit the table .*smallint"),
        ({"grade": pl.lit("E")}, "ranges: 200 rows"),
        (
            {"lead_id": pl.when(ONE_BAD).then(pl.lit("L6")).otherwise("lead_id")},
            "duplicate_leads: 1 row, .*L6",
        ),
        ({"lead_id": pl.when(ONE_BAD).then(None).otherwise("lead_id")}, "do not fit the table .*lead_id"),
        ({"probability": pl.lit(None)}, "status: 200 rows"),
        ({"status": pl.lit("fine")}, "status: 200 rows"),
        ({"probability": pl.lit(0.02)}, "constant_scores: 1 row, .*probability=0.02"),
        ({"reasons": pl.lit("not JSON")}, "do not fit the table .*json"),
    ],
)
def test_bad_scores_are_refused_and_nothing_changes(database, owner, columns, message):
    good = publish_day(database, DAY, make_scores())
    run = start_run(database, KEY, date(2026, 5, 2))
    with pytest.raises(PublicationRefusedError, match=message):
        publish(database, run, make_scores(**columns))
    assert current(owner) == (200, good.run_id, good.run_id)
    fail_run(database, run, "refused")
    assert owner.execute(
        "SELECT state FROM scoring.score_run WHERE run_id = %s", [run.run_id]
    ).fetchone() == ("failed",)
    assert stored(owner) == {good.run_id}


def stored(owner: psycopg.Connection) -> set[int]:
    """Runs that have rows anywhere."""
    rows = owner.execute(
        "SELECT run_id FROM scoring.lead_score_published UNION SELECT run_id FROM scoring.lead_score_history"
    )
    return {run_id for (run_id,) in rows}


def test_nothing_to_publish_is_an_error(database: Database):
    run = start_run(database, KEY, DAY)
    with pytest.raises(PublicationRefusedError, match="no scores to publish"):
        publish(database, run, make_scores().clear())


def test_wrong_columns_are_named(database: Database):
    run = start_run(database, KEY, DAY)
    with pytest.raises(PublicationRefusedError, match=r"missing \['score'\], unknown \['colour'\]"):
        publish(database, run, make_scores(colour=pl.lit("red")).drop("score"))


def test_fewer_rows_than_expected_are_refused(database: Database):
    run = start_run(database, KEY, DAY)
    with pytest.raises(
        PublicationRefusedError, match="row_count: 1 row, for example row_count=200, expected_rows=201"
    ):
        publish(database, run, make_scores(), expected_rows=201)


@pytest.mark.parametrize(
    ("tonight", "message"),
    [
        (make_scores(1000), "row_count_shift: 1 row, for example today=1000.0, night_before=200.0"),
        (make_scores(probability=pl.col("probability") ** 3 + 1e-6), "distribution_shift"),
        (make_scores(score=pl.col("score") + 40), "distribution_shift"),
    ],
)
def test_a_night_unlike_the_last_is_refused_unless_allowed(database, tonight, message):
    publish_day(database, DAY, make_scores())
    run = start_run(database, KEY, date(2026, 5, 2))
    with pytest.raises(PublicationRefusedError, match=message):
        publish(database, run, tonight)
    wide = score_checks.Limits(max_row_ratio=100, max_mean_ratio=1e9, max_quartile_points=100)
    assert publish(database, run, tonight, limits=wide).row_count == tonight.height


def test_a_night_long_after_the_last_is_not_compared(database: Database):
    publish_day(database, DAY, make_scores())
    publish_day(database, date(2026, 6, 1), make_scores(1000))


def test_a_run_left_running_is_recorded_as_killed(database: Database, owner: psycopg.Connection):
    dead = start_run(database, KEY, DAY)
    assert start_run(database, KEY, DAY + timedelta(days=1)).killed == (DAY,)
    assert owner.execute(
        "SELECT state FROM scoring.score_run WHERE run_id = %s", [dead.run_id]
    ).fetchone() == ("killed",)


def test_a_long_query_on_the_old_night_does_not_hold_publication_up(
    database: Database, owner: psycopg.Connection
):
    old = publish_day(database, DAY, make_scores())
    with database.connect() as reader:
        assert current(reader)[1] == old.run_id
        new = publish_day(database, DAY, make_scores(seed=4))
        assert current(owner)[1] == new.run_id


FULL_DISK = """
CREATE FUNCTION public.no_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.lead_id = 'L150' THEN
        RAISE disk_full USING MESSAGE = 'could not extend file: No space left on device';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER no_space BEFORE INSERT ON scoring.lead_score_published
    FOR EACH ROW EXECUTE FUNCTION public.no_space();
"""


@contextlib.contextmanager
def full_disk(owner: psycopg.Connection) -> Iterator[None]:
    """Writing row 150 fails as it would on a full disk: the server raises the disk's own error."""
    owner.execute(FULL_DISK)
    try:
        yield
    finally:
        owner.execute("DROP FUNCTION public.no_space CASCADE")


def test_a_full_disk_leaves_the_last_good_scores(database: Database, owner: psycopg.Connection):
    good = publish_day(database, DAY, make_scores())
    run = start_run(database, KEY, date(2026, 5, 2))
    message = "disk is full .*No space left on device.*untouched; free space, run again"
    with full_disk(owner), pytest.raises(PublicationFailedError, match=message) as failure:
        publish(database, run, make_scores())
    assert "pricing page" not in str(failure.value)  # what a lead did does not belong in an error message
    assert current(owner) == (200, good.run_id, good.run_id)
    assert stored(owner) == {good.run_id}
    publish(database, run, make_scores())
    assert current(owner)[1] == run.run_id


def test_trouble_after_publication_is_a_warning(database, owner, caplog):
    run = start_run(database, KEY, DAY)
    owner.execute(
        """
        CREATE FUNCTION public.grumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
        CREATE TRIGGER grumble BEFORE DELETE ON scoring.lead_score_published
            EXECUTE FUNCTION public.grumble();
        """
    )
    publish(database, run, make_scores())
    owner.execute("DROP FUNCTION public.grumble CASCADE")
    assert current(owner)[1] == run.run_id
    assert "old scores stay until the next publication: no" in caplog.text


def test_a_lost_connection_is_said_plainly(database: Database, owner: psycopg.Connection):
    good = publish_day(database, DAY, make_scores())
    run = start_run(database, KEY, date(2026, 5, 2))
    with database.connect() as blocker:
        blocker.execute("LOCK TABLE scoring.score_pointer IN EXCLUSIVE MODE")
        stopper = threading.Timer(0.0, terminate_waiting, [database])
        stopper.start()
        with pytest.raises(PublicationFailedError, match=r"terminating connection .*untouched; run again"):
            publish(database, run, make_scores())
        stopper.join()
    assert current(owner) == (200, good.run_id, good.run_id)


def terminate_waiting(database: Database) -> None:
    """End the session that waits for a lock, as soon as there is one."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with database.connect(autocommit=True) as connection:
        while not connection.execute(query).fetchall():
            time.sleep(0.01)
