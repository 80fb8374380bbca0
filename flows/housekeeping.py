"""What a night throws away: models that nothing can need again, and scores of long ago."""

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy.exc import DBAPIError

from flows.adapters import decisions, score_runs
from flows.adapters.database import DatabaseUnavailableError
from flows.adapters.registry import RegistryError
from flows.adapters.score_storage import drop_history

if TYPE_CHECKING:
    from flows.night import Night

FORMER_CHAMPIONS = 5
KEPT_DAYS = 14
MOST_A_NIGHT = 20
"""More is left for the next night, so that a first tidying keeps nobody waiting."""

log = logging.getLogger(__name__)


def tidy_up(night: "Night") -> None:
    """Delete old models and old scores; a night is as good without it, so a failure is only told."""
    if night.is_past or night.is_replay:
        return
    before = night.as_of - timedelta(days=KEPT_DAYS)
    known = night.as_of - night.settings.maturity - timedelta(days=night.settings.history_days)
    try:
        gone = night.registry.prune(versions_in_use(night), before, MOST_A_NIGHT, FORMER_CHAMPIONS)
        days = drop_history(night.database, known, MOST_A_NIGHT)
    except (RegistryError, DatabaseUnavailableError, DBAPIError, psycopg.Error) as error:
        night.warnings.append(f"old models and scores stay until the next night: {error}")
        return
    if gone or days:
        log.info("tidied up: %d old model versions and %d days of score history", len(gone), len(days))


def versions_in_use(night: "Night") -> set[int]:
    """Those being compared, and those whose scores can be in force."""
    key = night.settings.model_key
    pairs = [decisions.pair_of(night.database, key, purpose) for purpose in ("roll_back", "shadow")]
    compared = [version for pair in pairs if pair is not None for version in (pair.in_use, pair.other)]
    watched = decisions.in_state(night.database, key, decisions.SHADOW)
    shadow = [] if watched is None or watched.challenger is None else [watched.challenger]
    scored = [int(one) for one in score_runs.versions_at_hand(night.database, key) if one.isdecimal()]
    return {*compared, *shadow, *scored}
