"""Tables of touches: web_event and email_event from marketing tools, task from the CRM itself."""

import numpy as np
import polars as pl

from simulator.columns import IntArray, arrival, ids, instants, labels, masked, with_repeats
from simulator.config import SimulationConfig
from simulator.population import Leads
from simulator.touches import CODE, KINDS, Touches

LATE_SHARE, LATE_DAYS, LATEST_DAYS = 0.04, 2.0, 20.0
REPEATED_SHARE = 0.006
DATE_ONLY_SHARE = 0.03
PLANNED_SHARE = 0.05
# Room for the touches of one block of leads.
IDS_PER_BLOCK = 10_000_000
WEB_TYPES = {
    "web_visit": "page_view",
    "pricing_visit": "page_view",
    "form_submit": "form_submit",
    "webinar": "webinar_attended",
    "document_view": "document_view",
    "chat": "chat",
}
PAGES = ("/", "/product", "/blog/guide", "/customers", "/docs/start", "/careers")
LINKS = ("/product", "/blog/guide", "/pricing", "/webinar", "/unsubscribe")
DISPOSITIONS = ("connected", "voicemail", "no_answer")


def touch_tables(
    rng: np.random.Generator, config: SimulationConfig, leads: Leads, touches: Touches, block: int
) -> dict[str, pl.DataFrame]:
    """Rows of one block as they had arrived at the clock, some late, some landed twice."""
    ordered = touches.ordered()
    number = block * IDS_PER_BLOCK + np.arange(len(ordered))
    is_mail = ordered.kind >= CODE["email_sent"]
    is_task = (ordered.kind == CODE["call"]) | (ordered.kind == CODE["meeting"])
    tables = {
        "crm.web_event": _web(
            rng, config, leads, ordered.where(~is_mail & ~is_task), number[~is_mail & ~is_task]
        ),
        "crm.email_event": _mail(rng, config, leads, ordered.where(is_mail), number[is_mail]),
        "crm.task": _tasks(rng, config, leads, ordered.where(is_task), number[is_task]),
    }
    repeated = {key: with_repeats(rng, config, frame, REPEATED_SHARE) for key, frame in tables.items()}
    planned = _planned(rng, config, leads, block * IDS_PER_BLOCK + len(ordered))
    return {**repeated, "crm.task": pl.concat([repeated["crm.task"], planned])}


def _landed(rng: np.random.Generator, config: SimulationConfig, touches: Touches) -> pl.Series:
    return instants(config, arrival(rng, touches.at, LATE_SHARE, LATE_DAYS, LATEST_DAYS))


def _web(
    rng: np.random.Generator, config: SimulationConfig, leads: Leads, touches: Touches, number: IntArray
) -> pl.DataFrame:
    n = len(touches)
    page = labels(PAGES, rng.integers(0, len(PAGES), n))
    pricing = touches.kind == CODE["pricing_visit"]
    url = pl.select(pl.when(pl.Series(pricing)).then(pl.lit("/pricing")).otherwise(page)).to_series()
    types = [WEB_TYPES.get(kind, "") for kind in KINDS]
    event_type = labels(types, touches.kind)
    seconds = np.rint(rng.lognormal(np.log(45.0), 1.0, n))
    return pl.DataFrame(
        {
            "id": ids("W", number),
            "lead_id": ids("00Q", leads.number[touches.lead]),
            "event_type": event_type,
            "url": masked(url, (event_type == "page_view").to_numpy()),
            "duration_seconds": pl.Series(seconds),
            "campaign_id": ids("701", np.where(rng.random(n) < 0.3, leads.campaign[touches.lead], -1)),
            "occurred_at": instants(config, touches.at),
            "_synced": _landed(rng, config, touches),
        }
    )


def _mail(
    rng: np.random.Generator, config: SimulationConfig, leads: Leads, touches: Touches, number: IntArray
) -> pl.DataFrame:
    n = len(touches)
    clicked = touches.kind == CODE["email_click"]
    link = np.where(clicked, rng.integers(0, len(LINKS), n), -1)
    return pl.DataFrame(
        {
            "id": ids("E", number),
            "lead_id": ids("00Q", leads.number[touches.lead]),
            "event_type": labels([kind.removeprefix("email_") for kind in KINDS], touches.kind),
            "url": labels(LINKS, link),
            "is_machine": pl.Series(touches.is_bot & touches.is_flagged),
            "campaign_id": ids("701", leads.campaign[touches.lead]),
            "occurred_at": instants(config, touches.at),
            "_synced": _landed(rng, config, touches),
        }
    )


def _tasks(
    rng: np.random.Generator, config: SimulationConfig, leads: Leads, touches: Touches, number: IntArray
) -> pl.DataFrame:
    """Completed calls and meetings; of some only the date is known."""
    n = len(touches)
    is_call = touches.kind == CODE["call"]
    at = instants(config, touches.at)
    reached = rng.random(n) < 1.0 / (1.0 + np.exp(0.7 - 0.5 * touches.level))
    missed = np.where(rng.random(n) < 0.5, 1, 2)
    inbound = rng.random(n) < np.where(is_call, 0.2, 0.3)
    seconds = np.rint(rng.lognormal(np.log(np.where(is_call, 180.0, 1800.0)), 0.6))
    return pl.DataFrame(
        {
            "id": ids("00T", number),
            "who_id": ids("00Q", leads.number[touches.lead]),
            "owner_id": ids("005", leads.owner[touches.lead]),
            "task_subtype": labels(("Call", "Meeting"), (~is_call).astype(np.int64)),
            "direction": labels(("Outbound", "Inbound"), inbound.astype(np.int64)),
            "status": pl.Series(["Completed"] * n, dtype=pl.String),
            "call_disposition": labels(DISPOSITIONS, np.where(is_call, np.where(reached, 0, missed), -1)),
            "call_duration_in_seconds": masked(pl.Series(seconds), reached | ~is_call),
            "activity_date": at.dt.date(),
            "completed_date_time": masked(at, rng.random(n) > DATE_ONLY_SHARE),
            "is_deleted": pl.Series(rng.random(n) < 0.005),
            "_synced": _landed(rng, config, touches),
        }
    )


def _planned(rng: np.random.Generator, config: SimulationConfig, leads: Leads, first: int) -> pl.DataFrame:
    """Tasks that are due after the clock: plans, not touches."""
    chosen = np.flatnonzero((rng.random(len(leads)) < PLANNED_SHARE) & (leads.created > config.n_days - 60.0))
    n = len(chosen)
    nothing = pl.Series([None] * n)
    return pl.DataFrame(
        {
            "id": ids("00T", first + np.arange(n)),
            "who_id": ids("00Q", leads.number[chosen]),
            "owner_id": ids("005", leads.owner[chosen]),
            "task_subtype": pl.Series(["Call"] * n, dtype=pl.String),
            "direction": pl.Series(["Outbound"] * n, dtype=pl.String),
            "status": pl.Series(["Not Started"] * n, dtype=pl.String),
            "call_disposition": nothing.cast(pl.String),
            "call_duration_in_seconds": nothing.cast(pl.Float64),
            "activity_date": instants(config, config.n_days + rng.uniform(1.0, 14.0, n)).dt.date(),
            "completed_date_time": nothing.cast(pl.Datetime("us", "UTC")),
            "is_deleted": pl.Series(np.zeros(n, dtype=bool)),
            "_synced": instants(config, np.maximum(leads.created[chosen], config.n_days - 1.0)),
        }
    )
