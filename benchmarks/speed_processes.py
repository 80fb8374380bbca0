"""What needs a process of its own: cold and cached starts, peak memory, and peers on one OpenMP thread."""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tables
from speed_fits import draw, fit_pkboost, timed
from speed_peers import PEERS, fit_peer

LIMIT = 45.0
"""Seconds a process is given: a peer that needs more for 100,000 rows is left out."""

COLD_LIMIT = 300.0
IMPORT = "import time; s = time.perf_counter(); import pkboost_core; print(time.perf_counter() - s)"


def run_start() -> dict[str, float]:
    """Seconds to fit 10k rows in a fresh process, and to fit again; the import ended above."""
    X, y = draw(10_000, 0)
    before = time.process_time()
    first, _ = timed(lambda: fit_pkboost(X, y))
    processor = time.process_time() - before
    again, _ = timed(lambda: fit_pkboost(X, y))
    return {"first fit": first, "first fit, processor": processor, "warm fit": again}


def run_memory(n: int) -> dict[str, float]:
    """Growth of the peak resident size while `n` rows are fitted, in MB."""
    fit_pkboost(*draw(2_000, 0))
    X, y = draw(n, 0)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_megabytes()
    fit_pkboost(X, y, 127, 5)
    return {"megabytes": peak_megabytes() - before}


def peak_megabytes() -> float:
    """Peak resident size since it was last cleared."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


CHILDREN: dict[str, Callable[[], dict[str, float]]] = {
    "start": run_start,
    **{f"memory {n}": lambda n=n: run_memory(n) for n in (10_000, 1_000_000)},
    **{f"peer {name}": lambda name=name: fit_peer(name) for name in PEERS},
}
"""What is measured in a process of its own."""


def child(name: str, limit: float = LIMIT, **environment: str) -> dict[str, float]:
    """Run one of `CHILDREN` on one OpenMP thread; nothing comes back past the limit or without a library."""
    command = [sys.executable, str(Path(__file__).with_name("speed.py")), "--child", name]
    settings = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    try:
        done = subprocess.run(
            command, env=settings, capture_output=True, text=True, timeout=limit, check=True
        )
    except subprocess.TimeoutExpired:
        return {}
    except subprocess.CalledProcessError as error:
        if "ModuleNotFoundError" not in error.stderr:
            raise RuntimeError(f"{name} failed:\n{error.stderr}") from error
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def peers() -> dict[str, float]:
    """Seconds of one fit of every library on one thread; infinite past the limit or where it is missing."""
    return {name: child(f"peer {name}").get("seconds", math.inf) for name in PEERS}


def memory() -> dict[str, float]:
    """Peak MB beyond the input by number of rows."""
    return {
        f"{n:,}": child(f"memory {n}", COLD_LIMIT).get("megabytes", math.nan) for n in (10_000, 1_000_000)
    }


def memory_table(found: dict[str, float]) -> str:
    """Return peak memory by number of rows."""
    rows = [[n, f"{megabytes:.0f}"] for n, megabytes in found.items()]
    return tables.markdown(["rows x 40 columns", "peak MB beyond imports and input"], rows)


def starts() -> dict[str, dict[str, float]]:
    """Import and first fit with an empty cache of compiled kernels, with a filled one, and warm."""
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        for name in ("cold", "cached"):
            fits = child("start", COLD_LIMIT, NUMBA_CACHE_DIR=directory)
            done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
            found[name] = {
                "import": float(done.stdout),
                "fit": fits["first fit"],
                "processor": fits["first fit, processor"],
            }
    found["warm"] = {"import": 0.0, "fit": fits["warm fit"], "processor": fits["warm fit"]}
    return found


def start_table(found: dict[str, dict[str, float]]) -> str:
    """Return seconds by how the process starts."""
    rows = [[name, *(f"{s:.2f}" for s in row.values())] for name, row in found.items()]
    header = ["start", "import, s", "first fit of 10k x 40, s", "of it processor time, s"]
    return tables.markdown(header, rows)
