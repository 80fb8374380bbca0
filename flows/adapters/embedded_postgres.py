"""The embedded Postgres of one home: made at first use, shared by commands, stopped by the last of them."""

import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from flows.adapters.postgres_binaries import (
    Binaries,
    ServerUnavailableError,
    find_account,
    find_binaries,
    make_shared_room,
)

USER = "leadscore"
DATABASE = "leadscore"
LONGEST_SOCKET_PATH = 103  # bytes: 107 on Linux, 103 on macOS
SOCKET_NAME_BYTES = len("/.s.PGSQL.65535")
LONGEST_LOG = 10_000_000
PATIENCE_SECONDS = 60
CONFIGURATION = """\
# Written by leadscore: one small server for one installation. Durability is left at its defaults (fsync on).
max_connections = 60
shared_buffers = 128MB
work_mem = 24MB
maintenance_work_mem = 128MB
max_wal_size = 1GB
min_wal_size = 32MB
wal_level = minimal
max_wal_senders = 0
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
cluster_name = 'leadscore'
password_encryption = 'scram-sha-256'
"""


@dataclass(frozen=True)
class Rooms:
    """Folders of one installation.

    Attributes
    ----------
    state : `<home>/postgres`: password, locks, the flag of `db up`.
    room : holds `data`, `run` (the socket) and the log: `state` itself, or, for root with a home that the
        server's account cannot enter, a folder under /var/lib/leadscore that `state/elsewhere` points to.
    """

    state: Path
    room: Path

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.room / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.room / "log" / "postgres.log"

    @property
    def sockets(self) -> Path:
        """Folder of the Unix socket."""
        return self.room / "run"

    @property
    def password(self) -> Path:
        """File with the generated password of the owner, mode 600."""
        return self.state / "password"

    @property
    def keep_flag(self) -> Path:
        """Present while `db up` wants the server to outlive its commands."""
        return self.state / "keep-running"


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
    state = _make_state(home)
    with (state / "in-use.lock").open("a") as in_use:
        with _starting_or_stopping(state):
            fcntl.flock(in_use, fcntl.LOCK_SH)
            parameters = _start(state)
        try:
            yield parameters
        finally:
            with _starting_or_stopping(state):
                if not keeps_running(home) and _is_alone(in_use):
                    _stop(_rooms(state))


def keep_running(home: Path, keep: bool) -> None:
    """Let the server outlive the commands that use it, or no longer."""
    flag = _make_state(home) / "keep-running"
    flag.touch() if keep else flag.unlink(missing_ok=True)


def keeps_running(home: Path) -> bool:
    """Whether `db up` is in force."""
    return (home / "postgres" / "keep-running").exists()


def server_pid(home: Path) -> int | None:
    """Process id of the home's running server, or None."""
    process = _postmaster(_rooms(home / "postgres"))
    return process.pid if process else None


def _make_state(home: Path) -> Path:
    state = home.resolve() / "postgres"
    state.parent.mkdir(parents=True, exist_ok=True)
    state.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        state.chmod(0o711)  # lets the server's account through to its data, and to nothing else
    return state


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


def _rooms(state: Path) -> Rooms:
    pointer = state / "elsewhere"
    return Rooms(state, pointer.resolve() if pointer.is_symlink() else state)


def _start(state: Path) -> dict[str, str]:
    """Make the cluster at first use, start it unless it runs, and say how to reach it."""
    rooms = _rooms(state)
    if not _settles(rooms):
        rooms, binaries = _prepare(rooms)
        _remove_foreign_pid_file(rooms)
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


def _prepare(rooms: Rooms) -> tuple[Rooms, Binaries]:
    version = rooms.data / "PG_VERSION"
    if version.exists() and rooms.password.exists():
        return rooms, find_binaries(int(version.read_text()))
    rooms, binaries = _choose_room(rooms), find_binaries()
    _initialise(rooms, binaries)
    return rooms, binaries


def _choose_room(rooms: Rooms) -> Rooms:
    """Keep the data in the home unless root's server account cannot get there."""
    account = find_account()
    if account is None or account.can_enter(rooms.room):
        return rooms
    room = make_shared_room() / secrets.token_hex(4)
    room.mkdir()
    room.chmod(0o711)
    (room / "home").write_text(f"{rooms.state.parent}\n")
    (rooms.state / "elsewhere").symlink_to(room)
    return Rooms(rooms.state, room)


def _initialise(rooms: Rooms, binaries: Binaries) -> None:
    """Make the cluster; a data directory half made by a killed command is thrown away first.

    The password file is the last thing written: its absence says that a data directory was never used.
    """
    shutil.rmtree(rooms.data, ignore_errors=True)
    for folder in (rooms.data, rooms.log.parent, rooms.sockets):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        _give(folder, binaries)
    password = secrets.token_urlsafe(24)
    draft = rooms.sockets / "password"
    _write_private(draft, password)
    _give(draft, binaries)
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if binaries.version >= 17 else []
    done = binaries.run(
        "initdb", f"--pgdata={rooms.data}", f"--username={USER}", f"--pwfile={draft}", "--auth=scram-sha-256",
        "--encoding=UTF8", "--no-locale", *locale, "--no-instructions",
    )  # fmt: skip
    draft.unlink()
    if done.returncode != 0:
        raise ServerUnavailableError(
            f"initdb failed in {rooms.data}: {done.stderr.strip() or done.stdout.strip()}"
        )
    synchronous_io = (
        "io_method = sync\n" if binaries.version >= 18 else ""
    )  # else three idle helper processes
    with (rooms.data / "postgresql.conf").open("a") as configuration:
        configuration.write("\n" + CONFIGURATION + synchronous_io)
    _write_private(rooms.password, password)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text)


def _give(path: Path, binaries: Binaries) -> None:
    if binaries.account is not None:
        os.chown(path, binaries.account.uid, binaries.account.gid)


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
        tail = (
            "\n".join(rooms.log.read_text(errors="replace").splitlines()[-8:]) if rooms.log.exists() else ""
        )
        raise ServerUnavailableError(
            f"the embedded Postgres did not start; its log {rooms.log} ends with:\n{tail}"
        )


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
    while _postmaster(rooms) is not None:
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
        ours = process.status() != psutil.STATUS_ZOMBIE and str(rooms.data) in process.cmdline()
    except (IndexError, ValueError, psutil.Error):
        return None
    return process if ours else None


def _remove_foreign_pid_file(rooms: Rooms) -> None:
    """Remove a pid file whose number now belongs to an unrelated process.

    Postgres itself copes with a number that is dead, and then also checks for orphaned backends; with a
    number that is alive it refuses to start. So only the second case is ours, and only when no process at
    all works in the data directory.
    """
    lines = _pid_file(rooms)
    if not lines or not psutil.pid_exists(int(lines[0])):
        return
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()) == rooms.data.resolve():
                raise ServerUnavailableError(
                    f"process {process.pid} still works in {rooms.data} but is no server to adopt;"
                    " end it, then try again"
                )
    (rooms.data / "postmaster.pid").unlink()
