"""Keep services running: start them in order, start again what dies, stop them in reverse."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

STEADY_SECONDS = 120.0
"""A service that lived so long died of something new: the pause starts anew."""


class Process(Protocol):
    """What a supervisor needs of a running service."""

    @property
    def exit_code(self) -> int | None:
        """Its exit status, or None while it runs."""

    def stop(self) -> None:
        """End it; safe to call twice."""

    def log_tail(self) -> str:
        """The last lines it wrote."""


@dataclass(frozen=True)
class Service:
    """Something to keep running.

    Attributes
    ----------
    start : start it, and return it running.
    wait_ready : block until it serves, or raise; the next service starts after that.
    """

    name: str
    start: Callable[[], Process]
    wait_ready: Callable[[Process], None] = lambda _: None


@dataclass
class _Kept:
    service: Service
    process: Process
    began: float
    pause: float
    due: float | None = None


class Supervisor:
    """Runs services until it is interrupted.

    Parameters
    ----------
    services : in the order in which they need each other.
    say : told, in words, whatever happens to a service.
    pauses : seconds before a service is started again, at first and at most; doubled while it keeps dying.
    poll_seconds : how often services are looked at.
    """

    def __init__(
        self,
        services: Sequence[Service],
        say: Callable[[str], None],
        pauses: tuple[float, float] = (1.0, 60.0),
        poll_seconds: float = 0.5,
    ) -> None:
        self._services = services
        self._say = say
        self._first_pause, self._longest_pause = pauses
        self._poll_seconds = poll_seconds
        self._kept: list[_Kept] = []

    def start(self) -> None:
        """Start every service; what has started is stopped again when one does not.

        Raises
        ------
        RuntimeError : a service ended, or does not answer, while it started.
        """
        try:
            for service in self._services:
                process = service.start()
                self._kept.append(_Kept(service, process, time.monotonic(), self._first_pause))
                service.wait_ready(process)
        except BaseException:
            self.stop()
            raise

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Start again what dies, until interrupted or `until` says so."""
        while not until():
            for kept in self._kept:
                self._look_at(kept, time.monotonic())
            time.sleep(self._poll_seconds)

    def stop(self) -> None:
        """Stop every service, the last one first."""
        while self._kept:
            self._kept.pop().process.stop()

    def _look_at(self, kept: _Kept, now: float) -> None:
        if kept.process.exit_code is None:
            return
        if kept.due is None:
            kept.pause = self._first_pause if now - kept.began > STEADY_SECONDS else kept.pause
            kept.due = now + kept.pause
            self._say(
                f"{kept.service.name} ended with status {kept.process.exit_code};"
                f" starting it again in {kept.pause:g} s\n{kept.process.log_tail()}".rstrip()
            )
        if now >= kept.due:
            self._start_again(kept)

    def _start_again(self, kept: _Kept) -> None:
        kept.process.stop()
        kept.due, kept.pause, kept.began = None, min(2 * kept.pause, self._longest_pause), time.monotonic()
        try:
            kept.process = kept.service.start()
        except (OSError, RuntimeError) as error:
            kept.due = time.monotonic() + kept.pause
            self._say(f"{kept.service.name} does not start: {error}")
            return
        self._say(f"{kept.service.name} runs again")
