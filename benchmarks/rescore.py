"""Seconds that `leadscore rescore` takes: the whole command, by the clock of whoever waits for it.

    python benchmarks/rescore.py --write

One night is run on a simulated CRM first, unless a home that has scores is given. Warm means that Postgres is
up (`leadscore db up`); cold, that the command starts it and stops it again. Leads are the best in force.
Processor seconds are the command's without Postgres: what a busy machine stretches.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from own_home import own_home
from tables import machine, markdown, write

N_RUNS = 5
N_MANY = 20
GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "scores.md"
STAGES = ("open the database", "read the leads", "load the model", "score")


def command(home: Path, *arguments: str) -> tuple[dict[str, Any], float, float]:
    """What a command answers, the seconds from its start to its end, and those of the processor."""
    started, used = time.perf_counter(), os.times()
    done = subprocess.run(
        [sys.executable, "-m", "flows", *arguments, "--json"],
        env=os.environ | {"LEADSCORE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    wall, now = time.perf_counter() - started, os.times()
    processor = now.children_user + now.children_system - used.children_user - used.children_system
    return json.loads(done.stdout), wall, processor


def best_leads(home: Path, n: int) -> list[str]:
    """The best leads in force."""
    from flows.adapters.database import open_database
    from flows.adapters.settings import Settings

    query = "SELECT lead_id FROM sales.prioritized_leads ORDER BY rank_overall LIMIT %s"
    with open_database(Settings(home=home, database_url=None)) as database, database.connect() as connection:
        return [lead_id for (lead_id,) in connection.execute(query, [n]).fetchall()]


def measure(home: Path, name: str, leads: Sequence[str]) -> list[object]:
    """One row of the table: the first run warms caches and is not counted."""
    found = [command(home, "rescore", *leads) for _ in range(N_RUNS + 1)][1:]
    low, middle, high = np.percentile([wall for _, wall, _ in found], [0, 50, 100])
    processor = np.median([used for _, _, used in found])
    stages = [np.median([answer["wall_seconds"][stage] for answer, _, _ in found]) for stage in STAGES]
    return [name, *(f"{value:.2f}" for value in (middle, low, high, processor, *stages))]


def table(home: Path) -> str:
    """Warm and cold, one lead and many."""
    leads = best_leads(home, N_MANY)
    command(home, "db", "up")
    try:
        rows = [
            measure(home, "1 lead, warm", leads[:1]),
            measure(home, f"{len(leads)} leads, warm", leads),
        ]
    finally:
        command(home, "db", "down")
    rows.append(measure(home, "1 lead, cold", leads[:1]))
    header = ["", "median s", "fastest", "slowest", "processor", *STAGES]
    load = f"load average {os.getloadavg()[0]:.1f}"
    return f"{markdown(header, rows)}\n\n{machine()}, {load}; {N_RUNS} runs each"


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="a home with the embedded Postgres and scores in force")
    parser.add_argument("--leads", type=int, default=10_000, help="of the CRM that is simulated")
    parser.add_argument("--write", action="store_true", help="write the table into docs/guides/scores.md")
    arguments = parser.parse_args()
    with own_home() as fresh:
        home = arguments.home or fresh
        if arguments.home is None:
            command(home, "simulate", "--leads", str(arguments.leads))
            command(home, "nightly")
        text = table(home)
    print(text)
    if arguments.write:
        write(GUIDE, "rescore", text)


if __name__ == "__main__":
    main()
