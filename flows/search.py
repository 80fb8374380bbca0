"""A search out of cycle: candidates on rolling origins, and the best of them before the gate."""

import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from features.sources import Sources
from flows import alarms, promotion
from flows.adapters import decisions
from flows.adapters.decisions import Decision
from flows.adapters.monitor_state import is_newest_night
from flows.adapters.notify_prefect import emit_events
from flows.adapters.page_table import FAILED_RETRAINING
from flows.backtest import Backtest, backtest, best, of_recipe
from flows.challenger import Challenge, train_on
from flows.champion import Champion, register
from flows.dataset import history
from flows.failure import in_words
from flows.fitting import TooFewConversionsError
from flows.monitors.trigger import Trigger
from flows.recipes import candidates, recipe_of
from flows.watch_failure import note_success

if TYPE_CHECKING:
    from flows.night import Night

log = logging.getLogger(__name__)


def search_for_alarms(night: "Night", sources: Sources, champion: Champion) -> Champion | None:
    """Search for a better recipe where an alarm still asks for one; None unless one is promoted at once.

    Where an automation searches it is asked again for alarms of earlier nights. A search that fails is on
    record and costs the night nothing but a warning.
    """
    asked = alarms.owed(alarms.recent_alarms(night))
    rest = why_rest(night, asked[0].cause) if asked else None
    found = None
    if asked and rest is None:
        if night.settings.retrain_inline:
            found = _try(night, sources, champion, asked[0])
        else:
            _ask_again(night, asked[0])
    rest = why_rest(night, asked[0].cause) if asked else None
    alarms.write_outcomes(night, rest)
    return found if found is not None and found.promotion is not None else None


def _try(night: "Night", sources: Sources, champion: Champion, asked: Trigger) -> Champion | None:
    try:
        found = search(night, sources, champion, asked.cause, asked.reason)
    except Exception as error:
        log.exception("the search for %s failed", asked.cause)
        night.warnings.append(f"the search for {asked.cause} failed: {in_words(error)}")
        return None
    note_success(night.database, night.settings.model_key, night.as_of, FAILED_RETRAINING)
    return found


def _ask_again(night: "Night", asked: Trigger) -> None:
    """Repeat the event of an alarm: it was lost, or its run was cancelled, or had to rest."""
    key = night.settings.model_key
    if not night.watched.asks_for("search") and is_newest_night(night.database, key, night.as_of):
        emit_events(key, night.as_of, [asked])


def why_rest(night: "Night", cause: str) -> str | None:
    """Say why there is no search tonight, or None.

    Monitors get one search a week between them, and none on data that T1 holds back. People get theirs.
    """
    watched = decisions.in_state(night.database, night.settings.model_key, decisions.SHADOW)
    if watched is not None:
        return f"version {watched.challenger} is in the shadow since {watched.as_of}: its turn comes first"
    if not re.match(decisions.MONITORS_CAUSE, cause):
        return None
    if night.integrity:
        return f"tonight's data are not to be learnt from: {'; '.join(night.integrity)}"
    last = decisions.last_search(night.database, night.settings.model_key)
    rest = night.settings.search_rest_days
    if last is None or not 0 <= (night.as_of - last).days < rest:
        return None
    return f"a search ran on {last}; the next one may run {rest} days after it"


def search(night: "Night", sources: Sources, champion: Champion, cause: str, said: str = "") -> Champion:
    """Try every candidate, hand the best to the gate, and return the model to score with.

    Parameters
    ----------
    champion : one that can score tonight.
    cause : why there is a search.
    said : the cause in words, for the record.

    Raises
    ------
    Exception : whatever broke the search off; that it did is on record.
    """
    try:
        return _search(night, sources, champion, cause, said)
    except Exception as error:
        why = f"the search failed: {in_words(error)}"
        _nothing_better(night, champion, cause, why, {"said": said}, {alarms.SEARCH_RAN: False})
        raise


def _search(night: "Night", sources: Sources, champion: Champion, cause: str, said: str) -> Champion:
    with night.progress.stage("search"):
        started = time.perf_counter()
        past = history(sources, night.as_of, night.settings)
        recipe = recipe_of(champion.model.recipe)
        recipes = {one.name: one for one in (*candidates(night.settings), recipe)}
        try:
            found = backtest(past, {name: of_recipe(one) for name, one in recipes.items()}, night.settings)
        except TooFewConversionsError as error:
            return _nothing_better(night, champion, cause, str(error), {"said": said})
        notes = {"said": said, "search": _table(found, recipe.name, time.perf_counter() - started)}
        winner = best(found, recipe.name, list(found.p))
        if winner is None:
            return _nothing_better(night, champion, cause, "no candidate beats the champion's recipe", notes)
        open_leads = night.open_leads(sources)
        try:
            trained = train_on(night, sources, past, recipes[winner], champion.model)
        except TooFewConversionsError as error:
            return _nothing_better(night, champion, cause, str(error), notes)
    challenge = Challenge(
        trained,
        cause,
        past,
        kind="search",
        comparison=found.compare(recipe.name, winner, night.settings.random_state),
        is_new_recipe=True,
        notes=notes,
    )
    return register(night, challenge, champion, champion, open_leads)


def _nothing_better(
    night: "Night",
    champion: Champion,
    cause: str,
    why: str,
    notes: dict[str, Any],
    checks: Mapping[str, bool] | None = None,
) -> Champion:
    """Record a search without a challenger; the champion stays."""
    version = champion.version.version
    decision = Decision(
        as_of=night.as_of,
        kind="search",
        verdict="refuse",
        state=decisions.REFUSED,
        cause=cause,
        reasons=[why],
        champion_before=version,
        challenger=None,
        recipe=recipe_of(champion.model.recipe).as_dict(),
        checks=dict(checks or {}),
        inputs={"data_sha256": night.data_sha256, **notes},
    )
    promotion.refuse(night.database, night.registry, night.settings.model_key, decision)
    return champion


def _table(found: Backtest, champion: str, seconds: float) -> dict[str, Any]:
    """Return what the backtest found, for the record."""
    rows = sum(len(y) for y in found.y.values())
    losses = {
        name: sum(week.losses[1] * week.rows for week in found.weeks(champion, name)) / rows
        for name in (found.p if champion in found.p else ())
    }
    return {
        "champion": champion,
        "origins": [day.isoformat() for day in found.origins],
        "rows": rows,
        "log_loss": losses,
        "seconds": round(seconds, 2),
    }
