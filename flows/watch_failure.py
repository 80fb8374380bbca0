"""A night that fails leaves a page: nobody watches a run that nobody started."""

import logging
from datetime import date

from flows.adapters.database import Database
from flows.adapters.monitor_state import is_newest_night
from flows.adapters.page_table import FAILED_NIGHT, record_pages, resolve_failures
from flows.adapters.score_runs import ROLE
from flows.adapters.settings import Settings
from flows.adapters.source_contract import SourceContractError
from flows.failure import in_words
from flows.monitors.trigger import Trigger
from flows.watch import tell, watch_contract

log = logging.getLogger(__name__)


def tell_of_failure(database: Database, settings: Settings, as_of: date, error: Exception) -> None:
    """Open a page and send it, one for each kind of error until a night succeeds.

    Views that break their contract are an alarm of T1: its page names the columns. Nothing is raised: the
    night's own error is the one to see.
    """
    try:
        if isinstance(error, SourceContractError):
            watch_contract(database, settings, as_of, error)
        elif is_newest_night(database, settings.model_key, as_of):
            _open_page(database, settings, as_of, error)
    except Exception:
        log.exception("the failed night of %s left no page", as_of)


def note_success(database: Database, model_key: str, as_of: date) -> None:
    """Close the pages of failed nights, unless a later night has been watched."""
    if is_newest_night(database, model_key, as_of):
        with database.connect(ROLE) as connection:
            resolve_failures(connection, model_key, as_of)


def _open_page(database: Database, settings: Settings, as_of: date, error: Exception) -> None:
    words = f"the night of {as_of} failed: {in_words(error)}"
    cause = f"{FAILED_NIGHT} failed: {type(error).__name__}"
    page = Trigger(FAILED_NIGHT, cause, "block", words, 0.0, 0.0, is_page=True)
    with database.connect(ROLE) as connection:
        record_pages(connection, settings.model_key, as_of, [page])
    tell(database, settings, as_of, [])
