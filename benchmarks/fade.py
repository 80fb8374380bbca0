"""What an old score is worth: as it was, faded by the delay curve, and made anew from tonight's features.

    python benchmarks/fade.py [--seeds N] [--write]

Quiet simulated CRMs of 22 months (`drift_worlds.py`). Models of the product's recipe score every Monday; on
every fourth one the leads that an earlier model scored and that are still open are measured by their true
chances to convert within the horizon of that Monday. A faded score is p (1 - F) / (1 - p F), with F as it was
known when the score was made.
"""

import argparse
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from drift_fits import SOFT, Fits
from drift_measures import Week, measure_by, share_of_ceiling
from drift_worlds import build_world
from own_home import forget_settings, own_home
from tables import machine, markdown, write

from flows.adapters.database import open_database
from flows.adapters.settings import Settings
from flows.score_changes import faded

DOCUMENT = Path(__file__).parents[1] / "docs" / "decisions" / "0012-late-labels.md"
N_LEADS = 4_000
EVERY, BEFORE = 4, 8
"""Nights from one that is measured to the next, and before the first."""
AGES = {"7 days": 7, "14 days": 14, "28 days": 28, "56 days": 56, "the lead's first": None}
WAYS = ("as it was", "faded", "made anew")

Scores = dict[date, pl.DataFrame]
Measured = dict[tuple[str, str], list[Week]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"write the table into {DOCUMENT.name}")
    options = parser.parse_args()
    forget_settings()
    worlds = []
    with own_home() as home, open_database(Settings(home=home, database_url=None)) as database:
        for seed in range(options.seeds):
            worlds.append(one_world(Fits(build_world(database, "none", seed, N_LEADS))))
            print(f"{seed + 1} of {options.seeds} CRMs", flush=True)
    text = f"{machine()}. {options.seeds} CRMs of {N_LEADS:,} leads, `python benchmarks/fade.py --write`.\n\n"
    text += table(worlds)
    print(text)
    if options.write:
        write(DOCUMENT, "fade", text)


def one_world(fits: Fits) -> Measured:
    """Measure the scores of every age, in all ways, on the nights that are looked at."""
    world, found = fits.world, Measured()
    scores = {night: _scored(fits, night) for night in world.nights}
    for night in world.nights[BEFORE::EVERY]:
        for name, days in AGES.items():
            both = _both(scores, night, days)
            truth, worth = both["truth"].to_numpy(), dict(zip(WAYS, _worth(fits, both), strict=True))
            for way, p in worth.items():
                found.setdefault((name, way), []).append(measure_by(truth, night, p, world.deal))
    return found


def _scored(fits: Fits, night: date) -> pl.DataFrame:
    """Return lead_id, age, p and truth of the leads open on a night, scored by a model of that night."""
    rows = fits.world.rows(night)
    leads = fits.world.history.frame.filter(pl.Series(rows)).select("lead_id", age="lead_age_days")
    p, truth = fits.scores(SOFT, night, night), fits.world.truth[rows]
    return leads.with_columns(p=pl.Series(p), truth=pl.Series(truth), night=pl.lit(night))


def _both(scores: Scores, night: date, days: int | None) -> pl.DataFrame:
    """Return leads open on a night beside what was said of them so many days before, or first."""
    if days is None:
        earlier = pl.concat(table for day, table in scores.items() if day < night)
        earlier = earlier.sort("night").unique("lead_id", keep="first", maintain_order=True)
    else:
        earlier = scores[night - timedelta(days=days)]
    old = earlier.select("lead_id", old_age="age", old_p="p", old_night="night")
    return scores[night].join(old, on="lead_id", maintain_order="left")


def _worth(fits: Fits, both: pl.DataFrame) -> Iterator[np.ndarray]:
    """Yield the old score as it was, the old score faded, and tonight's."""
    old = both["old_p"].to_numpy()
    gap = (both["night"] - both["old_night"]).dt.total_days().cast(pl.Float64).to_numpy()
    age, worth = both["old_age"].to_numpy(), np.empty(len(old))
    for day in both["old_night"].unique():
        of_day = (both["old_night"] == day).to_numpy()
        curve = fits.world.history.labels.delay_curve(day)
        worth[of_day] = faded(old[of_day], curve, age[of_day], gap[of_day])
    yield from (old, worth, both["p"].to_numpy())


def table(worlds: list[Measured]) -> str:
    """Return the table of all worlds' means."""
    header = ["score of", *(f"excess loss, {way}" for way in WAYS), *(f"PR-AUC, {way}" for way in WAYS)]
    rows = []
    for name in AGES:
        losses = [
            np.mean([week.log_loss - week.least_loss for world in worlds for week in world[name, way]])
            for way in WAYS
        ]
        shares = [np.mean([share_of_ceiling(world[name, way]) for world in worlds]) for way in WAYS]
        rows.append([name, *(f"{1000 * loss:.1f}" for loss in losses), *(f"{share:.3f}" for share in shares)])
    return markdown(header, rows)


if __name__ == "__main__":
    main()
