"""Where a fit spends its time: seconds and bytes by stage, beside what memory alone would need."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tables
from numba import njit
from speed_fits import N_FEATURES, ROUNDS, best_of, draw, fit_pkboost, timed

from pkboost_core.compiled import Kernel
from pkboost_core.crew import Crew
from pkboost_core.histogram import add_rows
from pkboost_core.jobs import Growth
from pkboost_core.partition import partition

GROUPS = -(-N_FEATURES // 8)
ROW_BYTES = 8 * GROUPS + 8
"""Bytes read to sum a row: its codes and its element."""


@contextmanager
def watched() -> Iterator[tuple[dict[str, float], list[Growth]]]:
    """Add up the seconds of every compiled kernel by name, and keep what trees were grown with."""
    seconds: dict[str, float] = defaultdict(float)
    grown: list[Growth] = []
    call, grow = Kernel.__call__, Crew.grow

    def clocked(self: Kernel, *args: Any) -> Any:
        spent, outcome = timed(lambda: call(self, *args))
        seconds[self.function.__name__] += spent
        return outcome

    def kept(self: Crew, n_rows: int) -> int:
        grown[:] = [self.growth]
        return grow(self, n_rows)

    Kernel.__call__, Crew.grow = clocked, kept  # type: ignore[method-assign]
    try:
        yield seconds, grown
    finally:
        Kernel.__call__, Crew.grow = call, grow  # type: ignore[method-assign]


@njit
def sum_all(growth, histogram, stride):
    add_rows(growth.words, growth.elements, 0, len(growth.elements), False, histogram, stride)


@njit
def part_all(growth, node):
    missing = growth.features.n_bins[node.feature]
    n_rows = len(growth.elements)
    return partition(growth.columns, growth.elements, growth.scratch, 0, n_rows, node, missing)


def stages(n: int) -> dict[str, list[float]]:
    """Seconds and bytes by stage of one fit on one thread.

    `grow_tree` is one call: its histograms and partitions are estimated by what a row costs when all rows
    are summed or parted at once, in order; the scan of the cuts is what is left, with what rows cost more
    that lie apart.
    """
    X, y = draw(n, 0)
    with watched() as (seconds, grown):
        total, model = timed(lambda: fit_pkboost(X, y))
    nodes = model.ensemble_.nodes
    inner = nodes[~nodes["is_leaf"]]
    parted = float(inner["count"].sum())
    smaller = np.minimum(nodes["count"][inner["left"]], nodes["count"][inner["right"]])
    summed = float(n * ROUNDS + smaller.sum())
    growth = grown[0]
    width = growth.histograms.shape[2]
    growth.elements.sort()  # by row, as the root finds them
    histogram = np.zeros(width, dtype=np.int64)
    sum_seconds = best_of(3, lambda: sum_all(growth, histogram, width // (8 * GROUPS))) / n * summed
    part_seconds = best_of(3, lambda: part_all(growth, growth.nodes[0])) / n * parted
    scan = seconds["grow_tree"] - sum_seconds - part_seconds
    per_tree = float(n * ROUNDS)
    found = {
        "binning: sort, cuts; outside kernels": [
            seconds["choose_cuts"],
            min(n, 200_000) * N_FEATURES * 4.0,
        ],
        "binning: codes": [seconds["encode"], n * N_FEATURES * 5.0],
        "gradients": [seconds["logistic_gradients"], per_tree * 20],
        "rounding, packing": [seconds["quantise"], per_tree * 28],
        "histograms (estimated)": [sum_seconds, summed * ROW_BYTES],
        "partition (estimated)": [part_seconds, parted * 17],
        "scan, and what rows cost more that lie apart": [scan, 2.0 * len(inner) * width * 8],
        "update of the scores": [seconds["add_leaf_values"], per_tree * 24],
    }
    known = sum(pair[0] for pair in found.values())
    found["binning: sort, cuts; outside kernels"][0] += total - known
    return found | {"bytes per second": [copy_speed(), 0.0]}


def copy_speed() -> float:
    """Bytes read and written per second by a copy too large for caches."""
    source = np.ones(1 << 25)
    target = np.empty_like(source)
    return 2 * source.nbytes / best_of(3, lambda: np.copyto(target, source))


def stage_table(sizes: dict[str, dict]) -> str:
    """Return seconds and floor by stage and number of rows."""
    header = ["one fit of 100 trees, one thread"]
    for n in sizes:
        header += [f"{int(n):,} rows: s", "MB", "floor, s"]
    names = [name for name in next(iter(sizes.values())) if name != "bytes per second"]
    rows = []
    for name in names:
        cells: list[object] = [name]
        for found in sizes.values():
            seconds, size = found[name]
            cells += [f"{seconds:.3f}", f"{size / 1e6:,.0f}", f"{size / found['bytes per second'][0]:.3f}"]
        rows.append(cells)
    speed = next(reversed(sizes.values()))["bytes per second"][0] / 1e9
    note = (
        f"The floor is the bytes over the speed of a large copy, {speed:.1f} GB/s; tables in caches beat it."
    )
    return f"{tables.markdown(header, rows)}\n\n{note}"
