"""Evidence over rolling origins: the recipe learns what was known on each, and is judged by what came after.

One cohort is one draw of luck; a dozen weekly ones tell how steady the gain is. Leads open on several origins
count on each of them, and intervals resample whole leads (flows/evidence.py).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl

from features.sources import Sources
from flows.adapters.settings import Settings
from flows.backtest import Backtest, Predict, backtest, of_recipe
from flows.dataset import History
from flows.evidence import BY_SCORE, POOLED, Cohort, Evidence, evidence
from flows.floors import SOURCE, capacity_share, floor_rows, floors
from flows.recipes import Recipe

N_ORIGINS = 12
_OF_ONE_ORIGIN = frozenset({"conversion_of_called", "gain_over", "times_as_many", "forecast_to_observed"})


def rolling_cohorts(
    past: History,
    sources: Sources,
    recipe: Recipe,
    settings: Settings,
    n_origins: int = N_ORIGINS,
    peers: Mapping[str, Predict] | None = None,
) -> dict[date, Cohort]:
    """Return the leads open on each of the newest weekly origins, scored as they would have been then.

    Parameters
    ----------
    past : every row of today, mature or not.
    peers : other ways to score, fitted at each origin like the recipe, to stand beside the floors.

    Raises
    ------
    ValueError
        History allows fewer than eight origins, or too few conversions were known at one of them.
    """
    candidates = {BY_SCORE: of_recipe(recipe), **(peers or {})}
    found = backtest(past, candidates, settings, n_origins)
    missing = sorted(candidates.keys() - found.p.keys())
    if missing:
        raise ValueError(
            f"{', '.join(missing)}: too few conversions were known at one of {len(found.origins)} origins;"
            " ask for fewer origins or collect more history"
        )
    n_rows = sum(len(y) for y in found.y.values())
    capacity = capacity_share(sources.owner, n_rows / len(found.origins))
    return {day: _cohort(past, found, day, recipe, settings, capacity) for day in found.origins}


def _cohort(
    past: History, found: Backtest, day: date, recipe: Recipe, settings: Settings, capacity: float
) -> Cohort:
    """The leads that were open on an origin, also by what is known today, and every way to rank them."""
    rows = past.labels.snapshots == np.datetime64(day, "D")
    is_open = ~past.labels.is_void(past.as_of)
    frame, _, _ = past.take(rows & is_open)
    simple = floors(frame, floor_rows(past, day, recipe, settings), settings.random_state)
    peers = {name: found.p[name][day][is_open[rows]] for name in found.p if name != BY_SCORE}
    has_source = SOURCE in frame.columns
    return Cohort(
        leads=frame["lead_id"].to_numpy(),
        days=np.full(frame.height, np.datetime64(day, "D")),
        y=found.y[day][is_open[rows]],
        p=found.p[BY_SCORE][day][is_open[rows]],
        segments=frame[SOURCE] if has_source else pl.Series([None] * frame.height, dtype=pl.String),
        floors=simple | peers,
        capacity=capacity,
    )


def pooled(cohorts: Mapping[date, Cohort]) -> Cohort:
    """Put the cohorts of all origins together; calls are still chosen on each origin by itself."""
    parts = list(cohorts.values())

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return replace(
        parts[0],
        leads=joined("leads"),
        days=joined("days"),
        y=joined("y"),
        p=joined("p"),
        segments=pl.concat([part.segments.cast(pl.String) for part in parts]),
        floors={name: np.concatenate([part.floors[name] for part in parts]) for name in parts[0].floors},
    )


def rolling_evidence(cohorts: Mapping[date, Cohort], seed: int) -> dict[str, list[Evidence]]:
    """Measure all origins together (`all`), and what calls would have brought on each (its date)."""
    by_origin = {
        day.isoformat(): [row for row in evidence(cohort, seed) if row.measure in _OF_ONE_ORIGIN]
        for day, cohort in cohorts.items()
    }
    return {POOLED: evidence(pooled(cohorts), seed), **by_origin}
