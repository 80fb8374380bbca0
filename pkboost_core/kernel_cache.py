"""Where compiled kernels are kept: a folder per version of the sources, used by one process at a time."""

import functools
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

UNUSED_DAYS = 30
"""A folder of other sources that no process has used for so long is removed."""


@functools.cache
def source_digest() -> str:
    """Hash of every source file of the package, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_directory() -> Path | None:
    """Return the directory compiled kernels are kept in, or None when no candidate can be written to.

    Candidates: NUMBA_CACHE_DIR, LEADSCORE_HOME/cache, XDG_CACHE_HOME or ~/.cache, the temporary directory.
    """
    candidates = [os.environ.get("NUMBA_CACHE_DIR")]
    if home := os.environ.get("LEADSCORE_HOME"):
        candidates.append(f"{home}/cache")
    candidates += [os.environ.get("XDG_CACHE_HOME") or "~/.cache", _private_temporary()]
    for candidate in filter(None, candidates):
        directory = Path(candidate).expanduser() / f"pkboost-{source_digest()}"
        if _is_writable(directory):
            return directory
    return None


def _private_temporary() -> str:
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    return f"{tempfile.gettempdir()}/pkboost-cache-{owner}"


def _is_writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=directory):
            return not hasattr(os, "getuid") or directory.stat().st_uid == os.getuid()
    except (OSError, RuntimeError):
        return False


def holds(directory: Path | None, function: Callable) -> bool:
    """Whether a directory holds machine code of a function, if perhaps for another kind of processor."""
    name = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"
    return directory is not None and any(directory.glob(f"*/{name}-*.nbi"))


@contextmanager
def alone_in(directory: Path | None) -> Iterator[None]:
    """Keep other processes from compiling into a directory: numba can crash where two write one kernel.

    Where files cannot be locked, nobody waits.
    """
    with suppress(OSError):
        if directory is not None:
            os.utime(directory)
    if directory is None or fcntl is None:
        yield
        return
    with (directory / "lock").open("w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_unused(directory: Path) -> None:
    """Remove folders beside this one, just used, that were last used more than `UNUSED_DAYS` before it."""
    oldest = directory.stat().st_mtime - UNUSED_DAYS * 86_400
    for other in directory.parent.glob("pkboost-*"):
        is_ours = re.fullmatch(r"pkboost-[0-9a-f]{16}", other.name) and not other.is_symlink()
        with suppress(OSError):
            if is_ours and other != directory and other.stat().st_mtime < oldest:
                shutil.rmtree(other, ignore_errors=True)
