"""A night that fails leaves a page, one for each cause, until a night succeeds; and no secret in it."""

from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta

import pytest

from flows.adapters.page_table import open_pages
from flows.adapters.source_contract import SourceContractError
from flows.adapters.source_reader import check_contract
from flows.night import open_night, with_given
from flows.progress import Progress

DAY = date(2026, 5, 4)


def run_night(settings, database, day, *, error=None, is_replay=False):
    """A night that meets an error, or none; returns the open pages after it."""

    def live(as_of):
        with open_night(as_of):
            if error is not None:
                raise error
        return {}

    outcome = nullcontext() if error is None else pytest.raises(type(error))
    with outcome:
        with_given(live, settings, database, day, Progress(), is_replay)
    return open_pages(database, settings.model_key)


def test_a_failed_night_is_one_page_until_a_night_succeeds(settings, database):
    lost = RuntimeError("no answer from postgresql://ann:geheim@crm.example/db\nDETAIL: Key (email)=(a@b.c)")
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
        with open_night(as_of, **options) as night:
            return {"warnings": night.warnings}

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


def test_an_interrupted_night_and_a_replay_leave_none(settings, database):
    assert run_night(settings, database, DAY, error=KeyboardInterrupt()) == []
    assert run_night(settings, database, DAY, error=RuntimeError("lost"), is_replay=True) == []


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
