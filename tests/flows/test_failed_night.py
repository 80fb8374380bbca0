"""A night that fails leaves a page, one for each cause, until a night succeeds; and no secret in it."""

import logging
import threading
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta

import pytest

from flows import night
from flows.adapters import score_runs, score_tables
from flows.adapters.database import AlreadyRunningError, exclusive
from flows.adapters.page_table import open_pages
from flows.adapters.source_contract import SourceContractError
from flows.adapters.source_reader import check_contract
from flows.night import open_night, with_given
from flows.progress import Progress

DAY = date(2026, 5, 4)
LOST = "no answer from postgresql://ann:geheim@crm.example/db\nDETAIL: Key (email)=(a@b.c)"


def run_night(settings, database, day, *, error=None, is_replay=False):
    """A night that meets an error, or none; returns the open pages after it."""

    def live(as_of):
        with open_night(as_of) as living:
            if error is not None:
                raise error
            as_published(database, living)
        return {}

    outcome = nullcontext() if error is None else pytest.raises(type(error))
    with outcome:
        with_given(live, settings, database, day, Progress(), is_replay)
    return open_pages(database, settings.model_key)


def as_published(database, living):
    """Leave the record of a night that has published its scores."""
    with database.begin(score_runs.ROLE) as connection:
        connection.execute(score_tables.change_run(living.run.run_id, state="published"))


def test_a_failed_night_is_one_page_until_a_night_succeeds(settings, database):
    lost = RuntimeError(LOST)
    (page,) = run_night(settings, database, DAY, error=lost)
    assert page["words"] == (
        f"the night of {DAY} failed: RuntimeError: no answer from postgresql://ann:***@crm.example/db"
    )
    (again,) = run_night(settings, database, DAY + timedelta(days=1), error=lost)
    assert (again["first_seen"], again["times_seen"]) == (DAY, 2)
    causes = {one["cause"] for one in run_night(settings, database, DAY, error=LookupError("gone"))}
    assert causes == {"night failed: RuntimeError", "night failed: LookupError"}
    assert run_night(settings, database, DAY + timedelta(days=2)) == []


@pytest.fixture
def a_later_night(settings, database):
    """The scores of a later date are published."""
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO scoring.score_run (model_key, as_of_date, state) VALUES (%s, %s, 'published')",
            [settings.model_key, DAY + timedelta(days=30)],
        )
        yield
        connection.execute("DELETE FROM scoring.score_run")


def warnings_of(settings, database, day, *, is_replay=False, **options):
    def live(as_of):
        with open_night(as_of, **options) as living:
            if living.run is not None:
                score_runs.fail_run(database, living.run, "looked at only")
            return {"warnings": living.warnings}

    return with_given(live, settings, database, day, Progress(), is_replay)["warnings"]


def test_a_night_of_the_past_says_that_it_is_only_filed(settings, database, a_later_night):
    (warning,) = warnings_of(settings, database, DAY)
    assert warning.startswith(f"filed only: scores of {DAY + timedelta(days=30)} are newer than {DAY}")
    assert "`leadscore db reset`, or give this source a LEADSCORE_MODEL_KEY" in warning
    assert warnings_of(settings, database, DAY, is_replay=True) == []
    assert warnings_of(settings, database, DAY + timedelta(days=30)) == []


def test_a_date_that_is_still_to_come_is_refused(settings, database):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    with pytest.raises(ValueError, match=f"{tomorrow} is still to come: today is .* give an earlier date"):
        warnings_of(settings, database, tomorrow)
    with pytest.raises(ValueError, match="is still to come"):
        warnings_of(settings, database, tomorrow, records_run=False)
    assert open_pages(database, settings.model_key) == []


def test_an_interrupted_night_and_a_replay_leave_none(settings, database):
    assert run_night(settings, database, DAY, error=KeyboardInterrupt()) == []
    assert run_night(settings, database, DAY, error=RuntimeError("lost"), is_replay=True) == []


def test_why_a_run_failed_is_recorded_without_secrets(settings, database):
    run_night(settings, database, DAY, error=RuntimeError(LOST))
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT error FROM scoring.score_run ORDER BY run_id DESC LIMIT 1"
        ).fetchall()
    assert rows == [("RuntimeError: no answer from postgresql://ann:***@crm.example/db",)]


def test_a_killed_run_is_told_by_the_night_after_it(settings, database):
    score_runs.start_run(database, settings.model_key, DAY)
    seen = []

    def live(as_of):
        with open_night(as_of) as after:
            seen.extend([after.warnings, open_pages(database, settings.model_key)])
            as_published(database, after)
        return {}

    with_given(live, settings, database, DAY + timedelta(days=3), Progress())
    words = f"killed before its end, with nothing published: the run of {DAY}"
    assert seen[0] == [words]
    assert {"cause": "night failed: killed", "words": words}.items() <= seen[1][0].items()
    assert open_pages(database, settings.model_key) == []


@pytest.fixture
def unattended(settings, monkeypatch, logging_as_before):
    """What a worker's environment holds: the flow opens everything itself."""
    monkeypatch.setenv("LEADSCORE_HOME", str(settings.home))
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)


def test_a_night_that_nobody_started_waits_for_the_lock(database, unattended):
    held, done = threading.Event(), threading.Event()

    def hold():
        with exclusive(database, "nightly"):
            held.set()
            done.wait(0.5)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    with open_night(DAY + timedelta(days=4)) as waited:
        as_published(database, waited)
    holder.join()


def test_a_night_whose_patience_is_at_an_end_is_told(settings, database, unattended, monkeypatch):
    monkeypatch.setattr(night, "PATIENCE_SECONDS", 0.0)
    day = DAY + timedelta(days=5)
    with exclusive(database, "nightly"):
        assert run_night(settings, database, day, error=AlreadyRunningError("at the keyboard")) == []
        with pytest.raises(AlreadyRunningError), open_night(day):
            pass
        (page,) = open_pages(database, settings.model_key)
    assert page["cause"] == "night failed: AlreadyRunningError"
    assert page["words"].startswith(
        f"the night of {day} failed: AlreadyRunningError: nightly already runs: leadscore nightly (process"
    )
    assert run_night(settings, database, day) == []


def test_a_night_that_nobody_started_writes_the_masked_log(settings, unattended):
    with open_night(DAY + timedelta(days=6), records_run=False, told_as=None):
        logging.getLogger("flows.watch").error("a monitor failed", exc_info=RuntimeError(LOST))
    written = (settings.root / "logs" / "leadscore.log").read_text()
    assert "a monitor failed" in written
    assert "ann:***@crm.example" in written
    assert "geheim" not in written


def test_nights_and_replays_keep_out_of_each_others_way(settings, database):
    with exclusive(database, "nightly"):
        run_night(settings, database, DAY, is_replay=True)
    with exclusive(database, "replay"):
        run_night(settings, database, DAY + timedelta(days=7))


def test_views_that_break_their_contract_are_an_alarm_of_t1(settings, database):
    with database.connect("crm_reader") as connection, pytest.raises(SourceContractError) as broken:
        check_contract(connection)
    for day in (DAY, DAY, DAY + timedelta(days=1)):
        (page,) = run_night(settings, database, day, error=broken.value)
        assert page["cause"] == "T1 schema of the source views"
        assert "view source.lead is missing" in page["words"]
    assert page["times_seen"] == 2
    with database.connect() as connection:
        query = "SELECT as_of_date, fired, action FROM scoring.report_drift WHERE model_key = %s ORDER BY 1"
        rows = connection.execute(query, [settings.model_key]).fetchall()
    action = "holds back a new model, pages"
    assert rows == [(DAY, True, action), (DAY + timedelta(days=1), True, action)]
