"""Find a CRM's tables and columns in the schema a replication tool filled, however it spells their names."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

TYPES = ("text", "number", "bool", "date", "time", "instant")


class ReplicaError(RuntimeError):
    """The schema does not hold the CRM that was named; the message says what to look at."""


class WantedColumn(NamedTuple):
    """A column of a CRM's table: names it may have, the first its own; `costs` is None when it must be there.

    `type` is one of `TYPES`; an instant is a time that may turn out to be a whole day.
    """

    names: tuple[str, ...]
    type: str
    costs: str | None

    @property
    def name(self) -> str:
        """The name under which the views read it."""
        return self.names[0]


@dataclass(frozen=True)
class WantedTable:
    """A table of a CRM.

    Attributes
    ----------
    key : tells its records apart; None where a record has several rows by design.
    born : column with the time at which the CRM itself knew the row.
    costs : what its absence costs; None when it must be there.
    custom : pattern of custom columns to gather as JSON, or None.
    has_versions : whether old versions of a record are of use.
    """

    name: str
    columns: tuple[WantedColumn, ...]
    key: str | None
    born: str | None
    costs: str | None
    custom: str | None
    has_versions: bool


class FoundColumn(NamedTuple):
    """A column as the database spells it."""

    name: str
    type: str


@dataclass(frozen=True)
class FoundTable:
    """A table as the database spells it; `columns` by folded name."""

    name: str
    columns: Mapping[str, FoundColumn] = field(default_factory=dict)


class Missing(NamedTuple):
    """An optional table, or column of a table, that was not found, and what that costs."""

    table: str
    column: str | None
    costs: str


def fold(name: str) -> str:
    """Spell a name without case and underscores: `LastModifiedDate`, `last_modified_date` become one."""
    return name.replace("_", "").lower()


def read_declaration(text: str) -> tuple[WantedTable, ...]:
    """Read the TOML of `sql/replica/`: tables with `needed` columns and `optional` ones by what they cost."""
    return tuple(_wanted_table(name, table) for name, table in tomllib.loads(text).items())


def _wanted_table(name: str, table: Mapping[str, Any]) -> WantedTable:
    columns = [_wanted_column(word, None) for word in table["needed"].split()]
    for words, costs in table.get("optional", {}).items():
        columns += [_wanted_column(word, costs) for word in words.split()]
    return WantedTable(
        name,
        tuple(columns),
        table.get("key"),
        table.get("born"),
        table.get("costs"),
        table.get("custom"),
        table.get("versions", False),
    )


def _wanted_column(word: str, costs: str | None) -> WantedColumn:
    names, _, kind = word.partition(":")
    if kind and kind not in TYPES:
        raise ValueError(f"{word}: {kind} is no type; the types are {', '.join(TYPES)}")
    return WantedColumn(tuple(names.split("|")), kind or "text", costs)


def find_tables(connection: psycopg.Connection[Any], schema: str) -> dict[str, FoundTable]:
    """Tables, views and their columns that the connected user may read in `schema`, by folded name.

    Raises
    ------
    ReplicaError : nothing can be read there, or two names are the same when folded.
    """
    rows = connection.execute(
        """
        SELECT class.relname, attribute.attname, format_type(attribute.atttypid, NULL)
        FROM pg_class AS class
        JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
        JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
        WHERE namespace.nspname = %s AND class.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND attribute.attnum > 0 AND NOT attribute.attisdropped
          AND has_schema_privilege(namespace.oid, 'USAGE')
          AND has_column_privilege(class.oid, attribute.attnum, 'SELECT')
        ORDER BY class.relname, attribute.attnum
        """,
        [schema],
    ).fetchall()
    if not rows:
        raise ReplicaError(
            f"schema {schema} has no table that this user may read: check the name, or let its owner run"
            f" GRANT USAGE ON SCHEMA {schema} and GRANT SELECT ON ALL TABLES IN SCHEMA {schema}"
        )
    spelled: dict[str, dict[str, FoundColumn]] = {}
    for table, column, type_name in rows:
        _put_once(spelled.setdefault(table, {}), FoundColumn(column, type_name), f"{schema}.{table}")
    tables: dict[str, FoundTable] = {}
    for table, columns in spelled.items():
        _put_once(tables, FoundTable(table, columns), schema)
    return tables


def _put_once(names: dict[str, Any], found: Any, place: str) -> None:
    other = names.setdefault(fold(found.name), found)
    if other is not found:
        raise ReplicaError(
            f"{place} has both {other.name} and {found.name}, which are one name without case and"
            " underscores: drop or rename the one that is not replicated any more"
        )


def find_column(wanted: WantedColumn, table: FoundTable) -> FoundColumn | None:
    """The first of the wanted names that the table has."""
    return next((table.columns[key] for key in map(fold, wanted.names) if key in table.columns), None)


def check_tables(
    wanted: tuple[WantedTable, ...], found: Mapping[str, FoundTable], schema: str
) -> list[Missing]:
    """Say what optional is missing.

    Raises
    ------
    ReplicaError : naming every table and column without which the CRM cannot be read.
    """
    lacking = [problem for table in wanted for problem in _lacking(table, found)]
    if lacking:
        raise ReplicaError("\n- ".join([f"schema {schema} lacks what cannot be done without:", *lacking]))
    return [missing for table in wanted for missing in _missing(table, found)]


def _lacking(wanted: WantedTable, found: Mapping[str, FoundTable]) -> Iterator[str]:
    table = found.get(fold(wanted.name))
    if table is None:
        if wanted.costs is None:
            yield f"table {wanted.name}"
        return
    for column in wanted.columns:
        if column.costs is None and find_column(column, table) is None:
            yield f"column {table.name}.{column.name}"


def _missing(wanted: WantedTable, found: Mapping[str, FoundTable]) -> Iterator[Missing]:
    table = found.get(fold(wanted.name))
    if table is None:
        yield Missing(wanted.name, None, wanted.costs or "")
        return
    for column in wanted.columns:
        if column.costs is not None and find_column(column, table) is None:
            yield Missing(wanted.name, column.name, column.costs)


def custom_columns(wanted: WantedTable, table: FoundTable) -> dict[str, FoundColumn]:
    """Columns nobody declared that look custom and hold text, numbers or yes and no, by their plain name.

    A group in the table's pattern takes the name out of it: `property_plan` is `plan`.
    """
    if wanted.custom is None:
        return {}
    declared = {fold(name) for column in wanted.columns for name in column.names}
    undeclared = [column for key, column in table.columns.items() if key not in declared]
    matches = [(re.search(wanted.custom, plain_name(column.name)), column) for column in undeclared]
    return {
        match.group(1) if match.re.groups else match.string: column
        for match, column in matches
        if match is not None and kind_of(column.type) in ("text", "number", "bool")
    }


def plain_name(name: str) -> str:
    """Spell a column the same way whichever tool landed it: `BudgetRange__c` becomes `budget_range_c`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"_+", "_", spaced.lower()) if not name.startswith("_") else name.lower()


def kind_of(type_name: str) -> str:
    """Family of a Postgres type: text, number, bool, date, timestamp, timestamptz or other."""
    families = {
        "text": "text", "character varying": "text", "character": "text", "uuid": "text",
        "boolean": "bool", "date": "date",
        "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
    }  # fmt: skip
    numbers = {"smallint", "integer", "bigint", "real", "double precision", "numeric"}
    return "number" if type_name in numbers else families.get(type_name, "other")
