"""A year of weekly nights replayed over a simulated CRM that changes: what it costs and tells.

    python benchmarks/replay.py [--leads N] [--scenario NAME] [--write]

One command in a fresh home, simulation and compiling included; it tells its nights on stderr meanwhile.
"""

import argparse
from datetime import date
from pathlib import Path

from night_cost import ROOT, Cost, cost
from own_home import own_home
from tables import machine, write

DOCUMENT = ROOT / "docs" / "drift.md"
FIRST, LAST = date(2025, 9, 1), date(2026, 8, 31)


def replayed(leads: int, scenario: str) -> tuple[Cost, float]:
    """Replay the year in a home of its own; return its cost, and the size of the page in kB."""
    with own_home() as home:
        period = ("--from", str(FIRST), "--to", str(LAST))
        found = cost(ROOT, home, "replay", *period, "--scenario", scenario, "--leads", str(leads))
        return found, Path(found.answer["page"]).stat().st_size / 1e3


def told(found: Cost, page_kb: float, leads: int, scenario: str) -> str:
    """Say in a sentence or two what was measured."""
    story = found.answer
    return (
        f"`leadscore replay --from {FIRST} --to {LAST} --scenario {scenario} --leads {leads}`: "
        f"{story['n_nights']} nights, {story['n_published']} of them published, {story['n_alarms']} alarms, "
        f"{story['n_promotions']} promotions, in {found.wall / 60:.1f} minutes ({found.processor / 60:.1f} of"
        f" the processor, Postgres apart) and {found.peak_mib:,.0f} MiB, simulation and compiling included;"
        f" a page of {page_kb:.0f} kB. {machine()}."
    )


def main() -> None:
    """Replay, print, and write the sentence into the documentation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leads", type=int, default=10_000)
    parser.add_argument("--scenario", default="concept")
    parser.add_argument("--write", action="store_true", help=f"write the figures into docs/{DOCUMENT.name}")
    options = parser.parse_args()
    text = told(*replayed(options.leads, options.scenario), options.leads, options.scenario)
    print(text)
    if options.write:
        write(DOCUMENT, "replay", text)


if __name__ == "__main__":
    main()
