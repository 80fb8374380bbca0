"""How fast PKBoost trains, starts, predicts and explains, beside its peers at the same settings.

    python benchmarks/speed.py [--quick] [--only SECTION ...] [--million-pairs N] [--json FILE] [--write]

Same rows (a new draw per pair), 40 features, 31 leaves, 100 rounds, learning rate .1, lambda 1, child
hessian 1, no sampling, no early stopping, no calibration. LightGBM runs on the fastest of its own settings,
found by a pilot per size, and PKBoost takes over its number of bins. The fits of a pair follow one another
on the same rows, on equal threads; the ratio is LightGBM's seconds over PKBoost's. `--write` puts the tables
into docs/pkboost_speed.md.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tables
from speed_fits import draw, fit_pkboost, timed
from speed_pairs import LARGEST, growth, growth_table, pairs_of, ratio_table
from speed_peers import loss_table, peer_table, time_to_loss
from speed_processes import CHILDREN, memory, memory_table, peers, start_table, starts
from speed_stages import stage_table, stages
from speed_use import use, use_table

DOCUMENT = Path(__file__).parents[1] / "docs" / "pkboost_speed.md"
PAIRS = {10_000: 9, 100_000: 9, 1_000_000: 9}
"""Pairs per number of rows: differences of PR-AUC vary by .002 from draw to draw."""

QUICK_PAIRS = 3
Section = tuple[Callable[[], dict], Callable[[dict], str]]
"""Measurement, and the table of what it found."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="stages and ratios at 10k and 100k rows only")
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="these sections only")
    parser.add_argument("--million-pairs", type=int, default=PAIRS[1_000_000], help="pairs at 1M rows")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CHILDREN[options.child]()))
        return
    chosen = sections(options.quick, PAIRS | {1_000_000: options.million_pairs})
    if unknown := set(options.only or ()) - set(chosen):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(chosen)}")
    fit_pkboost(*draw(2_000, 0))
    results: dict[str, Any] = {}
    for name, (measure, table) in chosen.items():
        if options.only and name not in options.only:
            continue
        seconds, results[name] = timed(measure)
        text = f"{tables.machine()}, {seconds:.0f} s.\n\n{table(results[name])}"
        print(f"\n{name}: {text}", flush=True)
        if options.write:
            tables.write(DOCUMENT, name, text)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(results, indent=1))


def sections(is_quick: bool, n_pairs: dict[int, int]) -> dict[str, Section]:
    """Return what is measured by name, in order."""
    sizes = [n for n in PAIRS if not is_quick or n <= 100_000]
    pairs = {n: QUICK_PAIRS if is_quick else n_pairs[n] for n in sizes}
    found: dict[str, Section] = {
        "ratios": (lambda: {str(n): pairs_of(n, k) for n, k in pairs.items()}, ratio_table),
        "stages": (lambda: {str(n): stages(n) for n in sizes}, stage_table),
    }
    if is_quick:
        return found
    return found | {
        "growth": (lambda: growth([*PAIRS, LARGEST]), growth_table),
        "use": (use, use_table),
        "memory": (memory, memory_table),
        "start": (starts, start_table),
        "loss": (time_to_loss, loss_table),
        "peers": (peers, peer_table),
    }


if __name__ == "__main__":
    main()
