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
    with _handled_by(_unwind):
        try:
            yield
        finally:
            _asked = None


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Ignore further requests while the body stops things: it is on its way, and must be short."""
    with _handled_by(signal.SIG_IGN):
        yield


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
    try:
        with _handled_by(lambda number, _: came.append(number)):
            yield
    finally:
        for first in came[:1]:
            signal.raise_signal(first)


def check() -> None:
    """Raise what a signal asked for if the first time was dropped."""
    if _asked is not None:
        raise _asked


@contextlib.contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    """Give SIGINT and SIGTERM to a handler, and back to theirs."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, theirs in before.items():
            signal.signal(number, theirs)


def _unwind(number: int, _frame: Any) -> NoReturn:
    global _asked
    _asked = KeyboardInterrupt() if number == signal.SIGINT else Terminated()
    raise _asked
