"""What every command shares: options, an answer to give back, settings and a database."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from flows.adapters.database import Database
    from flows.adapters.settings import Settings
    from flows.progress import Progress

_COMMON = Group("Common options", sort_key=99)
_PIPE_WIDTH = 140


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True)
class Output:
    """How a command speaks."""

    json: Annotated[bool, Parameter(negative="", help="Print one JSON object on stdout, logs on stderr.")] = (
        False
    )
    verbose: Annotated[bool, Parameter(negative="", help="Show the libraries' messages too.")] = False
    debug: Annotated[bool, Parameter(negative="", help="Show the traceback when something fails.")] = False


DEFAULT_OUTPUT = Output()


class UsageError(ValueError):
    """Arguments that do not fit together; exit status 2."""


@dataclass(frozen=True)
class Answer:
    """What a command gives back.

    Attributes
    ----------
    payload : printed by `--json`.
    render : makes what people read: text, or anything rich can print; None prints nothing.
    exit_code : 0 for success.
    """

    payload: Mapping[str, Any]
    render: Callable[[], RenderableType] | None
    exit_code: int = 0

    def print(self, as_json: bool) -> None:
        """Write the answer to standard output."""
        if as_json:
            sys.stdout.write(json.dumps(_plain(self.payload), allow_nan=False) + "\n")
        elif self.render is not None:
            shown = self.render()
            console_on(sys.stdout).print(shown, soft_wrap=isinstance(shown, str), markup=False)
        sys.stdout.flush()


def console_on(stream: Any) -> Console:
    """A rich console on stdout or stderr; wide enough for tables when it is no terminal."""
    from rich.console import Console

    return Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH, highlight=False)


def say(text: str) -> None:
    """Write a line of our own to stderr, passwords masked."""
    from flows.adapters.logging import mask_passwords

    print(f"leadscore: {mask_passwords(text)}", file=sys.stderr, flush=True)


@contextmanager
def opened(output: Output) -> Iterator[tuple[Settings, Progress]]:
    """Settings from the environment, with caches, logs and progress ready."""
    from flows.adapters.environment import prepare_environment
    from flows.adapters.logging import configure_logging
    from flows.adapters.settings import Settings
    from flows.progress import Progress

    settings = Settings()
    prepare_environment(settings.root)
    configure_logging(settings.root, output.verbose)
    yield settings, Progress(console_on(sys.stderr))


@contextmanager
def database_of(settings: Settings, progress: Progress) -> Iterator[Database]:
    """The migrated database of these settings."""
    from flows.adapters.database import open_database
    from flows.adapters.migrations import migrate

    with ExitStack() as stack:
        with progress.stage("open the database"):
            database = stack.enter_context(open_database(settings))
            migrate(database)
        yield database


def _plain(value: Any) -> Any:
    """JSON has no dates and no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return _plain(value.item()) if hasattr(value, "item") else str(value)
