"""The monitors alone: the same watch as in a night, without training, scoring or publishing anything."""

from datetime import date
from typing import Any

from prefect import flow

from flows.adapters.database import Database
from flows.adapters.settings import Settings
from flows.night import open_night, with_given
from flows.nightly import read
from flows.progress import Progress
from flows.watch import watch_night

Summary = dict[str, Any]


@flow(name="monitor", persist_result=False)
def monitor(as_of: date | None = None) -> Summary:
    """Run every monitor for a date and return what they say; `as_of` defaults to the data's own clock."""
    with open_night(as_of, records_run=False, told_as=None) as night:
        sources = read(night)
        with night.progress.stage("watch"):
            champion = night.registry.load_champion()
            model = None if champion is None else champion[0]
            found = watch_night(night.database, night.settings, sources, night.as_of, model)
        return {"as_of": night.as_of, "status": "watched", **found.to_dict()}


def run_monitor(settings: Settings, database: Database, as_of: date | None, progress: Progress) -> Summary:
    """Run the flow with resources that are already open."""
    return with_given(monitor, settings, database, as_of, progress)
