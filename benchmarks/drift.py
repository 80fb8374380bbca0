"""Policies against drift in simulated time: what late labels cost and what retraining repairs.

    python benchmarks/drift.py [--quick] [--seeds N] [--leads N] [--kinds ...] [--json FILE] [--write]

Simulated CRMs of 22 months, one per kind of drift and seed, live through their weekly nights; the world
changes thirteen weeks after the first. A night stands for a week, "nightly" retraining for one every two
weeks; every second weekly snapshot trains. Outcomes are replaced by their true chances in every measure, so
that no luck of the draw is in it. Features are built once per world; labels are cut as known on each night by
the product's own `History`, and monitors, backtest, comparison and gate are the product's own functions.
`--write` puts the tables into docs/drift.md.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from drift_report import report
from drift_worlds import KINDS, QUIET
from tables import write

DOCUMENT = Path(__file__).parents[1] / "docs" / "drift.md"
QUICK_KINDS = ("none", "concept")
QUICK_LEADS = 2_000
PEER_SEEDS = 3
"""Peers that only a table shows, and the label treatments of claim (c), run on the first so many seeds."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, two kinds, few policies and tries")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--leads", type=int, default=3_000)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.kinds, options.leads = 1, list(QUICK_KINDS), QUICK_LEADS
    for name in [n for n in os.environ if n.startswith("LEADSCORE_") and n != "LEADSCORE_DATA_DIR"]:
        del os.environ[name]
    started = time.perf_counter()
    results = measured(options)
    results["seconds"] = round(time.perf_counter() - started, 1)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, default=_finite))
    for name, text in report(results).items():
        print(f"\n{text}")
        if options.write:
            write(DOCUMENT, name, text)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; worlds side by side in processes."""
    tasks = [(kind, seed) for seed in range(options.seeds) for kind in options.kinds]
    years, runs, tries = (2, 100, 4) if options.quick else (100, 600, 100)
    peers = -1 if options.quick else PEER_SEEDS
    runs_found: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="ls-", dir="/tmp") as home,
        _server(Path(home)) as urls,
        ProcessPoolExecutor(options.workers, get_context("spawn")) as pool,  # Polars hangs in a fork
    ):
        share = -(-tries // options.seeds)
        futures = {
            pool.submit(one_world, urls(f"{kind}_{seed}"), kind, seed, options.leads, peers, share): (
                kind,
                seed,
            )
            for kind, seed in tasks
        }
        for done, future in enumerate(as_completed(futures), 1):
            runs_found += future.result()
            _say(f"world {done} of {len(tasks)}: {futures[future]}")
    return {
        "leads": options.leads,
        "seeds": options.seeds,
        "kinds": options.kinds,
        "runs": [run for run in runs_found if "policy" in run],
        "poison": [run["poison"] for run in runs_found if "poison" in run],
        "monitors": monitors(years, runs),
        "streams": streams(options.quick),
    }


def one_world(url: str, kind: str, seed: int, leads: int, peers: int, tries: int) -> list[dict[str, Any]]:
    """Build a world, run every policy on it, and poison the quiet one."""
    from drift_fits import Fits
    from drift_loop import run_loop
    from drift_poison import promoted
    from drift_policies import run_schedule, schedules
    from drift_summary import summary
    from drift_worlds import build_world

    from flows.adapters.database import Database

    world = build_world(Database.from_url(url), kind, seed, leads)
    fits = Fits(world)
    runs = [run_schedule(fits, schedule) for schedule in schedules(seed, peers)]
    runs.append(run_loop(fits))
    found = [summary(run, is_quiet=kind in QUIET) for run in runs]
    return [*found, {"poison": promoted(world, tries, seed)}] if kind == "none" else found


def monitors(years: int, runs: int) -> dict[str, Any]:
    """Count false pages in quiet years, and weeks to find a fall (benchmarks/monitors.py)."""
    from monitors import detection_delays, quiet_years

    with contextlib.redirect_stdout(sys.stderr):
        quiet = quiet_years(years)
        delays = detection_delays(17, 0.4, runs)["T3"]
    return {"quiet": quiet, "median_weeks": delays[0], "false_alarms_a_year": delays[2]}


def streams(is_quick: bool) -> list[dict[str, Any]]:
    """Run the real sets that are there."""
    from drift_streams import run_streams

    return run_streams(is_quick)


@contextlib.contextmanager
def _server(home: Path) -> Iterator[Any]:
    from flows.adapters.database import open_database
    from flows.adapters.settings import Settings

    home.chmod(0o711)
    with open_database(Settings(home=home, database_url=None)) as server:
        yield lambda name: server.ensure_database(name).uri()


def _finite(value: Any) -> Any:
    return str(value)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
