"""The Python side of a team: threads that wait for work and hand themselves to compiled code."""

import os
import threading

from pkboost_core.compiled import is_jit_enabled
from pkboost_core.grower import grow_tree
from pkboost_core.jobs import MOST_CHUNKS, Growth
from pkboost_core.team import CLOSED, make_team


class Crew:
    """Grows trees on several threads; the trees are the same, byte for byte, for any number.

    Helpers sleep until the first tree, spin inside compiled code while trees are grown, and end with `close`.
    There are no more threads than processors: one that spins where another should run would only delay it.
    """

    def __init__(self, growth: Growth, n_threads: int) -> None:
        self.growth = growth
        size = min(n_threads, os.cpu_count() or 1) if is_jit_enabled() else 1
        _, n_channels, width = growth.histograms.shape
        self._team = make_team(size, 2 * MOST_CHUNKS, n_channels, width)
        self._wake = [threading.Event() for _ in range(size - 1)]
        self._helpers = [
            threading.Thread(target=self._help, args=(i,), name=f"pkboost-{i}", daemon=True)
            for i in range(1, size)
        ]
        for helper in self._helpers:
            helper.start()

    def grow(self, n_rows: int) -> int:
        """Grow one tree on `growth.elements[:n_rows]`; return its number of nodes."""
        for event in self._wake:
            event.set()
        return grow_tree(self.growth, self._team, 0, n_rows)

    def close(self) -> None:
        """End the helpers."""
        self._team.control[CLOSED] = 1
        for event in self._wake:
            event.set()
        for helper in self._helpers:
            helper.join()

    def _help(self, thread: int) -> None:
        event = self._wake[thread - 1]
        while not self._team.control[CLOSED]:
            event.wait()
            event.clear()
            grow_tree(self.growth, self._team, thread, 0)
