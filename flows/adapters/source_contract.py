"""What the views of schema `source` must look like, and a check that says what is wrong with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

TYPE_FAMILIES = {
    "text": {"text", "character varying", "character"},
    "timestamptz": {"timestamp with time zone"},
    "date": {"date"},
    "bool": {"boolean"},
    "number": {"double precision", "real", "numeric", "bigint", "integer", "smallint"},
    "jsonb": {"jsonb", "json"},
}


class Column(NamedTuple):
    """One column of a view: its type family, and what it buys when it is optional (None = required)."""

    type: str
    buys: str | None = None


def _columns(required: str, optional: dict[str, str]) -> dict[str, Column]:
    """Columns from `name:type` words; the values of `optional` say what each group of such words buys."""
    words: list[tuple[str, str | None]] = [(word, None) for word in required.split()]
    words += [(word, buys) for group, buys in optional.items() for word in group.split()]
    columns = {}
    for word, buys in words:
        name, _, kind = word.partition(":")
        columns[name] = Column(kind or "text", buys)
    return columns


CONTRACT: dict[str, dict[str, Column]] = {
    "lead": _columns(
        "lead_id created_at:timestamptz owner_id updated_at:timestamptz",
        {
            "created_precision": "tells whole days, usable from the next day only, from exact times",
            "account_id": "features of the account, and validation folds that keep an account together",
            "contact_id": "matching of activities after conversion",
            "lead_source": "track record of each source",
            "title": "seniority and department of the person",
            "industry country employee_count:number annual_revenue:number": "fit of the company",
            "email_domain": "company, free-mail and disposable addresses told apart",
            "notes": "length of what was written on entry",
            "is_deleted:bool deleted_at:timestamptz": "deleted leads stay in training: no survivorship bias",
            "merged_into_id": "merged leads counted once",
            "attrs:jsonb": "custom columns as features",
        },
    ),
    "stage_history": _columns(
        "lead_id stage entered_at:timestamptz",
        {
            "ingested_at:timestamptz": "late-arriving rows kept out of the past",
            "changed_by": "manual and automatic moves told apart",
        },
    ),
    "field_history": _columns(
        "",
        {
            "entity entity_id field value valid_from:timestamptz valid_to:timestamptz": (
                "values as they were at each snapshot instead of today's"
            )
        },
    ),
    "activity": _columns(
        "activity_id lead_id occurred_at:timestamptz activity_type",
        {
            "occurred_precision": "tells whole days, usable from the next day only, from exact times",
            "ingested_at:timestamptz": "late-arriving rows kept out of the past",
            "direction": "balance of inbound and outbound touches, reply gaps",
            "channel outcome actor_id": "what came of a touch, and who made it",
            "duration_seconds:number": "length of calls and meetings",
            "is_bot:bool": "clicks of mail gateways kept out of engagement",
            "campaign_id url_class": "bursts of a gateway told from a person's clicks",
        },
    ),
    "account": _columns(
        "account_id",
        {
            "parent_id": "groups of companies",
            "industry employee_count:number annual_revenue:number country": "fit of the company",
            "is_customer:bool is_competitor:bool": "existing customers and competitors told apart",
        },
    ),
    "outcome": _columns(
        "lead_id outcome outcome_at:timestamptz",
        {
            "outcome_precision": "tells whole days, usable from the next day only, from exact times",
            "ingested_at:timestamptz": "outcomes entered late kept out of the past",
            "opportunity_id lost_reason": "a trace from the score to the deal",
            "amount:number currency": "expected value beside the probability",
        },
    ),
    "owner": _columns(
        "owner_id",
        {
            "team_id territory": "results by team",
            "is_active:bool daily_capacity:number absent_until:date": "work lists that fit each owner's day",
        },
    ),
    "consent": _columns(
        "",
        {
            "subject_id opted_out_email:bool opted_out_profiling:bool opted_out_processing:bool"
            " erase_requested_at:timestamptz": "people who object are neither scored nor contacted"
        },
    ),
    "identity_map": _columns(
        "",
        {"source_id canonical_id valid_from:timestamptz": "activities of merged leads counted once"},
    ),
}

SQL_TYPES = {"number": "float8"}


class SourceContractError(RuntimeError):
    """A source view breaks the contract; the message names view, column, types and the remedy."""


class UnusedColumn(NamedTuple):
    """An optional column that holds nothing, and what it would buy."""

    view: str
    column: str
    buys: str


@dataclass(frozen=True)
class ContractReport:
    """A contract that holds.

    Attributes
    ----------
    unused : optional columns without a single value, with what each would buy.
    """

    unused: tuple[UnusedColumn, ...]


def check_contract(connection: psycopg.Connection[Any]) -> ContractReport:
    """Compare the views of schema `source` with the contract.

    Parameters
    ----------
    connection : any role that may read schema `source`.

    Raises
    ------
    SourceContractError : listing every missing view and every missing or mistyped column.
    """
    found = _found_columns(connection)
    problems = [problem for view in CONTRACT for problem in _view_problems(view, found.get(view))]
    if problems:
        raise SourceContractError("\n- ".join(["the source views break their contract:", *problems]))
    return ContractReport(tuple(_unused_columns(connection)))


def _found_columns(connection: psycopg.Connection[Any]) -> dict[str, dict[str, str]]:
    """Types of the columns of each relation in schema `source`, as Postgres spells them without lengths."""
    rows = connection.execute(
        """
        SELECT class.relname, attribute.attname, format_type(attribute.atttypid, NULL)
        FROM pg_class AS class
        JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
        JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
        WHERE namespace.nspname = 'source' AND class.relkind IN ('v', 'm', 'r', 'p', 'f')
          AND attribute.attnum > 0 AND NOT attribute.attisdropped
        """
    ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for view, column, type_name in rows:
        found.setdefault(view, {})[column] = type_name
    return found


def _view_problems(view: str, found: dict[str, str] | None) -> Iterator[str]:
    if found is None:
        yield (
            f"view source.{view} is missing: run `leadscore simulate`, `leadscore import` or"
            " `leadscore db install-source` to put it there"
        )
        return
    for name, column in CONTRACT[view].items():
        problem = _column_problem(column, found.get(name))
        if problem:
            yield f"source.{view}.{name} {problem}"


def _column_problem(column: Column, found: str | None) -> str | None:
    wanted = SQL_TYPES.get(column.type, column.type)
    if found is None and column.buys is None:
        return f"is missing (required, {wanted}): map it in sql/source/<adapter>/"
    if found is None:
        return f"is missing (optional): add `NULL::{wanted}` under this name; filled, it buys {column.buys}"
    if found in TYPE_FAMILIES[column.type]:
        return None
    if column.type == "timestamptz" and found == "timestamp without time zone":
        return (
            "is a naive timestamp (timestamp without time zone), expected timestamptz: state the zone it was"
            " written in, for example `column AT TIME ZONE 'UTC'`"
        )
    return f"has type {found}, expected {wanted}: cast it in the view"


def _unused_columns(connection: psycopg.Connection[Any]) -> Iterator[UnusedColumn]:
    """Optional columns without values: EXISTS stops at the first, and the planner folds `NULL::type`."""
    for view, columns in CONTRACT.items():
        optional = [(name, column.buys) for name, column in columns.items() if column.buys is not None]
        tests = [
            sql.SQL("EXISTS (SELECT 1 FROM source.{} WHERE {} IS NOT NULL)").format(
                sql.Identifier(view), sql.Identifier(name)
            )
            for name, _ in optional
        ]
        row = connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(tests))).fetchone()
        for (name, buys), is_used in zip(optional, row or (), strict=True):
            if not is_used:
                yield UnusedColumn(view, name, buys)
