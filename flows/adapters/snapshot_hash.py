"""One hash of all data a night saw, the same for any order of rows."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl


class _HashSink(io.RawIOBase):
    """A file that keeps nothing but the hash of what is written to it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return len(data)


def snapshot_hash(frames: Mapping[str, pl.DataFrame], keys: Mapping[str, Sequence[str]]) -> str:
    """Hash the frames' content: names, types and rows sorted by key, as CSV text.

    CSV rather than Arrow buffers: those depend on how strings happen to lie in memory. A million rows of four
    columns cost .3 s.

    Parameters
    ----------
    frames : by name.
    keys : the columns that make a row of each frame unique.

    Returns
    -------
    str : sha256, 64 hexadecimal digits.
    """
    sink = _HashSink()
    for name in sorted(frames):
        frame = frames[name]
        sink.write(repr((name, [(column, str(dtype)) for column, dtype in frame.schema.items()])).encode())
        frame.sort(keys[name]).write_csv(sink)  # type: ignore[call-overload]
    return sink.hash.hexdigest()
