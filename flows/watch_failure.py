"""A night or a retraining that fails leaves a page: nobody watches a run that nobody started."""

import logging
from datetime import date

from flows.adapters.database import Database
from flows.adapters.migrations import today
from flows.adapters.monitor_state import is_newest_night
from flows.adapters.page_table import FAILED_NIGHT, record_pages, resolve_failures
from flows.adapters.score_runs import ROLE
from flows.adapters.settings import Settings
from flows.adapters.source_contract import SourceContractError
from flows.failure import in_words
from flows.monitors.trigger import Trigger
from flows.watch import tell, watch_contract

log = logging.getLogger(__name__)


def tell_of_failure(
    database: Database, settings: Settings, as_of: date | None, error: Exception, what: str
) -> None:
    """Open a page and send it, one for each kind of error until one of its kind succeeds.

    Views that break their contract are an alarm of T1: its page names the columns. Nothing is raised: the
    error of the night itself is the one to see.

    Parameters
    ----------
    as_of : None takes the data's own clock, else today (UTC).
    what : `FAILED_NIGHT` or `FAILED_RETRAINING`.
    """
    try:
        day = as_of or today(database)
        if isinstance(error, SourceContractError):
            watch_contract(database, settings, day, error)
            return
        words = f"the {what} of {day} failed: {in_words(error)}"
        _open_page(database, settings, day, what, type(error).__name__, words)
    except Exception:
        log.exception("the failed %s of %s left no page", what, as_of or "today")


def tell_of_killed(database: Database, settings: Settings, as_of: date, words: str) -> None:
    """Open and send a page of runs that ended without a word, which the night that follows them finds."""
    try:
        _open_page(database, settings, as_of, FAILED_NIGHT, "killed", words)
    except Exception:
        log.exception("no page says what was %s", words)


def note_success(database: Database, model_key: str, as_of: date, what: str) -> None:
    """Close the pages of failed nights or retrainings, unless a later night has been watched."""
    if is_newest_night(database, model_key, as_of):
        with database.connect(ROLE) as connection:
            resolve_failures(connection, model_key, as_of, what)


def _open_page(database: Database, settings: Settings, as_of: date, what: str, kind: str, words: str) -> None:
    """Open a page and send it, unless a later night has been watched."""
    if not is_newest_night(database, settings.model_key, as_of):
        return
    page = Trigger(what, f"{what} failed: {kind}", "block", words, 0.0, 0.0, is_page=True)
    with database.connect(ROLE) as connection:
        record_pages(connection, settings.model_key, as_of, [page])
    tell(database, settings, as_of, [])
