"""Policies against drift in simulated time: what late labels cost and what retraining repairs.

    python benchmarks/drift.py [--quick] [--seeds N] [--whole N] [--leads N] [--kinds ...] [--parts ...]
                               [--json FILE [--anew]]
    python benchmarks/drift.py --report FILE [FILE ...] [--write]

Simulated CRMs of 22 months, one per kind of drift and seed, live through their weekly nights; the world
changes thirteen weeks after the first. Leads are scored on Mondays; every second weekly snapshot trains.
Outcomes are replaced by their true chances in every measure, so that no luck of the draw is in it. Features
are built once per world; labels are cut as known on each night by the product's own `History`, and monitors,
backtest, comparison and gate are the product's own functions.
`--json` keeps all numbers, after every world anew; what its file already holds is not run again, but with
`--anew`. `--report` makes the tables of such files, whose parts may have been run apart. `--write` puts them
into docs/drift.md.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from drift_policies import GATED, RIVER, schedules
from drift_report import report
from drift_worlds import KINDS, QUIET
from own_home import forget_settings, own_home
from tables import write

DOCUMENT = Path(__file__).parents[1] / "docs" / "drift.md"
PARTS = ("policies", "loop", "poison", "river", "streams", "monitors")
QUICK_KINDS = ("none", "concept")
QUICK_LEADS = 2_000
TRIES, QUICK_TRIES = 10, 1
"""Nights a quiet world for each poison."""
MONITORS, QUICK_MONITORS = (100, 600), (2, 100)
"""Quiet years, and runs per detection delay."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, two kinds, few policies and tries")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--whole", type=int, help="seeds with all policies; later ones run what claims compare"
    )
    parser.add_argument("--first-seed", type=int, default=0, help="leave out earlier ones, run before")
    parser.add_argument("--leads", type=int, default=4_000)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--anew", action="store_true", help="forget what that file holds")
    parser.add_argument("--report", type=Path, nargs="+", help="measure nothing, show what these files hold")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.kinds, options.leads = 1, list(QUICK_KINDS), QUICK_LEADS
    if options.whole is None:
        options.whole = 0 if options.quick else options.seeds
    forget_settings()
    results = together(options.report) if options.report else measured(options)
    for name, text in report(results).items():
        print(f"\n{text}")
        if options.write:
            write(DOCUMENT, name, text)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Run the parts asked for; worlds and monitors side by side in processes."""
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"leads": options.leads, "runs": [], "poison": [], "monitors": None}
    results |= {"streams": [], "cpu_seconds": 0.0}
    if options.json and options.json.exists() and not options.anew:
        results |= json.loads(options.json.read_text())
    if results["leads"] != options.leads:
        raise SystemExit(f"{options.json} holds worlds of {results['leads']:,} leads: use another, or --anew")
    with (
        own_home() as home,
        _server(home) as urls,
        ProcessPoolExecutor(options.workers, get_context("spawn")) as pool,  # Polars hangs in a fork
    ):
        futures: dict[Future[dict[str, Any]], str] = {
            pool.submit(function, *arguments): name
            for name, function, arguments in _tasks(options, urls, results)
        }
        for done, future in enumerate(as_completed(futures), 1):
            results = _joined(results, future.result())
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
            _say(f"{done} of {len(futures)}: {futures[future]}")
    return results


def _tasks(
    options: argparse.Namespace, urls: Any, results: dict[str, Any]
) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Name, function and arguments of everything left to run; early seeds of all kinds come first."""
    tries = QUICK_TRIES if options.quick else TRIES
    for seed in range(options.first_seed, options.seeds):
        for kind in options.kinds:
            url, what, is_whole = urls(f"{kind}_{seed}"), (kind, seed, options.leads), seed < options.whole
            there = _there(results, kind, seed)
            left = set(_left(there, kind, is_whole=is_whole))
            parts = [part for part in options.parts if part in left]
            if parts:
                yield f"{kind} {seed}", one_world, (url, *what, is_whole, parts, tries, there)
            if "river" in options.parts and is_whole and RIVER not in there:
                yield f"river {kind} {seed}", river, (urls(f"river_{kind}_{seed}"), *what)
    if "streams" in options.parts and not results["streams"]:
        yield "streams", streams, (options.quick,)
    if "monitors" in options.parts and not results["monitors"]:
        yield "monitors", monitors, QUICK_MONITORS if options.quick else MONITORS


def _there(results: dict[str, Any], kind: str, seed: int) -> frozenset[str]:
    """Return the policies whose runs in a world are on record, and "poison" where its tries are."""
    runs = {run["policy"] for run in results["runs"] if (run["kind"], run["seed"]) == (kind, seed)}
    is_poisoned = any(one["seed"] == seed for one in results["poison"])
    return frozenset(runs | ({"poison"} if is_poisoned else set()))


def _left(there: frozenset[str], kind: str, *, is_whole: bool) -> Iterator[str]:
    """Yield the parts that a world still needs: only in quiet ones can poison be told from drift."""
    if any(schedule.name not in there for schedule in schedules(kind, is_whole=is_whole)):
        yield "policies"
    if GATED not in there:
        yield "loop"
    if kind == "none" and "poison" not in there:
        yield "poison"


def _joined(results: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Add what a task found: lists and seconds grow, other values are new."""
    old = {name: results.get(name) for name in found}
    return results | {name: new if old[name] is None else old[name] + new for name, new in found.items()}


def together(files: list[Path]) -> dict[str, Any]:
    """Join results of parts that were run apart; of two runs of one thing on a world the later file's counts.

    Raises
    ------
    ValueError
        Their worlds differ in size.
    """
    parts = [json.loads(file.read_text()) for file in files]
    if len({part["leads"] for part in parts}) > 1:
        raise ValueError("worlds of different sizes are no one table: run all parts with equal --leads")
    runs = {(run["policy"], run["kind"], run["seed"]): run for part in parts for run in part["runs"]}
    poisons = {one["seed"]: one for part in parts for one in part["poison"]}
    newest = {
        name: next((part[name] for part in reversed(parts) if part[name]), empty)
        for name, empty in {"streams": [], "monitors": None}.items()
    }
    by_world = {"runs": list(runs.values()), "poison": list(poisons.values())}
    spent = sum(part["cpu_seconds"] for part in parts)
    return {**by_world, **newest, "cpu_seconds": spent, "leads": parts[0]["leads"]}


def one_world(
    url: str,
    kind: str,
    seed: int,
    leads: int,
    is_whole: bool,
    parts: list[str],
    tries: int,
    there: frozenset[str],
) -> dict[str, Any]:
    """Build a world, run policies and loop on it but those that are `there`, and poison its nights."""
    from drift_fits import Fits
    from drift_loop import run_loop
    from drift_poison import POISONS, promoted
    from drift_policies import run_schedule
    from drift_summary import summary
    from drift_worlds import build_world

    from flows.adapters.database import Database

    started = time.process_time()
    world = build_world(Database.from_url(url), kind, seed, leads)
    fits = Fits(world)
    asked = schedules(kind, is_whole=is_whole) if "policies" in parts else []
    runs = [run_schedule(fits, schedule) for schedule in asked if schedule.name not in there]
    runs += [run_loop(fits)] if "loop" in parts else []
    found = [summary(run, is_quiet=kind in QUIET) for run in runs]
    poison = []
    if "poison" in parts:
        poison = [{"seed": seed, "promoted": promoted(world, tries * len(POISONS), seed)}]
    return {"runs": found, "poison": poison, "cpu_seconds": time.process_time() - started}


def river(url: str, kind: str, seed: int, leads: int) -> dict[str, Any]:
    """Build a world and feed it to river's adaptive random forest, where river is installed."""
    try:
        from drift_river import run_forest
    except ModuleNotFoundError as error:
        _say(f"skipped: {error.name} is not installed")
        return {"runs": []}
    from drift_summary import summary
    from drift_worlds import build_world

    from flows.adapters.database import Database

    started = time.process_time()
    run = run_forest(build_world(Database.from_url(url), kind, seed, leads))
    found = summary(run, is_quiet=kind in QUIET)
    return {"runs": [found], "cpu_seconds": time.process_time() - started}


def monitors(years: int, runs: int) -> dict[str, Any]:
    """Count false pages in quiet years, and weeks to find a fall (benchmarks/monitors.py)."""
    from monitors import detection_delays, quiet_integrity, quiet_labels

    started = time.process_time()
    counts: Counter[str] = Counter()
    for seed in range(years):
        counts.update(quiet_integrity(seed, 25.0, know_holidays=True))
        counts.update(quiet_labels(seed))
    pages = sum(counts[name] for name in ("T1 pages", "T2 alarms", "T3 alarms"))
    with contextlib.redirect_stdout(sys.stderr):
        weeks = detection_delays(17, 0.4, runs)["T3"][0]
    found = {"years": years, "pages": pages, "median_weeks": weeks}
    return {"monitors": found, "cpu_seconds": time.process_time() - started}


def streams(is_quick: bool) -> dict[str, Any]:
    """Run the real sets that are there."""
    from drift_streams import run_streams

    started = time.process_time()
    return {"streams": run_streams(is_quick), "cpu_seconds": time.process_time() - started}


@contextlib.contextmanager
def _server(home: Path) -> Iterator[Any]:
    from flows.adapters.database import open_database
    from flows.adapters.settings import Settings

    with open_database(Settings(home=home, database_url=None)) as server:
        yield lambda name: server.ensure_database(name).uri()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
