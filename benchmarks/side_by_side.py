"""Run independent parts of a benchmark in processes, one thread each, and keep what each found at once."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

import models

Found = TypeVar("Found")
Task = tuple[str, int, tuple[str, ...]]
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What keeps libraries whose threads cannot be set by an argument on one."""


def side_by_side(
    function: Callable[[str, int, tuple[str, ...]], Found], tasks: Sequence[Task], workers: int
) -> Iterator[tuple[Task, Found]]:
    """Call `function(*task)` for every task in `workers` processes; yield task and result as they end.

    A task is a set, a seed and the names of models, which are compiled before where they have to be. Says on
    standard error how far it is. The function has to be importable by name.
    """
    os.environ |= dict.fromkeys(ONE_THREAD, "1")
    names = {name for _, _, asked in tasks for name in asked}
    with ProcessPoolExecutor(workers, get_context("spawn"), models.warm_up, (names,)) as pool:
        futures = {pool.submit(function, *task): task for task in tasks}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                task = futures[future]
                yield task, future.result()
                print(f"{done} of {len(tasks)}: {task[0]}, seed {task[1]}", file=sys.stderr, flush=True)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
