"""What a long command is doing: named stages on stderr, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from flows import interruption

if TYPE_CHECKING:
    from rich.console import Console


class Progress:
    """Named stages of a command, shown while they run and timed for the report.

    Parameters
    ----------
    console : rich console on stderr, or None to show nothing and only keep the time.

    Attributes
    ----------
    seconds : stage -> wall seconds, in the order the stages began; a repeated stage adds up.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._open: list[str] = []
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under `name`, with a spinner on a terminal and one line when it is over.

        A stage inside a stage is timed too, but only the outer one is shown. None begins after Ctrl-C.
        """
        interruption.check()
        self.seconds.setdefault(name, 0.0)
        start = time.perf_counter()
        outermost = not self._open
        self._open.append(name)
        try:
            with self._spinner(name) if outermost else nullcontext():
                yield
        finally:
            self._open.pop()
            spent = time.perf_counter() - start
            self.seconds[name] += spent
        if outermost:
            self._tell(name, spent)

    def _spinner(self, name: str) -> AbstractContextManager[object]:
        if self._console is None or not self._console.is_terminal:
            return nullcontext()
        return self._console.status(f"{name} ...")

    def _tell(self, name: str, spent: float) -> None:
        if self._console is not None:
            self._console.print(f"  {name:<28} {spent:6.1f} s", style="dim", highlight=False)
