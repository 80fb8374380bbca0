"""A search out of cycle: candidates on rolling origins, and the best of them before the gate."""

import time
from typing import TYPE_CHECKING, Any

from features.sources import Sources
from flows import promotion
from flows.adapters import decisions
from flows.adapters.decisions import Decision
from flows.backtest import Backtest, backtest, best, of_recipe
from flows.challenger import Challenge, train_on
from flows.champion import Champion, register
from flows.dataset import history
from flows.fitting import TooFewConversionsError
from flows.recipes import candidates, recipe_of

if TYPE_CHECKING:
    from flows.night import Night


def why_rest(night: "Night", cause: str) -> str | None:
    """Say why there is no search for this cause tonight, or None: one a week is enough."""
    watched = decisions.in_state(night.database, night.settings.model_key, decisions.SHADOW)
    if watched is not None:
        return f"version {watched.challenger} is in the shadow since {watched.as_of}: its turn comes first"
    last = decisions.last_search(night.database, night.settings.model_key, cause)
    rest = night.settings.search_rest_days
    if last is None or not 0 <= (night.as_of - last).days < rest:
        return None
    return f"a search for the same cause ran on {last}; the next one may run {rest} days after it"


def search(night: "Night", sources: Sources, champion: Champion, cause: str, said: str = "") -> Champion:
    """Try every candidate, hand the best to the gate, and return the model to score with.

    Parameters
    ----------
    champion : one that can score tonight.
    cause : why there is a search; searches for one cause rest `settings.search_rest_days`.
    said : the cause in words, for the record.
    """
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
    night: "Night", champion: Champion, cause: str, why: str, notes: dict[str, Any]
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
