"""Views of schema `replica`: a CRM's tables under the CRM's own names and fixed types, however they landed.

The views of `sql/source/<crm>/` are static text over these, so that folding of names, types, deletions,
versions and absent columns is dealt with here, once.

Every view ends with four columns about the copy itself. `synced_at` is when the replication tool last wrote
the row. `arrived_at` is when the row could first be used: the CRM's own creation time, moved to `synced_at`
where that follows within `ARRIVAL_DAYS`. A later `synced_at` tells of a re-sync or of the connector's first
load: taken for an arrival it would make a whole past unknown. `is_removed` and `removed_at` tell of deletion
in the CRM.
"""

from collections.abc import Callable, Iterator, Mapping

from psycopg import sql

from flows.adapters.replica_schema import (
    FoundTable,
    WantedColumn,
    WantedTable,
    custom_columns,
    find_column,
    fold,
    kind_of,
)

ARRIVAL_DAYS = 2
_EMPTY = {
    "text": "text", "number": "float8", "bool": "boolean", "date": "date", "time": "timestamptz",
    "instant": "timestamptz",
}  # fmt: skip
_CASTS: dict[str, dict[str, str]] = {
    "text": {},
    "number": {
        "number": "{}::float8",
        "text": r"CASE WHEN {} ~ '^\s*[-+]?\d+(\.\d+)?\s*$' THEN {}::float8 END",
    },
    "bool": {"bool": "{}", "number": "({} <> 0)", "text": "(lower({}) IN ('true', 't', 'yes', '1'))"},
    "date": {
        "date": "{}",
        "timestamptz": "({} AT TIME ZONE 'UTC')::date",
        "timestamp": "{}::date",
        "text": "{}::date",
    },
    "time": {
        "timestamptz": "{}",
        "timestamp": "({} AT TIME ZONE 'UTC')",
        "date": "({}::timestamp AT TIME ZONE 'UTC')",
        "number": "to_timestamp({} / 1000.0)",  # HubSpot's old connectors land milliseconds
        "text": "{}::timestamptz",
    },
}


def replica_views(
    wanted: tuple[WantedTable, ...], found: Mapping[str, FoundTable], schema: str
) -> Iterator[sql.Composed]:
    """CREATE VIEW statements: one per wanted table, and one of versions where these are wanted.

    A table that was not found becomes a view without rows, a column that was not found NULL of its type.
    """
    for table in wanted:
        physical = found.get(fold(table.name)) or FoundTable(table.name)
        yield _view(table.name, _columns(table, physical, _copy_columns), _newest(table, physical, schema))
        if table.has_versions:
            versions = physical if _is_versioned(physical) else FoundTable(table.name)
            rows = _rows(versions, schema)
            yield _view(f"{table.name}_version", _columns(table, versions, _version_columns), rows)


def _view(name: str, columns: list[sql.Composed], rows: sql.Composable) -> sql.Composed:
    return sql.SQL("CREATE VIEW {} AS\nSELECT\n    {}\n{}").format(
        sql.Identifier("replica", name), sql.SQL(",\n    ").join(columns), rows
    )


def _newest(table: WantedTable, physical: FoundTable, schema: str) -> sql.Composable:
    """In history mode a record has a row per version, and the newest one counts, active or not."""
    if table.key is None or not _is_versioned(physical):
        return _rows(physical, schema)
    key = next(column for column in table.columns if column.name == table.key)
    return sql.SQL(
        "FROM (SELECT DISTINCT ON ({key}) * {rows} ORDER BY {key}, {start} DESC) AS landed"
    ).format(
        key=_cast(key, physical), rows=_rows(physical, schema), start=_system("_fivetran_start", physical)
    )


def _rows(physical: FoundTable, schema: str) -> sql.Composable:
    if not physical.columns:
        return sql.SQL("WHERE FALSE")
    return sql.SQL("FROM {} AS landed").format(sql.Identifier(schema, physical.name))


def _columns(
    table: WantedTable,
    physical: FoundTable,
    own_columns: Callable[[WantedTable, FoundTable], Iterator[sql.Composed]],
) -> list[sql.Composed]:
    columns = [named for column in table.columns for named in _column(column, physical)]
    if table.custom is not None:
        columns.append(_named(_custom(table, physical), "custom"))
    return columns + list(own_columns(table, physical))


def _column(wanted: WantedColumn, physical: FoundTable) -> Iterator[sql.Composed]:
    found = find_column(wanted, physical)
    kind = kind_of(found.type) if found else None
    yield _named(_cast(wanted, physical), wanted.name)
    if wanted.type == "instant":
        precision = sql.SQL("'day'::text") if kind == "date" else sql.SQL("'second'::text")
        yield _named(precision, f"{wanted.name}_precision")


def _cast(wanted: WantedColumn, physical: FoundTable) -> sql.Composable:
    found = find_column(wanted, physical)
    if found is None:
        return sql.SQL("NULL::" + _EMPTY[wanted.type])
    if wanted.type == "text":
        return sql.SQL("{}::text").format(sql.Identifier("landed", found.name))
    casts = _CASTS["time" if wanted.type == "instant" else wanted.type]
    template = casts.get(kind_of(found.type), f"{{}}::text::{_EMPTY[wanted.type]}")
    names = [sql.Identifier("landed", found.name)] * template.count("{}")
    return sql.SQL(template).format(*names)


def _custom(table: WantedTable, physical: FoundTable) -> sql.Composable:
    """Custom columns as one JSON object; in parts, because a function takes at most 100 arguments."""
    pairs = [
        sql.SQL("{}, {}").format(sql.Literal(name), sql.Identifier("landed", column.name))
        for name, column in sorted(custom_columns(table, physical).items())
    ]
    parts = [pairs[start : start + 50] for start in range(0, len(pairs), 50)] or [[]]
    built = [sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(part)) for part in parts]
    return sql.SQL("jsonb_strip_nulls({})").format(sql.SQL(" || ").join(built))


def _copy_columns(table: WantedTable, physical: FoundTable) -> Iterator[sql.Composed]:
    synced = _system_time("_fivetran_synced", physical)
    yield _named(synced, "synced_at")
    yield _named(_arrived(table, physical, synced), "arrived_at")
    if table.key is not None and _is_versioned(physical):
        active = _system("_fivetran_active", physical)
        end = _system_time("_fivetran_end", physical)
        yield _named(sql.SQL("NOT COALESCE({}, TRUE)").format(active), "is_removed")
        yield _named(sql.SQL("CASE WHEN NOT {} THEN {} END").format(active, end), "removed_at")
    elif fold("_fivetran_deleted") in physical.columns:
        deleted = _system("_fivetran_deleted", physical)
        yield _named(sql.SQL("COALESCE({}, FALSE)").format(deleted), "is_removed")
        yield _named(sql.SQL("CASE WHEN {} THEN {} END").format(deleted, synced), "removed_at")
    else:
        yield _named(sql.SQL("FALSE"), "is_removed")
        yield _named(sql.SQL("NULL::timestamptz"), "removed_at")


def _arrived(table: WantedTable, physical: FoundTable, synced: sql.Composable) -> sql.Composable:
    born = next((column for column in table.columns if column.name == table.born), None)
    if born is None or find_column(born, physical) is None:
        return sql.SQL("NULL::timestamptz")
    return sql.SQL(
        "CASE WHEN {synced} < {born} + make_interval(days => {days})"
        " THEN GREATEST({born}, {synced}) ELSE {born} END"
    ).format(synced=synced, born=_cast(born, physical), days=sql.Literal(ARRIVAL_DAYS))


def _version_columns(table: WantedTable, physical: FoundTable) -> Iterator[sql.Composed]:
    yield _named(_system_time("_fivetran_start", physical), "version_from")


def _is_versioned(physical: FoundTable) -> bool:
    return {fold("_fivetran_active"), fold("_fivetran_start")} <= physical.columns.keys()


def _system(name: str, physical: FoundTable) -> sql.Composable:
    """A column of the replication tool."""
    return sql.Identifier("landed", physical.columns[fold(name)].name)


def _system_time(name: str, physical: FoundTable) -> sql.Composable:
    return _cast(WantedColumn((name,), "time", ""), physical)


def _named(expression: sql.Composable, name: str) -> sql.Composed:
    return sql.SQL("{} AS {}").format(expression, sql.Identifier(name))
