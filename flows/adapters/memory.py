"""Memory: the peak of our own process tree, servers it started left out, and how to give some back."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import psutil

_MIB = 1 << 20
_servers: set[int] = set()


@contextmanager
def not_counted(pid: int) -> Iterator[None]:
    """Leave process `pid` and all it starts out of every measurement while the body runs."""
    leave_out(pid)
    try:
        yield
    finally:
        _servers.discard(pid)


def leave_out(pid: int) -> None:
    """Leave process `pid` and all it starts out of every measurement from now on."""
    _servers.add(pid)


def give_back() -> None:
    """Return what is free to the system, where the C library can (glibc).

    Freed blocks lie scattered among used ones: without this a process that lives through fifty nights grows
    by half, though it holds no more than after the first.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


class PeakMemory:
    """Highest resident memory of this process and its children together while the body ran.

    A thread samples the tree; because a compiled kernel can keep that thread waiting, this process's own
    peak as the operating system recorded it counts too.

    Parameters
    ----------
    sample_seconds, children_seconds : how often memory is read and how often the children are listed. One
        sample costs about 20 microseconds a process; listing reads all processes of the machine, about 2 ms.
    """

    def __init__(self, sample_seconds: float = 0.05, children_seconds: float = 0.5) -> None:
        self._sample_seconds = sample_seconds
        self._children_seconds = children_seconds
        self._self = psutil.Process()
        self._children: list[psutil.Process] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self._peak = 0
        self._recorded_before = 0

    def __enter__(self) -> PeakMemory:
        self._recorded_before = _recorded_peak()
        self._list_children()
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._list_children()
        self._sample()

    @property
    def peak_rss_mb(self) -> float:
        """MiB; may be read while the body still runs."""
        recorded = _recorded_peak()
        own = recorded if recorded > self._recorded_before else 0
        return max(self._peak, own) / _MIB

    def _watch(self) -> None:
        listed = time.monotonic()
        while not self._stop.wait(self._sample_seconds):
            if time.monotonic() - listed >= self._children_seconds:
                self._list_children()
                listed = time.monotonic()
            self._sample()

    def _list_children(self) -> None:
        self._children = list(_counted(self._self))

    def _sample(self) -> None:
        self._peak = max(self._peak, sum(_rss(process) for process in [self._self, *self._children]))


def _counted(process: psutil.Process) -> Iterator[psutil.Process]:
    """Descendants of `process`, without the servers and their descendants."""
    try:
        children = process.children(recursive=True)
    except psutil.Error:
        return
    left_out = set(_servers)
    for child in children:  # parents come before their children
        try:
            if child.pid in left_out or child.ppid() in left_out:
                left_out.add(child.pid)
            else:
                yield child
        except psutil.Error:
            continue


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _recorded_peak() -> int:
    """Bytes of this process's highest resident memory since it began, as the operating system recorded it."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    recorded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return recorded if sys.platform == "darwin" else recorded * 1024
