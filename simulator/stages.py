"""Stage history: owners review leads and move them, forwards or back, by what they sense of their intent."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.config import SimulationConfig
from simulator.intent import intent
from simulator.lifecycle import Fate
from simulator.population import Leads
from simulator.seasons import office_hours, to_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STAGES = ("New", "Nurturing", "Working", "Engaged", "Qualified", "Negotiation", "Converted", "Lost")
CONVERTED, LOST = STAGES.index("Converted"), STAGES.index("Lost")
# Intent at which a lead is seen as Working, Engaged, Qualified, Negotiation.
BOUNDS = np.array([-2.2, -0.5, 0.8, 2.0])
REVIEW_AGES = np.concatenate(
    [
        np.array([0.3, 1.5, 3.0, 5.0, 8.0, 12.0, 17.0, 23.0, 30.0, 38.0, 47.0, 57.0, 68.0, 80.0]),
        np.arange(95.0, 365.0, 22.0),
    ]
)
JUDGEMENT_SD = 0.35


@dataclass(frozen=True)
class StageMoves:
    """Stage changes ordered by lead and time; `previous` is -1 for the first stage of a lead."""

    lead: IntArray
    at: FloatArray
    stage: IntArray
    previous: IntArray


def draw_stages(rng: np.random.Generator, config: SimulationConfig, leads: Leads, fate: Fate) -> StageMoves:
    """Draw the moves up to the clock: New at creation, what reviews find, and the outcome."""
    n = len(leads)
    ages = REVIEW_AGES * rng.uniform(0.7, 1.3, (n, len(REVIEW_AGES)))
    seen = intent(leads, ages) + rng.normal(0.0, JUDGEMENT_SD, ages.shape)
    stage = 1 + np.searchsorted(BOUNDS, seen, side="right")
    drawn = leads.created[:, None] + ages
    by_day = office_hours(rng, drawn.ravel()).reshape(drawn.shape)
    at = np.where((by_day > leads.created[:, None]) & (by_day < fate.closed_at[:, None]), by_day, drawn)
    at = to_seconds(np.maximum(at, leads.created[:, None] + 60.0 / 86_400.0))
    at = np.where(at < fate.closed_at[:, None], at, np.inf)
    end = np.where(fate.has_outcome, fate.outcome_at, np.inf)
    last = np.where(fate.converts, CONVERTED, LOST)
    all_at = np.column_stack([leads.created, at, end])
    all_stage = np.column_stack([np.zeros(n, dtype=np.int64), stage, last])
    return _changes(all_at, all_stage, config.n_days)


def _changes(at: FloatArray, stage: IntArray, n_days: int) -> StageMoves:
    """Keep what happens before the clock and differs from the stage before it."""
    order = np.argsort(at, axis=1, kind="stable")
    at, stage = np.take_along_axis(at, order, axis=1), np.take_along_axis(stage, order, axis=1)
    previous = np.column_stack([np.full(len(at), -1), stage[:, :-1]])
    keep = (at < n_days) & (stage != previous)
    lead = np.nonzero(keep)[0]
    return StageMoves(lead, at[keep], stage[keep], previous[keep])
