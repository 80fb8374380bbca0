"""What a night costs now and cost at an earlier commit: whole commands on the same simulated CRM, in turns.

    python benchmarks/night_cost.py --before 0f576c6

Each version gets a home, the CRM and a first night. Then the nights that follow are run in turns, one of the
earlier version, the same of this one; every one of them trains, as by default. Seconds are those of whoever
waits; processor seconds, of the command and its children without Postgres, vary less on a busy machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from own_home import own_home
from tables import machine, markdown

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cost:
    """One command: seconds by the clock and of the processor, and what it says itself.

    Attributes
    ----------
    wall, processor : seconds; those of the processor without Postgres.
    peak_mib : the most memory it had, without Postgres.
    answer : its JSON.
    """

    wall: float
    processor: float
    peak_mib: float
    answer: dict[str, Any]

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage, where it says so."""
        found = self.answer.get("wall_seconds")
        return found if isinstance(found, dict) else {}


def checked_out(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    return folder


def cost(code: Path, home: Path, *arguments: str) -> Cost:
    """Run a command of the code in a folder; what it tells meanwhile goes to stderr."""
    environment = os.environ | {"LEADSCORE_HOME": str(home), "NUMBA_CACHE_DIR": str(home / "numba")}
    with tempfile.TemporaryFile() as answer:
        started = time.perf_counter()
        command = [sys.executable, "-m", "flows", *arguments, "--json"]
        child = subprocess.Popen(command, cwd=code, env=environment, stdout=answer)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        if status != 0:
            raise RuntimeError(f"{' '.join(arguments)} failed in {code}")
        answer.seek(0)
        said = json.loads(answer.read())
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said)


def nights(code: Sequence[Path], homes: Sequence[Path], first: date, n: int) -> list[list[Cost]]:
    """The nights after the first, by version."""
    for version, home in zip(code, homes, strict=True):
        cost(version, home, "simulate")
        cost(version, home, "nightly", "--as-of", str(first))
    found: list[list[Cost]] = [[], []]
    for day in range(1, n + 1):
        for i in (0, 1):
            found[i].append(cost(code[i], homes[i], "nightly", "--as-of", str(first + timedelta(days=day))))
            print(day, i, found[i][-1], file=sys.stderr, flush=True)
    return found


def table(before: Sequence[Cost], now: Sequence[Cost]) -> str:
    """Medians of both, stage by stage, and their ratio."""

    def row(name: str, old: Sequence[float], new: Sequence[float]) -> list[str]:
        a, b = float(np.median(old)), float(np.median(new))
        return [name, f"{a:.1f}", f"{b:.1f}", f"{b / a:.2f}" if a > 0.05 else ""]

    rows = [
        row("whole command", [c.wall for c in before], [c.wall for c in now]),
        row("processor", [c.processor for c in before], [c.processor for c in now]),
    ]
    for stage in dict.fromkeys(stage for one in (*before, *now) for stage in one.stages):
        rows.append(row(stage, *([c.stages.get(stage, 0.0) for c in side] for side in (before, now))))
    return markdown(["seconds, medians", "before", "now", "ratio"], rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", required=True, help="a commit")
    parser.add_argument("--now", default="HEAD", help="a commit")
    parser.add_argument("--nights", type=int, default=3)
    parser.add_argument("--first", type=date.fromisoformat, default=date(2026, 10, 31))
    arguments = parser.parse_args()
    with own_home() as root:
        homes = [root / "home-before", root / "home-now"]
        code = [checked_out(arguments.before, root / "before"), checked_out(arguments.now, root / "now")]
        found = nights(code, homes, arguments.first, arguments.nights)
    told = f"{arguments.nights} nights each; before is {arguments.before}, now {arguments.now}"
    print(f"{table(*found)}\n\n{told}; {machine()}, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
