"""One policy on one world as a few numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from drift_measures import RECOVERED_WEEKS, Week, share_of_ceiling, slope, weeks_to_recover
from drift_policies import Run

DAYS_A_YEAR = 365.25


def summary(run: Run, *, is_quiet: bool) -> dict[str, Any]:
    """Return JSON-able numbers: before the change, after it, and over the last twelve weeks."""
    world, changed = run.world, run.world.drift_date
    before = [week for week in run.weeks if week.night < changed]
    after = [week for week in run.weeks if week.night >= changed]
    false = [night for night in run.alarms if is_quiet or night < changed]
    first_alarm = next((night for night in run.alarms if night >= changed), None)
    years = 7 * (len(run.weeks) if is_quiet else len(before)) / DAYS_A_YEAR
    return {
        "policy": run.policy,
        "kind": world.kind,
        "seed": world.seed,
        "all": _means(run.weeks),
        "before": _means(before),
        "after": _means(after),
        "recovered": _means(run.weeks[-RECOVERED_WEEKS:]),
        "slope": slope(world, {week.night: run.scores[week.night] for week in after}),
        "promotions": len(run.promotions),
        "harmful_promotions": None if run.harmful is None else len(run.harmful),
        "searches": len(run.searches),
        "false_alarms": len(false),
        "watched_years": years,
        "weeks_to_detect": None if first_alarm is None or is_quiet else (first_alarm - changed).days / 7,
        "weeks_to_recover": weeks_to_recover(run.weeks, changed),
        "cpu_seconds": run.cpu_seconds,
    }


def _means(weeks: Sequence[Week]) -> dict[str, float]:
    return {
        "share_of_ceiling": share_of_ceiling(weeks),
        "average_precision": float(np.mean([week.average_precision for week in weeks])),
        "precision": float(np.mean([week.precision for week in weeks])),
        "revenue": float(np.mean([week.revenue for week in weeks])),
        "log_loss": float(np.mean([week.log_loss for week in weeks])),
        "excess_loss": float(np.mean([week.log_loss - week.least_loss for week in weeks])),
    }
