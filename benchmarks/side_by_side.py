"""Run independent parts of a benchmark in processes, one thread each, and keep what each found at once."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

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


def kept(file: Path | None, is_anew: bool = False) -> list[dict[str, Any]]:
    """Return what a file holds of an earlier run, one JSON object a line; one cut short is taken out.

    `is_anew` deletes the file: everything is to be measured.
    """
    if file is None or not file.exists():
        return []
    if is_anew:
        file.unlink()
        return []
    text = file.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:  # else the next line would be joined to what is left of the last
        file.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]


def keep(file: Path | None, lines: Iterable[dict[str, Any]]) -> None:
    """Add JSON lines to a file, where one is given."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in lines)
