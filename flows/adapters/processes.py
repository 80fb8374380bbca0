"""Child processes that never outlive us."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from flows.adapters import memory

_TAIL_LINES = 15
_LOG_BYTES = 1 << 20
_PORTS = range(20_000, 30_000)  # below what systems hand out to outgoing connections


class Child:
    """A Python module in a process and process group of its own, its output appended to a log file.

    It ends with `stop`, or by itself when this process ends, kill -9 included (see `flows.adapters.child`).
    Ctrl-C reaches only us, so that what the child serves is still there while we finish. Its memory is not
    counted as ours (see `flows.adapters.memory`).
    """

    def __init__(self, module: str, arguments: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".old.log"))
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                [sys.executable, "-m", "flows.adapters.child", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                process_group=None if sys.platform == "win32" else 0,
            )
        memory.leave_out(self.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._process.poll()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End it and what it started: politely, and by force after `timeout_seconds`. Safe to call twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._end_group(timeout_seconds)
            self._process.stdin.close()

    def _end_group(self, timeout_seconds: float) -> None:
        """End processes that outlived the one that started them."""
        left = [process for process in psutil.process_iter() if _is_in_group(process, self.pid)]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in psutil.wait_procs(left, timeout_seconds)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def log_tail(self) -> str:
        """The last lines written since it started; nothing where the log was moved away."""
        try:
            written = self.log.read_bytes()[self._log_start :]
        except OSError:
            return ""
        return "\n".join(written.decode(errors="replace").splitlines()[-_TAIL_LINES:])


def _is_in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ProcessLookupError, AttributeError):  # no groups on Windows
        return False


def why_not_free(port: int, host: str = "127.0.0.1") -> str | None:
    """Why nobody can begin to listen on a port now, in the system's words; None where one can."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on now, outside the range used for outgoing connections."""
    for _ in range(100):
        port = random.choice(_PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
            try:
                candidate.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError(
        f"no free port on {host} between {_PORTS.start} and {_PORTS.stop}; close some other servers"
    )
