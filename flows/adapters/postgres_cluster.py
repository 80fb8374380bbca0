"""The data directory of the embedded Postgres: where it lives and how it is made."""

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from flows.adapters.postgres_binaries import (
    Binaries,
    ServerUnavailableError,
    find_account,
    find_binaries,
    make_shared_room,
)

USER = "leadscore"
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


def make_state(home: Path) -> Path:
    """Folder `<home>/postgres`, made if need be."""
    state = home.resolve() / "postgres"
    state.parent.mkdir(parents=True, exist_ok=True)
    state.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        state.chmod(0o711)  # lets the server's account through to its data, and to nothing else
    return state


def find_rooms(state: Path) -> Rooms:
    """The folders of an installation, following the pointer of a private home."""
    pointer = state / "elsewhere"
    return Rooms(state, pointer.resolve() if pointer.is_symlink() else state)


def prepare(rooms: Rooms) -> tuple[Rooms, Binaries]:
    """Make the data directory unless it is there, and find the binaries for it.

    Raises
    ------
    ServerUnavailableError : no binaries, initdb failed, or the password file is gone.
    """
    version = rooms.data / "PG_VERSION"
    if not version.exists():
        rooms, binaries = _choose_room(rooms), find_binaries()
        _initialise(rooms, binaries)
        return rooms, binaries
    if not rooms.password.exists():
        raise ServerUnavailableError(
            f"{rooms.password} is gone: restore it, or remove {rooms.data} to start anew"
        )
    return rooms, find_binaries(int(version.read_text()))


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
    """Make the data directory under another name and rename it, so that it is whole or not there."""
    draft = rooms.data.with_name("data.draft")
    shutil.rmtree(draft, ignore_errors=True)
    for folder in (draft, rooms.log.parent, rooms.sockets):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        _give(folder, binaries)
    _write_private(rooms.password, secrets.token_urlsafe(24))
    _run_initdb(draft, rooms, binaries)
    with (draft / "postgresql.conf").open("a") as configuration:
        configuration.write("\n" + CONFIGURATION)
        if binaries.version >= 18:
            configuration.write("io_method = sync\n")  # the default keeps three helper processes
    draft.rename(rooms.data)


def _run_initdb(draft: Path, rooms: Rooms, binaries: Binaries) -> None:
    password = rooms.sockets / "password"  # a copy that the server's account can read while initdb runs
    _write_private(password, rooms.password.read_text())
    _give(password, binaries)
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if binaries.version >= 17 else []
    done = binaries.run(
        "initdb", f"--pgdata={draft}", f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256",
        "--encoding=UTF8", "--no-locale", *locale,
    )  # fmt: skip
    password.unlink()
    if done.returncode != 0:
        raise ServerUnavailableError(
            f"initdb failed in {draft}: {done.stderr.strip() or done.stdout.strip()}"
        )


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text)


def _give(path: Path, binaries: Binaries) -> None:
    if binaries.account is not None:
        os.chown(path, binaries.account.uid, binaries.account.gid)
