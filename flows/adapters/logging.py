"""Logs: structlog's processors over the standard library, readable on stderr, JSON lines in a file.

Standard output is never written to: it belongs to the command's answer.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

OUR_PACKAGES = ("flows", "features", "simulator", "pkboost_core", "leadscore")
FILE_ONLY = "leadscore.file_only"
_TOLD_ANYWAY = ("prefect.flow_runs", "prefect.task_runs")  # how a run failed, twice with a traceback
_LOG_BYTES = 5 << 20
_PASSWORD_IN_URL = re.compile(r"(\w://[^\s:/@]+:)[^\s@/]+@")
_PASSWORD_IN_PAIRS = re.compile(r"(?i)(password['\"]?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;&)]+)")


def mask_passwords(text: str) -> str:
    """Replace what follows `user:` in a URL, and the value of any `password=`, by `***`."""
    return _PASSWORD_IN_PAIRS.sub(r"\1***", _PASSWORD_IN_URL.sub(r"\1***@", text))


def configure_logging(root: Path, verbose: bool = False) -> None:
    """Send logs to stderr and to `<root>/logs/leadscore.log`.

    On stderr our own messages from INFO on and the libraries' from WARNING on; everything from INFO on in the
    file. What Prefect says of a failed run is for the file alone: the command says it in one sentence. Must
    run before prefect is imported, which leaves a configured root logger alone.

    Parameters
    ----------
    root : the home; a home that cannot be written leaves the file out.
    verbose : show on stderr what the file holds.
    """
    handlers: list[logging.Handler] = [_stderr_handler(verbose)]
    handlers += _file_handlers(root / "logs" / "leadscore.log")
    top = logging.getLogger()
    for old in top.handlers[:]:
        top.removeHandler(old)
        old.close()
    for handler in handlers:
        top.addHandler(handler)
    top.setLevel(logging.INFO)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _CurrentStderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is now: rich replaces it while it shows progress."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """Masks passwords in the finished line, so that tracebacks are covered too."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_passwords(super().format(record))


def _stderr_handler(verbose: bool) -> logging.Handler:
    handler = _CurrentStderr()
    renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    handler.setFormatter(_formatter(renderer))
    if not verbose:
        handler.addFilter(_worth_showing)
    return handler


def _worth_showing(record: logging.LogRecord) -> bool:
    if record.name in (FILE_ONLY, "py.warnings", *_TOLD_ANYWAY):
        return False
    ours = record.name.partition(".")[0] in OUR_PACKAGES
    return record.levelno >= (logging.INFO if ours else logging.WARNING)


def _file_handlers(path: Path) -> list[logging.Handler]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".old.log"))
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError:
        return []
    handler.setFormatter(_formatter(structlog.processors.JSONRenderer(default=str)))
    return [handler]


def _formatter(renderer: Processor) -> logging.Formatter:
    return _MaskingFormatter(
        foreign_pre_chain=_shared(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _name_the_traceback,
            renderer,
        ],
    )


def _shared() -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%SZ", utc=True),
    ]


def _name_the_traceback(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    return structlog.processors.format_exc_info(logger, name, event)
