"""Erase a subject from the files of a home: reports, logs, artefacts, databases of Prefect and MLflow."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.adapters.erasure_tables import erase_from_sqlite
from flows.redaction import Subject, is_distinctive, without_in_html, without_in_text, without_lines

NOT_OURS = frozenset(("postgres",))
"""Folders of a home left alone: the embedded server's files, whose tables are erased by SQL."""
MODEL_FILES = frozenset(("lead_model.json", "features.json"))
"""Places in these files are codes: what names the subject is overwritten, not removed."""
_SQLITE = b"SQLite format 3\x00"

Edit = Callable[[str, Subject], str]


class UnreadableError(ValueError):
    """A file that cannot be edited holds the id."""


def erase_from_home(root: Path, subject: Subject) -> tuple[Counter[str], list[str]]:
    """Take a subject out of every text and SQLite file below `root`.

    Returns
    -------
    counts : files changed, by folder; texts changed, by SQLite file.
    not_reached : files that could not be changed, with the reason; their names are of our making.
    """
    counts: Counter[str] = Counter()
    not_reached: list[str] = []
    for path in _files(root):
        place = path.relative_to(root)
        try:
            if _is_sqlite(path):
                counts[f"file {place}"] += erase_from_sqlite(path, subject)
            else:
                counts[f"files {place.parts[0]}"] += _erase_from_file(path, subject)
        except (OSError, sqlite3.Error, UnreadableError) as error:
            not_reached.append(f"{place}: {error}")
    return +counts, not_reached


def edit_for(name: str) -> Edit:
    """How a file of this name is edited."""
    if name in MODEL_FILES:
        return lambda text, subject: subject.overwritten(text)
    if name.endswith((".log", ".jsonl", ".txt", ".csv")):
        return without_lines
    return without_in_html if name.endswith((".html", ".svg")) else without_in_text


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name not in NOT_OURS]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and not name.endswith(("-wal", "-shm")):
                yield path


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _erase_from_file(path: Path, subject: Subject) -> int:
    content = path.read_bytes()
    if not any(spelling.encode() in content for spelling in subject.spellings):
        return 0
    try:
        text = content.decode()
    except UnicodeDecodeError:
        if any(is_distinctive(name) and name.encode() in content for name in subject.ids):
            raise UnreadableError("not text, and holds the id: left as it is") from None
        return 0  # a few letters or digits: a chance match
    new = edit_for(path.name)(text, subject)
    if new == text:
        return 0
    _write_in_place(path, new)
    return 1


def _write_in_place(path: Path, text: str) -> None:
    """Overwrite the same file: a log that a process writes to stays the one it writes to."""
    with path.open("r+b") as file:
        file.write(text.encode())
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
