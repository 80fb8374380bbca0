"""What a search for a better recipe costs: `leadscore retrain` on a simulated CRM, as a monitor starts it.

    python benchmarks/retrain.py [--leads N] [--runs N] [--write]

Each run has a home of its own with the CRM and a first night, so that nothing rests from an earlier search.
Kernels are compiled by the night.
"""

import argparse
import sys
from collections import Counter

import numpy as np
from night_cost import ROOT, Cost, cost
from own_home import own_home
from tables import machine, write

DOCUMENT = ROOT / "docs" / "drift.md"


def search(leads: int) -> Cost:
    """Simulate, live through one night, and search."""
    with own_home() as home:
        cost(ROOT, home, "simulate", "--leads", str(leads))
        cost(ROOT, home, "nightly")
        return cost(ROOT, home, "retrain", "--reason", "benchmark")


def told(found: list[Cost], leads: int) -> str:
    """Say in a sentence or two what was measured."""
    wall, processor = (np.median([getattr(one, name) for one in found]) for name in ("wall", "processor"))
    backtest = found[0].answer["search"]
    verdicts = Counter(one.answer["verdict"] for one in found)
    peak = max(one.answer["peak_rss_mb"] for one in found)
    return (
        f"`leadscore retrain` at {leads:,} leads: {len(backtest['log_loss'])} recipes with a result on "
        f"{len(backtest['origins'])} origins, {wall:.0f} s (median of {len(found)}: "
        f"{', '.join(f'{one.wall:.0f}' for one in found)}), {processor:.0f} s of the processor, Postgres "
        f"apart, and {peak:,.0f} MiB; verdict: "
        f"{', '.join(f'{verdict} ({n})' for verdict, n in verdicts.items())}. {machine()}."
    )


def main() -> None:
    """Search, print, and write the sentence into the documentation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leads", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"write the figures into docs/{DOCUMENT.name}")
    options = parser.parse_args()
    found = []
    for k in range(options.runs):
        found.append(search(options.leads))
        print(f"{k + 1} of {options.runs}: {found[-1].wall:.0f} s", file=sys.stderr, flush=True)
    text = told(found, options.leads)
    print(text)
    if options.write:
        write(DOCUMENT, "retrain", text)


if __name__ == "__main__":
    main()
