"""Poisoned nights: data that are wrong on one night, from which the gate must not let a model through.

The monitor of data integrity (T1), which looks at raw rows before training, is left out: what is tested is
the gate alone. Nights whose data contradict the champion's are refused whatever is fitted on them; only the
others need a fit to be judged.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
from drift_fits import Fits
from drift_loop import FIRST, Champion, known, refit, rows_on
from drift_policies import NIGHTLY
from drift_worlds import World

from flows.data_facts import data_facts, differences
from flows.dataset import History

MIN_FILLED = 0.6
NIGHTS_BETWEEN = 4
NEWEST_DAYS = 56

Poison = Callable[[History, np.random.Generator], History]


def flipped_labels(past: History, rng: np.random.Generator) -> History:
    """Every conversion reads as none and every other lead as converted after ten days."""
    labels = past.labels
    days = np.where(np.isfinite(labels.win_days), np.inf, 10.0)
    return replace(past, labels=replace(labels, win_days=days))


def early_wins_flipped(past: History, rng: np.random.Generator) -> History:
    """In the newest eight weeks the leads that are open read as won, and the winners as open."""
    is_new, is_won, is_open = _newest(past)
    days = np.where(is_open, past.labels.elapsed(past.as_of) / 2, past.labels.win_days)
    return replace(past, labels=replace(past.labels, win_days=np.where(is_new & is_won, np.inf, days)))


def open_leads_won(past: History, rng: np.random.Generator) -> History:
    """In the newest eight weeks every lead that is open reads as won."""
    _, _, is_open = _newest(past)
    days = np.where(is_open, past.labels.elapsed(past.as_of) / 2, past.labels.win_days)
    return replace(past, labels=replace(past.labels, win_days=days))


def wrong_unit(past: History, rng: np.random.Generator) -> History:
    """One number comes a hundred times too large."""
    column = _drawn(past, rng, is_number=True)
    return replace(past, frame=past.frame.with_columns(pl.col(column).cast(pl.Float64) * 100))


def half_the_leads(past: History, rng: np.random.Generator) -> History:
    """Every second lead is gone, with all that is known of it."""
    leads = past.frame["lead_id"].unique().sort()
    gone = leads.gather(rng.permutation(len(leads))[: len(leads) // 2])
    keep = ~past.frame["lead_id"].is_in(gone.implode()).to_numpy()
    frame = past.frame.filter(pl.Series(keep))
    return replace(past, frame=frame, labels=past.labels.take(keep), built=past.built[keep])


def null_column(past: History, rng: np.random.Generator) -> History:
    """One column comes empty."""
    column = _drawn(past, rng, is_number=False)
    dtype = past.frame.schema[column]
    return replace(past, frame=past.frame.with_columns(pl.lit(None, dtype).alias(column)))


POISONS: dict[str, Poison] = {
    "flipped labels": flipped_labels,
    "early wins flipped": early_wins_flipped,
    "open leads won": open_leads_won,
    "wrong unit": wrong_unit,
    "half the leads gone": half_the_leads,
    "null column": null_column,
}


def promoted(world: World, tries: int, seed: int) -> dict[str, list[int]]:
    """Return for each poison how many of the tries the gate let through, and how many there were."""
    found = {name: [0, 0] for name in POISONS}
    clean = Fits(world)
    for number in range(tries):
        rng = np.random.default_rng([seed, number])
        k = int(rng.integers(NIGHTS_BETWEEN, len(world.nights)))
        champion_night, night = world.nights[k - NIGHTLY], world.nights[k]
        champion = Champion(FIRST, champion_night, data_facts(rows_on(world, champion_night)))
        name = list(POISONS)[number % len(POISONS)]
        found[name][0] += _is_promoted(clean, champion, night, POISONS[name], rng)
        found[name][1] += 1
    return found


def _is_promoted(
    clean: Fits, champion: Champion, night: date, poison: Poison, rng: np.random.Generator
) -> bool:
    world = clean.world
    past = replace(poison(known(world, night), rng), as_of=world.history.as_of, curve=world.history.curve)
    kept = (
        world.truth
        if len(past.labels.snapshots) == len(world.truth)
        else np.zeros(len(past.labels.snapshots))
    )
    broken = replace(world, history=past, truth=kept)
    if champion.facts is not None and differences(champion.facts, rows_on(broken, night)):
        return False
    fits = Fits(broken)
    fits.adopt(champion.learner, champion.night, clean.model(champion.learner, champion.night))
    return refit(fits, champion, night) is not None


def _newest(past: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the last eight weeks: all of them, those won and those open, bool (n,)."""
    elapsed = past.labels.elapsed(past.as_of)
    is_new = (elapsed > 0) & (elapsed <= NEWEST_DAYS)
    is_open = is_new & ~past.labels.is_settled(past.as_of) & ~past.labels.is_void(past.as_of)
    return is_new, past.labels.is_won(past.as_of), is_open


def _drawn(past: History, rng: np.random.Generator, *, is_number: bool) -> str:
    """Draw a column that is mostly filled; for a unit, one whose values are not just zeros and ones."""
    frame = past.frame.drop("lead_id", "snapshot_date", "account_id", "owner_id", strict=False)
    names = [name for name in frame.columns if frame[name].null_count() < (1 - MIN_FILLED) * frame.height]
    if is_number:
        names = [name for name in names if frame.schema[name].is_numeric() and _is_spread(frame[name])]
    return str(rng.choice(names))


def _is_spread(values: pl.Series) -> bool:
    numbers = values.drop_nulls().cast(pl.Float64).to_numpy()
    low, high = np.quantile(numbers[numbers != 0], (0.1, 0.9)) if (numbers != 0).sum() > 100 else (0.0, 0.0)
    return bool(high > 2 * low > 0 and (numbers != 0).mean() > MIN_FILLED)
