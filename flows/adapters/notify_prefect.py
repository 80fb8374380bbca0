"""Prefect events of alarms: what automations listen for."""

import logging
from collections.abc import Iterable
from datetime import date

from flows.monitors.trigger import Trigger

log = logging.getLogger(__name__)

DRIFT = "lead-scoring.drift.detected"
"""T2 or T3: a search for a better recipe is asked for."""
BROKEN_DATA = "lead-scoring.data.broken"
"""T1: people must look; retraining would learn from broken data, so it has another name."""


def resource_of(model_key: str) -> str:
    """Name what the events of a model are about; replays have keys of their own, so it is matched whole."""
    return f"leadscore.model.{model_key}"


def emit_events(model_key: str, as_of: date, triggers: Iterable[Trigger]) -> int:
    """Emit an event for each trigger that asks for a search or pages; returns how many Prefect took.

    The payload is the trigger with its evidence, and `as_of`; the resource is `leadscore.model.<model_key>`.
    Where no Prefect server is known nothing is emitted.
    """
    told = [one for one in triggers if one.action == "search" or one.is_page]
    if not told:
        return 0
    from prefect.events import emit_event
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value() is None:  # Prefect would start a server of its own, and wait for it
        return 0

    taken = 0
    for one in told:
        resource = {"prefect.resource.id": resource_of(model_key), "prefect.resource.name": model_key}
        payload = {**one.to_dict(), "as_of": as_of.isoformat(), "model_key": model_key}
        name = DRIFT if one.action == "search" else BROKEN_DATA
        try:
            taken += emit_event(name, resource, payload=payload) is not None
        except Exception as error:  # whatever Prefect meets, the night goes on
            log.warning("event %s was not emitted: %s", name, type(error).__name__)
    return taken
