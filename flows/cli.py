"""`leadscore`: commands in, one answer and an exit status out.

Exit status: 0 success, 1 failure, 2 wrong usage, 130 Ctrl-C, 143 terminated.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from cyclopts import App

from flows import interruption
from flows.commands import (
    data,
    db,
    doctor,
    evidence,
    explain,
    models,
    monitor,
    nights,
    privacy,
    replay,
    rescore,
    up,
    uplift,
    warmup,
)
from flows.commands.session import Answer, Output, UsageError, say

FAILURE, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

_DEFECTS = (ArithmeticError, AssertionError, AttributeError, IndexError, KeyError, NameError, TypeError)

app = App(
    name="leadscore",
    help=(
        "Score CRM leads every night: Postgres in, a ranked and explained SQL table out.\n\n"
        "State lives in LEADSCORE_HOME (.leadscore); LEADSCORE_DATABASE_URL names a Postgres of yours "
        "instead of the embedded one.\n\n"
        "Example: leadscore run"
    ),
    help_format="plaintext",
    version_flags=["--version"],
    version=lambda: version("leadscore"),
)
app.command(nights.run, sort_key=1)
app.command(nights.nightly, sort_key=2)
app.command(nights.train, sort_key=3)
app.command(nights.score, sort_key=4)
app.command(nights.retrain, sort_key=4)
app.command(explain.explain, sort_key=5)
app.command(rescore.rescore, sort_key=5)
app.command(data.simulate, sort_key=6)
app.command(data.import_, name="import", sort_key=7)
app.command(monitor.monitor, sort_key=8)
app.command(replay.replay, sort_key=8)
app.command(evidence.evidence, sort_key=8)
app.command(uplift.uplift, sort_key=8)
app.command(privacy.forget, sort_key=9)
app.command(privacy.export_subject, sort_key=9)
app.command(models.app)
app.command(db.app)
app.command(doctor.app)
app.command(up.up, sort_key=11)
app.command(warmup.warmup, sort_key=12)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command named in the arguments and return the exit status.

    Parameters
    ----------
    arguments : without the program's name; None reads them from the command line.
    """
    command, bound, _ = app.parse_args(sys.argv[1:] if arguments is None else arguments)
    output = next((value for value in bound.arguments.values() if isinstance(value, Output)), Output())
    with interruption.listening(), _stdout_for_the_answer(output.json) as stdout:
        try:
            answer = command(*bound.args, **bound.kwargs)
        except KeyboardInterrupt:
            answer = _stopped("stopped by Ctrl-C", INTERRUPTED)
        except interruption.Terminated:
            answer = _stopped("terminated", TERMINATED)
        except Exception as error:
            answer = _failure(error, output)
    if not isinstance(answer, Answer):  # --help and --version have printed already
        return 0
    with contextlib.redirect_stdout(stdout), contextlib.suppress(BrokenPipeError):
        answer.print(output.json)
    return answer.exit_code


def _failure(error: Exception, output: Output) -> Answer:
    from flows.adapters.logging import mask_passwords

    message = describe(error)
    file_only = logging.getLogger("leadscore.file_only")
    file_only.addHandler(logging.NullHandler())  # else an error before logs are set up is printed
    file_only.error("failed: %s", message, exc_info=error)
    if output.debug:
        print(mask_passwords("".join(traceback.format_exception(error))), file=sys.stderr)
    say(message)
    is_usage = isinstance(error, UsageError)
    return Answer({"status": "failed", "error": message}, None, USAGE if is_usage else FAILURE)


def _stopped(how: str, status: int) -> Answer:
    message = f"{how}; the last published scores are untouched"
    say(message)
    return Answer({"status": "stopped", "error": message}, None, status)


def describe(error: BaseException) -> str:
    """What went wrong in words for the person at the keyboard, without secrets."""
    from flows.adapters.logging import mask_passwords

    if isinstance(error, _DEFECTS):
        return mask_passwords(
            f"unexpected {type(error).__name__}: {error}; this is a defect, please report it"
        )
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return mask_passwords("; ".join(_setting_problem(detail) for detail in error.errors()))
    return mask_passwords(str(error).strip() or type(error).__name__)


def _setting_problem(detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"]).upper()
    name = name if name.startswith(("MLFLOW_", "PREFECT_")) else f"LEADSCORE_{name}"
    return f"setting {name}={detail['input']!r}: {detail['msg']}"


@contextlib.contextmanager
def _stdout_for_the_answer(as_json: bool) -> Iterator[Any]:
    """With --json, whatever a library prints goes to stderr: stdout carries one object."""
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield stdout
