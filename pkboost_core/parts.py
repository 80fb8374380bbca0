"""Work that falls into independent parts of the rows, side by side on threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

FEWEST_ROWS = 32_768
"""Rows of a part that are worth a thread: starting one takes some 50 microseconds."""


def in_parts(work: Callable[[int, int], object], n_rows: int, n_threads: int) -> None:
    """Call `work(start, stop)`, which releases the interpreter lock, for parts that cover `range(n_rows)`."""
    n_parts = max(1, min(n_threads, n_rows // FEWEST_ROWS))
    bounds = [n_rows * part // n_parts for part in range(n_parts + 1)]
    if n_parts == 1:
        work(0, n_rows)
        return
    with ThreadPoolExecutor(n_parts) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))
