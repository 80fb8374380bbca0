"""Ctrl-C and SIGTERM that cannot get lost.

Python drops an exception that a signal raises inside a finalizer, a weak reference's callback or an import
hook: the command would go on as if nobody had asked. So the request is also kept, and long work asks for it
between its stages.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

_asked: BaseException | None = None


class Terminated(BaseException):
    """SIGTERM arrived."""


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt and SIGTERM Terminated, so that servers we started are stopped."""
    global _asked
    _asked = None
    before = {number: signal.signal(number, _unwind) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        _asked = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Ignore further requests while the body stops things: it is on its way, and must be short."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the body is over, whoever handles them; the first of them comes then.

    For a COPY: psycopg holds the connection's lock from its beginning to its end, and an exception that a
    signal raises at either border of the block leaves it held. The transaction's end would wait for ever.
    """
    if threading.current_thread() is not threading.main_thread():  # signals do not come to other threads
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


def check() -> None:
    """Raise what a signal asked for if the first time was dropped."""
    if _asked is not None:
        raise _asked


def _unwind(number: int, _frame: Any) -> NoReturn:
    global _asked
    _asked = KeyboardInterrupt() if number == signal.SIGINT else Terminated()
    raise _asked
