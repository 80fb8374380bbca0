"""Import exported files into schema `imported`, all or nothing, and make them the source."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

import sql as sql_files
from flows.adapters.copy_frame import copy_frame
from flows.adapters.database import Database
from flows.adapters.export_files import ExportFileError, read_export
from flows.adapters.migrations import install_source, migrate, set_clock
from flows.import_frames import build_frames
from flows.import_mapping import ColumnRule, Mapping, MappingError, Table, load_mapping
from flows.import_tables import ImportFinding, Sheet, key_values, read_sheet, unlisted_columns
from flows.import_targets import ATTRS, did_you_mean

ADAPTER = "imported"


@dataclass(frozen=True)
class TableCount:
    """Rows of one table of the mapping: `n_read` = `n_kept` + `n_set_aside`."""

    role: str
    files: tuple[str, ...]
    n_read: int
    n_kept: int
    n_set_aside: int
    columns_left_out: tuple[str, ...]


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    mapping, clock : the mapping's name, and the date that counts as today (ISO) or None.
    tables : counts in and out, by table of the mapping.
    loaded : rows written, by table of schema `imported`.
    findings : what was set aside or left out, and why.
    banned : columns kept out because they leak, with the reason.
    allowed : banned columns that were let in on request.
    label : settings of the label that the data was laid out for, or None.
    """

    mapping: str
    clock: str | None
    tables: tuple[TableCount, ...]
    loaded: dict[str, int]
    findings: tuple[ImportFinding, ...]
    banned: dict[str, str]
    allowed: tuple[str, ...]
    label: dict[str, int] | None


def import_files(
    database: Database,
    files: Sequence[str | Path],
    mapping: str | Path | Mapping,
    allow_banned: Sequence[str] = (),
) -> ImportReport:
    """Replace what was imported before by these files.

    All is read and checked before the database is touched; rows and clock then change in one transaction.

    Parameters
    ----------
    files : CSV or Parquet, matched to the mapping's tables by name.
    mapping : name of a shipped mapping, a .toml file, or a mapping.
    allow_banned : banned columns to let in as custom columns, or 'all'.

    Raises
    ------
    ExportFileError : a file cannot be read as declared.
    MappingError : the mapping has a mistake, or too few rows can be used with it.
    """
    if not isinstance(mapping, Mapping):
        mapping = load_mapping(mapping)
    banned = {
        column: rule.banned
        for table in mapping.tables
        for column, rule in table.columns.items()
        if rule.banned
    }
    allowed = _allowed(allow_banned, mapping)
    tables = [_apply_bans(table, allowed) for table in mapping.tables]
    paths = _assign([Path(file) for file in files], tables)
    raws = [_read(table, of_table, mapping) for table, of_table in zip(tables, paths, strict=True)]
    sheets = [_sheet(raw, table, mapping) for raw, table in zip(raws, tables, strict=True)]
    frames = build_frames(sheets, mapping)
    report = ImportReport(
        mapping=mapping.name,
        clock=mapping.clock.isoformat() if mapping.clock else None,
        tables=tuple(_table_count(*group) for group in zip(sheets, raws, paths, strict=True)),
        loaded={name: frame.height for name, frame in frames.items()},
        findings=tuple(finding for sheet in sheets for finding in sheet.all_findings()),
        banned={column: reason for column, reason in banned.items() if column not in allowed},
        allowed=allowed,
        label=mapping.label.model_dump() if mapping.label else None,
    )
    migrate(database)
    _load(database, frames, report, mapping)
    install_source(database, ADAPTER)
    set_clock(database, mapping.clock)
    return report


def _allowed(words: Sequence[str], mapping: Mapping) -> tuple[str, ...]:
    """Banned columns of the leads to let in; those of other tables have no place to go."""
    banned = [column for column, rule in mapping.leads.columns.items() if rule.banned]
    if "all" in words:
        return tuple(banned)
    for word in words:
        if word not in banned:
            raise MappingError(
                f"allow_banned: {word!r} is no banned column of the leads{did_you_mean(word, banned)}"
            )
    return tuple(words)


def _apply_bans(table: Table, allowed: Sequence[str]) -> Table:
    columns = {
        column: _unban(rule)
        if column in allowed
        else rule.model_copy(update={"to": ()})
        if rule.banned
        else rule
        for column, rule in table.columns.items()
    }
    return table.model_copy(update={"columns": columns})


def _unban(rule: ColumnRule) -> ColumnRule:
    return rule.model_copy(update={"to": rule.targets or (ATTRS,), "banned": None})


def _assign(files: list[Path], tables: list[Table]) -> list[list[Path]]:
    """Files of each table, by name; a single table takes whatever is given."""
    if not files:
        raise ExportFileError("no file to import")
    if len(tables) == 1:
        return [files]
    assigned = [
        [file for file in files if fnmatch(file.name.lower(), table.file.lower())] for table in tables
    ]
    patterns = ", ".join(f"{table.file} ({table.role})" for table in tables)
    for file in files:
        matches = [table.file for table, of_table in zip(tables, assigned, strict=True) if file in of_table]
        if len(matches) != 1:
            how = (
                f"several tables of the mapping: {', '.join(matches)}"
                if matches
                else "no table of the mapping"
            )
            raise ExportFileError(f"{file.name} fits {how}; its files are named {patterns}")
    for table, of_table in zip(tables, assigned, strict=True):
        if not of_table:
            raise ExportFileError(
                f"no file fits {table.file} ({table.role}); the mapping's files are {patterns}"
            )
    return assigned


def _read(table: Table, files: list[Path], mapping: Mapping) -> pl.DataFrame:
    wanted = {column for column, rule in table.columns.items() if rule.targets}
    if table.role == "leads":
        wanted |= {mapping.derived_time.order_by} if mapping.derived_time else set()
        wanted |= {other.lead_key.matches for other in mapping.tables if other.lead_key}
    wanted |= {table.lead_key.column} if table.lead_key else set()
    frames = [read_export(file, table, wanted) for file in files]
    raw = pl.concat(frames, how="diagonal_relaxed")
    absent = [column for column in table.columns if column not in raw.columns]
    return raw.with_columns(pl.lit(None, pl.String).alias(column) for column in absent)


def _sheet(raw: pl.DataFrame, table: Table, mapping: Mapping) -> Sheet:
    sheet = read_sheet(raw, table, mapping)
    keys = {"#key": table.lead_key.column} if table.lead_key else {}
    if table.role == "leads":
        keys = {
            f"#key.{other.lead_key.matches}": other.lead_key.matches
            for other in mapping.tables
            if other.lead_key
        }
    sheet.frame = sheet.frame.with_columns(
        key_values(raw[column], table.null_tokens).alias(name) for name, column in keys.items()
    )
    return sheet


def _table_count(sheet: Sheet, raw: pl.DataFrame, files: list[Path]) -> TableCount:
    n_kept = sheet.kept().height
    unlisted = [] if sheet.table.unlisted == ATTRS else unlisted_columns(raw, sheet.table)
    return TableCount(
        role=sheet.table.role,
        files=tuple(file.name for file in files),
        n_read=raw.height,
        n_kept=n_kept,
        n_set_aside=raw.height - n_kept,
        columns_left_out=tuple(unlisted),
    )


def _load(
    database: Database, frames: dict[str, pl.DataFrame], report: ImportReport, mapping: Mapping
) -> None:
    """Replace the rows of schema `imported`, and the clock where it is the source already.

    DELETE, not TRUNCATE: a night that reads at the same time keeps seeing the old rows.
    """
    with database.connect() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('leadscore import', 0))")
        connection.execute(sql_files.load("imported/tables.sql").encode())
        for name, frame in frames.items():
            _replace(connection, name, frame)
        connection.execute("DELETE FROM imported.load")
        connection.execute(
            "INSERT INTO imported.load (mapping, report) VALUES (%s, %s)",
            [report.mapping, json.dumps(asdict(report))],
        )
        connection.execute(
            "UPDATE leadscore.source SET clock = %s WHERE adapter = %s", [mapping.clock, ADAPTER]
        )


def _replace(connection: psycopg.Connection[Any], name: str, frame: pl.DataFrame) -> None:
    table = sql.Identifier("imported", name)
    connection.execute(sql.SQL("DELETE FROM {}").format(table))
    columns = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    copy_frame(connection, sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(table, columns), frame)
    connection.execute(sql.SQL("ANALYZE {}").format(table))
