"""Read one exported file into text columns, and refuse a damaged one with the line and the rows at stake."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from flows.import_mapping import Table
from flows.import_targets import did_you_mean

BLOCK_ROWS = 50_000
LINE = "#line"
FILE = "#file"


class ExportFileError(ValueError):
    """A file that cannot be read as declared; the message names file, line and remedy."""


@dataclass
class _Damage:
    """Records with the wrong number of fields, or that swallowed other lines."""

    first: str = ""
    lines: list[int] = field(default_factory=list)
    n_rows: int = 0

    def add(self, line: int, n_rows: int, what: str) -> None:
        self.first = self.first or what
        self.lines.append(line)
        self.n_rows += n_rows


def read_export(path: Path, table: Table, wanted: set[str]) -> pl.DataFrame:
    """Read the wanted columns of a CSV or Parquet file.

    Parameters
    ----------
    path : a name that ends in .parquet is Parquet, all else is delimited text.
    table : how the file is written.
    wanted : columns that must be there.

    Returns
    -------
    DataFrame : all columns, as text (a Parquet file's as they are, nested ones left out), with '#line'
        (Int64: the physical line a row starts on, or a Parquet file's row number) and '#file' (its name).

    Raises
    ------
    ExportFileError : missing file or columns, wrong encoding, damaged rows, no rows at all.
    """
    if not path.is_file():
        raise ExportFileError(f"there is no file {path}")
    frame = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_delimited(path, table, wanted)
    _refuse_missing(path, frame.columns, wanted)
    if frame.is_empty():
        raise ExportFileError(f"{path.name} has no rows below its header")
    return frame.with_columns(pl.lit(path.name).alias(FILE))


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ExportFileError(f"{path.name} is no readable Parquet file: {error}") from error
    flat = [name for name, dtype in frame.schema.items() if not dtype.is_nested()]
    return frame.select(*flat, pl.int_range(1, pl.len() + 1).alias(LINE))


def _read_delimited(path: Path, table: Table, wanted: set[str]) -> pl.DataFrame:
    encoding = (
        "utf-8-sig" if table.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else table.encoding
    )
    try:
        with path.open(encoding=encoding, errors="strict", newline="") as text:
            return _read_records(path, text, table, wanted)
    except UnicodeDecodeError as error:
        raise ExportFileError(_explain_encoding(path, table.encoding, error)) from None
    except LookupError:
        raise ExportFileError(f"{table.encoding!r} is no encoding that Python knows; try 'cp1252'") from None
    except OSError as error:
        raise ExportFileError(f"{path} cannot be read: {error.strerror}") from error


def _read_records(path: Path, text: Iterable[str], table: Table, wanted: set[str]) -> pl.DataFrame:
    reader = csv.reader(text, delimiter=table.delimiter, strict=True)
    position = [1]
    try:
        header = _header(path, reader, table.delimiter, wanted)
        damage = _Damage()
        frames = list(_frames(reader, header, table.delimiter, damage, position))
    except csv.Error as error:
        raise ExportFileError(_explain_quotes(path, position[0], reader.line_num, error)) from None
    if damage.lines:
        raise ExportFileError(_explain_damage(path, damage, sum(frame.height for frame in frames)))
    return (
        pl.concat(frames)
        if frames
        else pl.DataFrame(schema={**dict.fromkeys(header, pl.String), LINE: pl.Int64})
    )


def _header(path: Path, reader: Any, delimiter: str, wanted: set[str]) -> list[str]:
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise ExportFileError(f"{path.name} has no header in its first line")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ExportFileError(f"{path.name}: column {twice[0]!r} occurs twice in the header; rename one")
    other = next(
        (mark for mark in ",;\t|" if len(header) == 1 and mark != delimiter and mark in header[0]), None
    )
    if other:
        raise ExportFileError(
            f"{path.name}: the header is one column when split at {delimiter!r};"
            f" declare delimiter = {other!r} in the mapping"
        )
    _refuse_missing(path, header, wanted)
    return header


def _refuse_missing(path: Path, columns: list[str], wanted: set[str]) -> None:
    missing = sorted(wanted - set(columns))
    if missing:
        hints = "; ".join(f"{name!r}{did_you_mean(name, columns).replace('; ', ': ', 1)}" for name in missing)
        raise ExportFileError(f"{path.name} lacks {len(missing)} of the columns the mapping names: {hints}")


def _frames(
    reader: Any, header: list[str], delimiter: str, damage: _Damage, position: list[int]
) -> Iterator[pl.DataFrame]:
    """Frames of up to `BLOCK_ROWS` sound records; the others go to `damage`. `position` follows the line."""
    schema = dict.fromkeys(header, pl.String)
    rows: list[list[str]] = []
    lines: list[int] = []

    def frame() -> pl.DataFrame:
        columns = pl.DataFrame(rows, schema=schema, orient="row")
        return columns.with_columns(pl.Series(LINE, lines, dtype=pl.Int64))

    position[0] = reader.line_num + 1
    for row in reader:
        line, position[0] = position[0], reader.line_num + 1
        n_lines = position[0] - line
        if not row:
            continue
        swallowed = _swallowed(row, len(header), delimiter) if n_lines > 1 else 0
        if len(row) != len(header):
            damage.add(line, n_lines, _explain_fields(line, n_lines, len(row), len(header)))
        elif swallowed:
            damage.add(
                line, swallowed, f"a quoted cell that starts on line {line} swallows {swallowed} lines"
            )
        else:
            rows.append(row)
            lines.append(line)
        if len(rows) == BLOCK_ROWS:
            yield frame()
            rows, lines = [], []
    if rows:
        yield frame()


def _swallowed(row: list[str], n_fields: int, delimiter: str) -> int:
    """Lines inside quoted cells that look like whole records: a quote was opened and closed rows later."""
    inner = [line for cell in row if "\n" in cell for line in cell.split("\n")[1:]]
    return sum(n_fields >= 3 and line.count(delimiter) >= n_fields - 1 for line in inner)


def _explain_fields(line: int, n_lines: int, n_found: int, n_expected: int) -> str:
    place = f"line {line} has" if n_lines == 1 else f"lines {line} to {line + n_lines - 1} have"
    cell = ": the whole row is one quoted cell" if n_found == 1 else ""
    return f"{place} {n_found} field{'s' * (n_found != 1)} where the header has {n_expected}{cell}"


def _explain_damage(path: Path, damage: _Damage, n_sound: int) -> str:
    shown = ", ".join(map(str, damage.lines[:5])) + (", ..." if len(damage.lines) > 5 else "")
    total = damage.n_rows + n_sound
    return (
        f"{path.name} is damaged: {damage.first}. {damage.n_rows:,} of {total:,} rows would be lost"
        f" (lines {shown}). Nothing was imported: export the file again, or repair these lines"
    )


def _explain_quotes(path: Path, line: int, last_line: int, error: csv.Error) -> str:
    if "NUL" in str(error):
        return f"{path.name}: line {last_line} holds a NUL character: this is no text file, or it was cut off"
    return (
        f"{path.name} is damaged: in the record that starts on line {line} a quote does not close properly"
        f" ({error}). The {last_line - line + 1:,} lines up to line {last_line:,} are in doubt, and all after"
        " them. Nothing was imported: close the quote, or export the file again"
    )


def _explain_encoding(path: Path, encoding: str, error: UnicodeDecodeError) -> str:
    with path.open("rb") as raw:
        places = (_undecodable(number, line, encoding) for number, line in enumerate(raw, start=1))
        place = next(filter(None, places), "")
    return (
        f"{path.name} is not {encoding} text{place}: {error.reason}. Nothing was imported: declare its"
        " encoding in the mapping, for example encoding = 'cp1252' for files from Excel on Windows"
    )


def _undecodable(number: int, line: bytes, encoding: str) -> str:
    try:
        line.decode(encoding)
    except UnicodeDecodeError as error:
        before = line[: error.start].decode(encoding)[-20:]
        return f" at line {number} (byte 0x{line[error.start]:02x} after {before!r})"
    return ""
