"""Two fitted models on the newest weeks: leads whose outcome neither has seen, by the wins known so far.

All leads of one snapshot have had the same time to convert, so each week is scored at one age, against "won
by now" with the forecast p F(age). Scoring labels in order of arrival is biased: wins arrive first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from flows.dataset import History
from flows.lead_model import LeadModel
from flows.monitors.compare import MIN_WEEKS, Comparison, compare
from pkboost_core.metrics import log_loss

MIN_AGE_DAYS = 7
MIN_ROWS = 30
CAPACITY_SHARE = 0.1
BLOCK_WEEKS = 2
"""Neighbouring weeks share most of their leads."""
_FLOOR = 1e-6


@dataclass(frozen=True)
class Week:
    """One snapshot's leads under two models: mean log-loss and precision among the best tenth."""

    snapshot: date
    rows: int
    losses: tuple[float, float]
    precisions: tuple[float, float]


def open_weeks(history: History, after: date, first: LeadModel, second: LeadModel) -> list[Week]:
    """Score two models on every snapshot after a day whose leads are at least a week old.

    Parameters
    ----------
    history : of tonight; its curve says how many of a cohort's wins are known by now.
    after : the newest snapshot that either model was trained on, or the day of a promotion.
    """
    curve, labels = history.labels.delay_curve(history.as_of), history.labels
    if curve is None:
        return []
    elapsed = labels.elapsed(history.as_of)
    is_young = (labels.snapshots > np.datetime64(after, "D")) & (elapsed >= MIN_AGE_DAYS)
    is_open = is_young & ~labels.is_mature(history.as_of) & ~labels.is_void(history.as_of)
    frame, rows, chosen = history.take(is_open)
    if not frame.height:
        return []
    seen = curve(elapsed[chosen], rows.segments)
    y = rows.is_won(history.as_of).astype(np.float64)
    forecasts = [model.probabilities(frame) * seen for model in (first, second)]
    return [
        week_of(day.astype(date), y[inside], [p[inside] for p in forecasts])
        for day in np.unique(rows.snapshots)
        if (inside := rows.snapshots == day).sum() >= MIN_ROWS
    ]


def week_of(snapshot: date, y: np.ndarray, forecasts: Sequence[np.ndarray]) -> Week:
    """Measure two forecasts, float64 (n,), of the same rows."""
    losses, precisions = [], []
    for p in forecasts:
        q = np.clip(p, _FLOOR, 1 - _FLOOR)
        losses.append(log_loss(y, q))
        best = np.argsort(-q, kind="stable")[: max(int(CAPACITY_SHARE * len(q)), 1)]
        precisions.append(float(y[best].mean()))
    return Week(snapshot, len(y), (losses[0], losses[1]), (precisions[0], precisions[1]))


def compare_weeks(weeks: Sequence[Week], seed: int, block_weeks: int = BLOCK_WEEKS) -> Comparison | None:
    """Compare the second model with the first, the champion; None for fewer than eight weeks."""
    if len(weeks) < MIN_WEEKS or not any(week.losses[0] > 0 for week in weeks):
        return None
    (old, new), (old_precision, new_precision) = (
        zip(*[getattr(week, name) for week in weeks], strict=True) for name in ("losses", "precisions")
    )
    return compare(
        old,
        new,
        [week.rows for week in weeks],
        champion_precision=old_precision,
        challenger_precision=new_precision,
        seed=seed,
        block_weeks=block_weeks,
    )


def compare_on_open_cohorts(
    history: History, champion: LeadModel, challenger: LeadModel, seed: int
) -> Comparison | None:
    """Compare two models on the weeks after both were trained.

    None where there are fewer than eight, or where the champion cannot score the history.
    """
    if not champion.can_score(history.frame):
        return None
    after = max(model.training_range.last_snapshot for model in (champion, challenger))
    return compare_weeks(open_weeks(history, after, champion, challenger), seed)
