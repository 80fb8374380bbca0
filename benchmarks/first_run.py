"""The two commands of the README as a stranger runs them: a fresh clone, an empty folder, `make run` twice.

python benchmarks/first_run.py --write
"""

import argparse
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from tables import machine, write

ROOT = Path(__file__).parents[1]
_KEPT = ("PATH", "HOME", "LANG")
_SHOWN_LEADS = 1


def run_in_fresh_clone() -> tuple[str, list[float]]:
    """Return what the first run printed and the seconds of the first and the second."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "leadscore")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        seconds, printed = [], []
        for _ in range(2):
            started = time.perf_counter()
            done = subprocess.run(
                ["make", "run"], cwd=clone, env=environment, check=True, capture_output=True, text=True
            )
            seconds.append(time.perf_counter() - started)
            printed.append(done.stdout.replace(str(clone), "~/leadscore"))
    return printed[0], seconds


def excerpt(printed: str) -> str:
    """The summary and the first leads, without trailing blanks."""
    lines = [line.rstrip() for line in printed.splitlines()]
    starts = [i for i, line in enumerate(lines) if re.match(r"\s+\d+\s\s", line)]
    end = starts[_SHOWN_LEADS] if len(starts) > _SHOWN_LEADS else len(lines)
    first = next(i for i, line in enumerate(lines) if line.startswith("as of"))
    return "\n".join(lines[first:end])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the output into README.md")
    options = parser.parse_args()
    printed, (first, second) = run_in_fresh_clone()
    seconds = f"First run, installation included: {first:.0f} s; second: {second:.0f} s ({machine()})."
    text = f"```text\n{excerpt(printed)}\n   ...\n```\n\n{seconds}"
    if options.write:
        write(ROOT / "README.md", "first-run", text)
    print(text)


if __name__ == "__main__":
    main()
