"""A home of a benchmark's own, and no settings but the product's defaults."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def own_home() -> Iterator[Path]:
    """Yield a folder with a path short enough for a socket, which the account of Postgres can enter."""
    with tempfile.TemporaryDirectory(prefix="ls-", dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o711)
        yield home


def forget_settings() -> None:
    """Take the environment's settings away, but where the real sets are."""
    for name in [n for n in os.environ if n.startswith("LEADSCORE_") and n != "LEADSCORE_DATA_DIR"]:
        del os.environ[name]
