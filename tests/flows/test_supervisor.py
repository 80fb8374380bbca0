"""Services start in order, come back when they die, ever more slowly, and stop in reverse."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from flows.supervisor import Service, Supervisor


class Sleeper:
    """A real process that ends after so many seconds."""

    def __init__(self, events: list[str], name: str, seconds: float) -> None:
        self._events, self._name = events, name
        self._process = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
        events.append(f"start {name}")

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._events.append(f"stop {self._name}")
        self._process.kill()
        self._process.wait()

    def log_tail(self) -> str:
        return "its last words"


def supervise(services: list[Service], say: Callable[[str], None]) -> Supervisor:
    return Supervisor(services, say, pauses=(0.05, 0.2), poll_seconds=0.02)


def test_services_start_in_order_and_stop_in_reverse() -> None:
    events: list[str] = []
    services = [Service(name, lambda name=name: Sleeper(events, name, 60)) for name in "ab"]
    kept = supervise(services, events.append)
    kept.start()
    kept.stop()
    assert events == ["start a", "start b", "stop b", "stop a"]


def test_what_dies_comes_back_and_says_why() -> None:
    events: list[str] = []
    lives = iter([0.1, 60])
    kept = supervise([Service("a", lambda: Sleeper(events, "a", next(lives)))], events.append)
    kept.start()
    deadline = time.monotonic() + 20
    kept.watch(until=lambda: "a runs again" in events or time.monotonic() > deadline)
    kept.stop()
    died = next(event for event in events if event.startswith("a ended"))
    assert died == "a ended with status 0; starting it again in 0.05 s\nits last words"
    assert events.count("start a") == 2


def test_a_service_that_does_not_start_stops_the_others() -> None:
    events: list[str] = []

    def refuse(_: object) -> None:
        raise RuntimeError("no answer")

    kept = supervise(
        [
            Service("a", lambda: Sleeper(events, "a", 60)),
            Service("b", lambda: Sleeper(events, "b", 60), refuse),
        ],
        events.append,
    )
    with pytest.raises(RuntimeError, match="no answer"):
        kept.start()
    assert events == ["start a", "start b", "stop b", "stop a"]


def test_the_pause_grows_while_a_service_keeps_dying() -> None:
    starts: list[float] = []

    def start() -> Sleeper:
        starts.append(time.monotonic())
        return Sleeper([], "a", 0)

    kept = supervise([Service("a", start)], lambda _: None)
    kept.start()
    deadline = time.monotonic() + 30
    kept.watch(until=lambda: len(starts) >= 5 or time.monotonic() > deadline)
    kept.stop()
    assert len(starts) >= 5
    assert starts[4] - starts[3] > 0.2


def test_a_service_that_cannot_start_again_is_tried_again() -> None:
    events: list[str] = []
    tries = iter([0.05, OSError("no room"), 60])

    def start() -> Sleeper:
        life = next(tries)
        if isinstance(life, OSError):
            raise life
        return Sleeper(events, "a", life)

    kept = supervise([Service("a", start)], events.append)
    kept.start()
    deadline = time.monotonic() + 20
    kept.watch(until=lambda: "a runs again" in events or time.monotonic() > deadline)
    kept.stop()
    assert "a does not start: no room" in events
    assert events.count("start a") == 2
