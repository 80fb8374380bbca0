"""The embedded Postgres of one home: made at first use, shared by commands, stopped by the last of them."""

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from flows.adapters.postgres_binaries import SHARED_ROOM, Binaries, ServerUnavailableError
from flows.adapters.postgres_cluster import USER, Rooms, find_rooms, make_state, prepare

DATABASE = "leadscore"
LONGEST_SOCKET_PATH = 103  # bytes: 107 on Linux, 103 on macOS
SOCKET_NAME_BYTES = len("/.s.PGSQL.65535")
LONGEST_LOG = 10_000_000
PATIENCE_SECONDS = 60


@contextlib.contextmanager
def running(home: Path) -> Iterator[dict[str, str]]:
    """Connection parameters of the home's server, started if need be and stopped by the last who leaves.

    Every command holds a shared file lock while it uses the server. The kernel drops the lock of a killed
    command, so that the next one to end finds itself alone and stops a server left behind.

    Yields
    ------
    dict : host, port, user, password, dbname for libpq.

    Raises
    ------
    ServerUnavailableError : no binaries, or the server does not start; with the end of its log.
    """
    state = make_state(home)
    with (state / "in-use.lock").open("a") as in_use:
        with _starting_or_stopping(state):
            fcntl.flock(in_use, fcntl.LOCK_SH)
            parameters = _start(state)
        try:
            yield parameters
        finally:
            with _starting_or_stopping(state):
                if not keeps_running(home) and _is_alone(in_use):
                    _stop(find_rooms(state))


def keep_running(home: Path, keep: bool) -> None:
    """Let the server outlive the commands that use it, or no longer."""
    flag = make_state(home) / "keep-running"
    flag.touch() if keep else flag.unlink(missing_ok=True)


def keeps_running(home: Path) -> bool:
    """Whether `db up` is in force."""
    return (home / "postgres" / "keep-running").exists()


def revive(home: Path) -> None:
    """Start the home's server again if it died under a command that is still using it."""
    state = make_state(home)
    with _starting_or_stopping(state):
        _start(state)


def server_pid(home: Path) -> int | None:
    """Process id of the home's running server, or None."""
    process = _postmaster(find_rooms(home.resolve() / "postgres"))
    return process.pid if process else None


@contextlib.contextmanager
def _starting_or_stopping(state: Path) -> Iterator[None]:
    with (state / "start-stop.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_alone(in_use: IO[str]) -> bool:
    try:
        fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(state: Path) -> dict[str, str]:
    """Make the cluster at first use, start it unless it runs, and say how to reach it."""
    rooms = find_rooms(state)
    if not _settles(rooms):
        _remove_abandoned_rooms()
        rooms, binaries = prepare(rooms)
        _clear_traces(rooms)
        _launch(rooms, binaries)
    lines = _pid_file(rooms)
    return {
        "host": lines[4].strip() or "127.0.0.1",
        "port": lines[3].strip(),
        "user": USER,
        "password": rooms.password.read_text().strip(),
        "dbname": DATABASE,
    }


def _settles(rooms: Rooms) -> bool:
    """Whether a server runs, after waiting for one that a killed command left starting or stopping."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (process := _postmaster(rooms)) is not None:
        lines = _pid_file(rooms)
        if len(lines) > 7 and lines[7].strip() == "ready":
            return True
        if time.monotonic() > deadline:
            raise ServerUnavailableError(
                f"Postgres (process {process.pid}) in {rooms.data} neither starts nor stops"
            )
        time.sleep(0.02)
    return False


def _launch(rooms: Rooms, binaries: Binaries) -> None:
    """Start the server in a session of its own and wait until it answers."""
    if rooms.log.exists() and rooms.log.stat().st_size > LONGEST_LOG:
        rooms.log.replace(rooms.log.with_suffix(".log.1"))
    fits = len(os.fsencode(rooms.sockets)) + SOCKET_NAME_BYTES <= LONGEST_SOCKET_PATH
    sockets = shlex.quote(f'"{rooms.sockets}"' if fits else "")
    options = f"-c listen_addresses=127.0.0.1 -c port={_port(rooms)} -c unix_socket_directories={sockets}"
    done = binaries.run(
        "pg_ctl", "start", "--wait", "--timeout=120", f"--pgdata={rooms.data}", f"--log={rooms.log}",
        f"--options={options}",
    )  # fmt: skip
    if done.returncode != 0:
        raise ServerUnavailableError(f"the embedded Postgres did not start; {_end_of_log(rooms)}")


def _end_of_log(rooms: Rooms) -> str:
    lines = rooms.log.read_text(errors="replace").splitlines()[-8:] if rooms.log.exists() else []
    return "\n".join([f"its log {rooms.log} ends with:", *lines])


def _port(rooms: Rooms) -> int:
    """The port of last time if it is still free, so that bookmarks in BI tools stay valid."""
    file = rooms.state / "port"
    wanted = int(file.read_text()) if file.exists() else 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file.write_text(str(port))
    return port


def _stop(rooms: Rooms) -> None:
    """Shut the server down, disconnecting whoever is left; nothing to do when it does not run."""
    process = _postmaster(rooms)
    if process is None:
        return
    process.send_signal(signal.SIGINT)  # Postgres' "fast" shutdown
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _is_alive(process):  # the pid file goes a moment earlier
        if time.monotonic() > deadline:
            raise ServerUnavailableError(f"Postgres (process {process.pid}) in {rooms.data} does not stop")
        time.sleep(0.01)


def _pid_file(rooms: Rooms) -> list[str]:
    try:
        return (rooms.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _postmaster(rooms: Rooms) -> psutil.Process | None:
    """The running server of this data directory, proved by its command line, not by its number alone."""
    lines = _pid_file(rooms)
    try:
        process = psutil.Process(int(lines[0]))
        ours = _is_alive(process) and str(rooms.data) in process.cmdline()
    except (IndexError, ValueError, psutil.Error):
        return None
    return process if ours else None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _clear_traces(rooms: Rooms) -> None:
    """Remove what a killed server left behind and would keep the next one from starting.

    Postgres copes by itself with a pid file whose number is dead, and then also looks for orphaned
    backends. A number that is alive, because it went to another process or to a zombie, makes it refuse:
    that case is ours, once no process works in the data directory any more. Nobody else uses the folder
    of the socket.
    """
    lines = _pid_file(rooms)
    if lines and psutil.pid_exists(int(lines[0])):
        _await_orphans(rooms)
        (rooms.data / "postmaster.pid").unlink()
    for trace in rooms.sockets.glob(".s.PGSQL.*"):
        trace.unlink()


def _await_orphans(rooms: Rooms) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while orphans := [p.pid for p in psutil.process_iter() if _works_in(p, rooms.data)]:
        if time.monotonic() > deadline:
            raise ServerUnavailableError(
                f"process {orphans[0]} still works in {rooms.data} but is no server to adopt; end it first"
            )
        time.sleep(0.05)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()) == folder.resolve()
    except (psutil.Error, OSError):
        return False


def _remove_abandoned_rooms() -> None:
    """Remove root's rooms outside a home when that home was in the temporary directory and is gone.

    A home elsewhere may be on a disk that is not mounted now: its room stays until somebody removes it. Other
    users have no such rooms and cannot see whether root's homes are gone.
    """
    if os.geteuid() != 0:
        return
    for note in SHARED_ROOM.glob("*/home"):
        home = Path(note.read_text().strip())
        if home.is_relative_to(Path(tempfile.gettempdir()).resolve()) and not home.exists():
            _stop(Rooms(home / "postgres", note.parent))
            shutil.rmtree(note.parent, ignore_errors=True)
