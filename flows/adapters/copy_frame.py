"""A frame into a table by COPY: the one way in which rows in numbers are written."""

from typing import Any

import polars as pl
import psycopg
from psycopg.abc import Query

from flows.interruption import deferred

BLOCK_ROWS = 50_000


def copy_frame(
    connection: psycopg.Connection[Any],
    statement: Query,
    frame: pl.DataFrame,
    datetime_format: str | None = None,
) -> None:
    """Run `COPY ... FROM STDIN (FORMAT csv)` with a frame's rows; Ctrl-C waits until they are written."""
    with deferred(), connection.cursor().copy(statement) as copy:
        for block in frame.iter_slices(BLOCK_ROWS):
            copy.write(block.write_csv(include_header=False, datetime_format=datetime_format))
