"""Rolling origins: what recipes would have been worth, had they been used on each of the last mature weeks.

At each origin a recipe learns from the labels known on that day and scores the leads open on it; today their
outcome is known. Champion and candidates share origins and leads, so their difference has little noise.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import product

import numpy as np

from flows.adapters.settings import Settings
from flows.dataset import N_ORIGINS, ORIGIN_EVERY_DAYS, History
from flows.fitting import TooFewConversionsError, fit_recipe
from flows.monitors.compare import MIN_WEEKS, Comparison
from flows.open_cohorts import BLOCK_WEEKS, MIN_ROWS, Week, compare_weeks, week_of
from flows.recipes import Recipe

Predict = Callable[[History, date, Settings, np.ndarray], np.ndarray]
"""(history, origin, settings with one thread, rows of the origin as bool (n,)) -> probabilities (m,)."""


@dataclass(frozen=True)
class Backtest:
    """Probabilities of every candidate on the same rows.

    Attributes
    ----------
    origins : days, oldest first.
    y : by origin, float64 (m,), what became of the leads open on it.
    p : candidate -> by origin, float64 (m,).
    """

    origins: tuple[date, ...]
    y: Mapping[date, np.ndarray]
    p: Mapping[str, Mapping[date, np.ndarray]]

    def weeks(self, first: str, second: str) -> list[Week]:
        """Measure two candidates on each origin."""
        return [week_of(day, self.y[day], [self.p[first][day], self.p[second][day]]) for day in self.origins]

    def compare(self, champion: str, challenger: str, seed: int) -> Comparison | None:
        """Compare a challenger with the champion by a paired bootstrap over blocks of weeks."""
        return compare_weeks(self.weeks(champion, challenger), seed, BLOCK_WEEKS)


def origins(history: History, settings: Settings, n: int = N_ORIGINS) -> list[date]:
    """Return the newest `n` weekly snapshots that are mature today and can be trained for, oldest first.

    Fewer where history is short: before an origin there must be mature rows with both outcomes.
    """
    labels, today = history.labels, history.as_of
    found: list[date] = []
    for day in np.unique(labels.snapshots[labels.is_mature(today)])[::-1].astype(date):
        is_spaced = not found or (found[-1] - day).days >= ORIGIN_EVERY_DAYS
        past = labels.is_mature(day) & (labels.snapshots < np.datetime64(day, "D"))
        has_both = 2 <= (past & labels.is_won(day)).sum() < past.sum()
        if is_spaced and has_both and (labels.snapshots == np.datetime64(day, "D")).sum() >= MIN_ROWS:
            found.append(day)
        if len(found) == n:
            break
    return found[::-1]


def of_recipe(recipe: Recipe) -> Predict:
    """Return the candidate that fits a recipe anew at every origin."""

    def predict(history: History, origin: date, settings: Settings, rows: np.ndarray) -> np.ndarray:
        fit = fit_recipe(history.known_at(origin, recipe, settings), recipe, settings)
        return fit.probabilities(history.frame.filter(rows))

    return predict


def backtest(
    history: History, candidates: Mapping[str, Predict], settings: Settings, n_origins: int = N_ORIGINS
) -> Backtest:
    """Fit every candidate at every origin, `settings.n_threads` fits at a time.

    A candidate that cannot be fitted at some origin (too few conversions known by then) is left out.

    Raises
    ------
    TooFewConversionsError
        There are fewer than eight origins.
    """
    days = origins(history, settings, n_origins)
    if len(days) < MIN_WEEKS:
        raise TooFewConversionsError(
            f"history allows {len(days)} weekly origins; {MIN_WEEKS} are needed to compare recipes"
        )
    labels = history.labels
    at = {day: labels.snapshots == np.datetime64(day, "D") for day in days}
    y = {day: labels.is_won(history.as_of)[rows].astype(np.float64) for day, rows in at.items()}
    single = settings.model_copy(update={"n_threads": 1})

    def fitted(task: tuple[str, date]) -> np.ndarray | None:
        name, day = task
        try:
            return candidates[name](history, day, single, at[day])
        except TooFewConversionsError:
            return None

    tasks = list(product(candidates, days))
    with ThreadPoolExecutor(settings.n_threads) as pool:
        results = dict(zip(tasks, pool.map(fitted, tasks), strict=True))
    p = {name: {day: results[name, day] for day in days} for name in candidates}
    complete = {name: found for name, found in p.items() if all(v is not None for v in found.values())}
    return Backtest(tuple(days), y, complete)  # type: ignore[arg-type]


def best(found: Backtest, champion: str, names: Sequence[str]) -> str | None:
    """Return the candidate with the least total log-loss, or None where none beats the champion's recipe."""

    def total(name: str) -> float:
        return sum(week.losses[1] * week.rows for week in found.weeks(champion, name))

    rivals = [name for name in names if name in found.p and name != champion]
    if champion not in found.p or not rivals:
        return None
    chosen = min(rivals, key=total)
    return chosen if total(chosen) < total(champion) else None
