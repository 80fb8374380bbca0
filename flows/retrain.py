"""Retraining out of cycle: search, gate, promotion; the scores of the date follow a new champion at once."""

from datetime import date
from typing import Any

from prefect import flow

from flows import alarms, night_report
from flows.adapters import decisions
from flows.adapters.database import Database
from flows.adapters.memory import PeakMemory
from flows.adapters.page_table import FAILED_RETRAINING
from flows.adapters.settings import Settings
from flows.champion import Champion
from flows.night import Night, open_night, recorded_run, with_given
from flows.nightly import judge, load_champion, read, refuse_unable, score_and_publish
from flows.progress import Progress
from flows.search import search, why_rest
from flows.watch import watch_data
from flows.watch_failure import note_success


@flow(name="retrain", persist_result=False)
def retrain(reason: str, as_of: date | None = None) -> dict[str, Any]:
    """Look for a better recipe now, and return the decision.

    Parameters
    ----------
    reason : the cause, kept with the decision; searches that monitors ask for rest `search_rest_days`.
    as_of : the date; None takes the data's own clock, else today (UTC).
    """
    with (
        PeakMemory() as memory,
        open_night(as_of, records_run=False, told_as=FAILED_RETRAINING) as night,
    ):
        if night.is_past:
            raise LookupError(
                f"scores of a later date than {night.as_of} are published: a search would change today's"
                " champion by what was known then; leave out the date"
            )
        sources = read(night)
        watched = watch_data(night.database, night.settings, sources, night.as_of)
        night.integrity = watched.holds_back
        rest = why_rest(night, reason)
        if rest is not None:
            alarms.write_outcomes(night, rest)
            return {"as_of": night.as_of, "reason": reason, "verdict": "rest", "reasons": [rest]}
        champion = load_champion(night)
        refuse_unable(night, sources, champion)
        found = search(night, sources, champion, reason)
        if found.promotion is not None:
            with recorded_run(night):
                found, scores = score_and_publish(night, sources, found)
                night_report.finish(night, sources, found, scores, judge(night, scores), memory)
        alarms.write_outcomes(night, None)
        note_success(night.database, night.settings.model_key, night.as_of, FAILED_RETRAINING)
        return _summary(night, found, memory)


def run_retraining(
    settings: Settings, database: Database, as_of: date | None, reason: str, progress: Progress
) -> dict[str, Any]:
    """Run the flow with resources that are already open."""
    return with_given(lambda day: retrain(reason, day), settings, database, as_of, progress)


def _summary(night: Night, champion: Champion, memory: PeakMemory) -> dict[str, Any]:
    """The decision just recorded, without its inputs, and what it took."""
    decision = decisions.newest(night.database, night.settings.model_key, 1)[0]
    told = ("decision_id", "verdict", "state", "reasons", "checks", "recipe", "champion_before")
    return {
        "as_of": night.as_of,
        "reason": decision.cause,
        **{name: getattr(decision, name) for name in told},
        "challenger": decision.challenger,
        "champion": champion.version.version,
        "search": decision.inputs.get("search"),
        "warnings": night.warnings,
        "wall_seconds": {name: round(value, 3) for name, value in night.progress.seconds.items()},
        "peak_rss_mb": round(memory.peak_rss_mb, 1),
    }
