"""Ctrl-C and SIGTERM: they wait where an exception would do harm, and come afterwards."""

import signal
import threading
from collections.abc import Iterator

import polars as pl
import psycopg
import pytest

from flows import interruption
from flows.adapters.copy_frame import copy_frame


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    with interruption.listening():
        yield


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, interruption.Terminated)]
)
def test_a_request_waits_until_the_body_is_over(number: signal.Signals, error: type[BaseException]):
    done = list[int]()

    def body() -> None:
        with interruption.deferred():
            signal.raise_signal(number)
            done.append(1)

    with pytest.raises(error):
        body()
    assert done
    with pytest.raises(error):
        signal.raise_signal(number)


def test_two_requests_are_one():
    def body() -> None:
        with interruption.deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        body()


def test_without_a_request_nothing_comes():
    with interruption.deferred():
        pass
    interruption.check()


def test_a_failure_of_the_body_is_kept_beside_the_request():
    def body() -> None:
        with interruption.deferred():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("what broke")

    with pytest.raises(KeyboardInterrupt) as stopped:
        body()
    assert isinstance(stopped.value.__context__, ValueError)


def test_other_threads_go_on():
    def body() -> None:
        with interruption.deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    seen, before = list[object](), signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.fixture
def _alarm_is_ctrl_c() -> Iterator[None]:
    """A timer of this process sends SIGALRM, which becomes Ctrl-C."""
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_alarm_is_ctrl_c")
def test_a_request_during_a_copy_leaves_a_connection_that_can_end_its_transaction(owner: psycopg.Connection):
    """psycopg's lock of the connection would be held for ever, and a stopped command would hang."""
    frame = pl.DataFrame({"a": range(200)})
    owner.execute("CREATE TEMP TABLE numbers (a int)")
    stopped = 0
    for k in range(300):
        try:
            with owner.transaction():
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + 0.000004 * k)
                copy_frame(owner, "COPY numbers FROM STDIN (FORMAT csv)", frame)
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            stopped += 1
        assert not owner.lock.locked()
    rows = owner.execute("SELECT count(*) FROM numbers").fetchone()
    assert rows == (200 * (300 - stopped),)
    assert stopped
