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
from typing import Any

import numpy as np
import tables
from speed_fits import draw, fit_pkboost, timed
from speed_peers import PEERS, fit_peer

from pkboost_core import PKBoostClassifier

LIMIT = 45.0
"""Seconds a process is given."""

PEER_LIMIT = 90.0

COLD_LIMIT = 300.0
IMPORT = "import time; s = time.perf_counter(); import pkboost_core; print(time.perf_counter() - s)"


def run_start(is_plain: bool) -> dict[str, float]:
    """Seconds to fit 10k rows in a fresh process, and to fit again; the import ended above."""
    X, y = draw(10_000, 0)

    def fit() -> None:
        if is_plain:
            fit_pkboost(X, y)
        else:
            PKBoostClassifier(random_state=0).fit(X, y).predict_proba(X)

    before = time.process_time()
    first, _ = timed(fit)
    processor = time.process_time() - before
    again, _ = timed(fit)
    return {"first fit": first, "first fit, processor": processor, "warm fit": again}


def run_memory(n: int, fit: Callable[[np.ndarray, np.ndarray], Any]) -> dict[str, float]:
    """Growth of the peak resident size while `n` rows are fitted, in MB; a fit of few rows went before."""
    fit(*draw(3_000, 0))
    X, y = draw(n, 0)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_megabytes()
    fit(X, y)
    return {"megabytes": peak_megabytes() - before}


def peak_megabytes() -> float:
    """Peak resident size since it was last cleared."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def few_trees(**params: Any) -> Callable[[np.ndarray, np.ndarray], Any]:
    """Return a fit of few trees: their number moves no peak."""
    return lambda X, y: PKBoostClassifier(5, random_state=0, **params).fit(X, y)


MEMORY: dict[str, tuple[int, Callable[[np.ndarray, np.ndarray], Any]]] = {
    "10,000": (10_000, lambda X, y: fit_pkboost(X, y, 127, 5)),
    "10,000, defaults": (10_000, few_trees()),
    '10,000, mode="quality"': (10_000, few_trees(mode="quality")),
    "1,000,000": (1_000_000, lambda X, y: fit_pkboost(X, y, 127, 5)),
    "1,000,000, defaults": (1_000_000, few_trees()),
    '1,000,000, mode="quality"': (1_000_000, few_trees(mode="quality")),
}
"""Rows and fit by name; "defaults" hold rows out, stop on them and refit."""

CHILDREN: dict[str, Callable[[], dict[str, float]]] = {
    "start plain": lambda: run_start(is_plain=True),
    "start defaults": lambda: run_start(is_plain=False),
    **{f"memory {name}": lambda what=what: run_memory(*what) for name, what in MEMORY.items()},
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
        return {"limit": limit}
    except subprocess.CalledProcessError as error:
        if "ModuleNotFoundError" not in error.stderr:
            raise RuntimeError(f"{name} failed:\n{error.stderr}") from error
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def peers() -> dict[str, dict[str, float]]:
    """Seconds of one fit of each library on one thread, or the limit it ran into; empty where missing."""
    return {name: child(f"peer {name}", PEER_LIMIT) for name in PEERS}


def memory() -> dict[str, float]:
    """Peak MB beyond the input by what is fitted."""
    return {name: child(f"memory {name}", COLD_LIMIT).get("megabytes", math.nan) for name in MEMORY}


def memory_table(found: dict[str, float]) -> str:
    """Return peak memory by what is fitted."""
    rows = [[name, f"{megabytes:.0f}"] for name, megabytes in found.items()]
    return tables.markdown(["rows x 40 columns", "peak MB beyond imports and input"], rows)


def starts() -> dict[str, dict[str, float]]:
    """Import and first fit with an empty cache of compiled kernels, with a filled one, and warm."""
    found = {}
    for kind, what in (("plain", ""), ("defaults", ", defaults and prediction")):
        with tempfile.TemporaryDirectory() as directory:
            for name in ("cold", "cached"):
                fits = child(f"start {kind}", COLD_LIMIT, NUMBA_CACHE_DIR=directory)
                done = subprocess.run(
                    [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True
                )
                found[name + what] = {
                    "import": float(done.stdout),
                    "fit": fits["first fit"],
                    "processor": fits["first fit, processor"],
                }
        found["warm" + what] = {"import": 0.0, "fit": fits["warm fit"], "processor": fits["warm fit"]}
    return found


def start_table(found: dict[str, dict[str, float]]) -> str:
    """Return seconds by how the process starts."""
    rows = [[name, *(f"{s:.2f}" for s in row.values())] for name, row in found.items()]
    header = ["start", "import, s", "first fit of 10k x 40, s", "of it processor time, s"]
    return tables.markdown(header, rows)
