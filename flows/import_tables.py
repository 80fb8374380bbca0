"""Apply a mapping to the rows of an export, and account for everything that is left out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from flows.import_mapping import ColumnRule, Mapping, MappingError, Table
from flows.import_targets import ATTRS, MAIN_TABLE, REQUIRED, Kind, target_of
from flows.import_values import UNREADABLE, clean, parse, unreadable

LINE, FILE, PROBLEM, SAMPLE = "#line", "#file", "#problem", "#sample"
N_PLACES = 5
NO_OUTCOME = "no outcome yet"
DERIVED = ("lead.created_at", "outcome.outcome_at")


@dataclass(frozen=True)
class ImportFinding:
    """Rows or values that could not be used, for one reason.

    Attributes
    ----------
    table, problem : the role of the file, and what is wrong.
    n_rows : how many rows.
    places : the first five, as file:line.
    sample : the first offending value.
    consequence : 'row set aside', or 'value left out' where the rest of the row is kept.
    """

    table: str
    problem: str
    n_rows: int
    places: tuple[str, ...]
    sample: str
    consequence: Literal["row set aside", "value left out"] = "row set aside"


@dataclass
class Sheet:
    """Rows of one table under way: columns `table.column`, and per row the first problem found.

    Attributes
    ----------
    frame : typed columns, `#line`, `#file`, `#problem` and `#sample` (text, null while the row is fine).
    findings : values left out; rows set aside are counted from `#problem` at the end.
    """

    table: Table
    frame: pl.DataFrame
    findings: list[ImportFinding]

    def set_aside(self, problem: str, is_bad: pl.Series, sample: pl.Series | None = None) -> None:
        """Give rows a problem, unless they have one already."""
        value = pl.lit("") if sample is None else sample.cast(pl.String).fill_null("")
        hit = is_bad.fill_null(False) & self.frame[PROBLEM].is_null()
        self.frame = self.frame.with_columns(
            pl.when(hit).then(pl.lit(problem)).otherwise(PROBLEM).alias(PROBLEM),
            pl.when(hit).then(value).otherwise(SAMPLE).alias(SAMPLE),
        )

    def kept(self) -> pl.DataFrame:
        """Rows without a problem."""
        return self.frame.filter(pl.col(PROBLEM).is_null())

    def all_findings(self) -> list[ImportFinding]:
        """Rows set aside, by problem, then values left out."""
        return list(_count(self.table.role, self.frame, "row set aside")) + self.findings

    def refuse_if_too_many(self) -> None:
        """Stop when so many rows are unusable that the mapping must be wrong.

        Raises
        ------
        MappingError : naming the share and the reasons.
        """
        n_bad, n = (self.frame[PROBLEM] != NO_OUTCOME).sum(), self.frame.height
        if n_bad == n or n_bad > self.table.max_set_aside_share * n:
            rows_set_aside = _count(self.table.role, self.frame, "row set aside")
            share = self.table.max_set_aside_share
            raise MappingError(
                f"{n_bad:,} of {n:,} rows of the {self.table.role} would be set aside: max_set_aside_share ="
                f" {share:g} allows fewer. Nothing was imported: correct the mapping or raise the share.\n"
                + "\n".join(f"- {_describe(finding)}" for finding in rows_set_aside)
            )


def read_sheet(raw: pl.DataFrame, table: Table, mapping: Mapping) -> Sheet:
    """Type every mapped column of a table and mark the rows that cannot be used.

    Parameters
    ----------
    raw : the file's columns with `#line` and `#file`.
    """
    sheet = Sheet(table, raw.select(LINE, FILE, pl.lit(None, pl.String).alias(PROBLEM), _no_sample()), [])
    for column, rule in sorted(table.columns.items(), key=_names_no_outcome):
        _add_column(sheet, column, rule, clean(raw[column], table.null_tokens))
    for word, value in table.constants.items():
        _add_constant(sheet, word, value)
    if table.unlisted == ATTRS:
        for column in unlisted_columns(raw, table):
            _add_column(sheet, column, ColumnRule(to=(ATTRS,)), clean(raw[column], table.null_tokens))
    if table.role == "leads" and mapping.derived_time:
        order_by = mapping.derived_time.order_by
        _add_order(sheet, order_by, clean(raw[order_by], table.null_tokens))
    _require(sheet, mapping)
    return sheet


def unlisted_columns(raw: pl.DataFrame, table: Table) -> list[str]:
    """Columns of the file that the mapping does not name."""
    return [column for column in raw.columns if column not in table.columns and not column.startswith("#")]


def set_duplicates_aside(sheet: Sheet, *names: str) -> None:
    """Keep the first row of each key among the rows that are fine."""
    fine = pl.col(PROBLEM).is_null()
    repeated = fine & ~pl.struct(*names, fine.alias("fine")).is_first_distinct()
    key = " and ".join(name.partition(".")[2] for name in names)
    sheet.set_aside(f"{key} occurs before", sheet.frame.select(repeated).to_series(), sheet.frame[names[0]])


def find_leads(sheet: Sheet, leads: pl.DataFrame) -> None:
    """Resolve the lead of each row: by id, or through the table's `lead_key`.

    Parameters
    ----------
    leads : kept rows of the leads, with `lead.lead_id` and, for a `lead_key`, the column `#key.<matches>`.
    """
    key, name = sheet.table.lead_key, f"{MAIN_TABLE[sheet.table.role]}.lead_id"
    if key is None:
        unknown = ~sheet.frame[name].is_in(leads["lead.lead_id"].implode())
        sheet.set_aside("no lead has this lead_id", unknown, sheet.frame[name])
        return
    lookup = leads.group_by(pl.col(f"#key.{key.matches}").alias("#key")).agg(
        pl.len().alias("#n"), pl.col("lead.lead_id").first().alias(name)
    )
    sheet.frame = sheet.frame.join(lookup, on="#key", how="left", maintain_order="left")
    sheet.set_aside(f"{key.column} is missing", sheet.frame["#key"].is_null())
    sheet.set_aside(f"no lead has this {key.matches}", sheet.frame["#n"].is_null(), sheet.frame["#key"])
    sheet.set_aside(f"several leads have this {key.matches}", sheet.frame["#n"] > 1, sheet.frame["#key"])


def key_values(values: pl.Series, null_tokens: tuple[str, ...]) -> pl.Series:
    """Values of a key as they are compared: stripped, without case."""
    return clean(values, null_tokens).cast(pl.String).str.to_lowercase()


def _names_no_outcome(item: tuple[str, ColumnRule]) -> bool:
    """Sort key that puts outcomes first: a row without one has no other problem."""
    return not {"outcome", "outcome.outcome"} & set(item[1].targets)


def _no_sample() -> pl.Expr:
    return pl.lit(None, pl.String).alias(SAMPLE)


def _add_column(sheet: Sheet, column: str, rule: ColumnRule, values: pl.Series) -> None:
    for word in rule.targets:
        target = target_of(sheet.table.role, word)
        kind: Kind = rule.type or target.kind
        name = f"{ATTRS}.{column}" if target.column == ATTRS else target.name
        parsed = parse(values, kind, rule)
        bad = unreadable(values, parsed, rule)
        if name == "outcome.outcome" and rule.values:
            bad |= values.is_not_null() & ~values.cast(pl.String).is_in(list(rule.values))
        _add(sheet, name, kind, parsed)
        problem = f"{column!r} {UNREADABLE[kind]}"
        if name == "outcome.outcome" and sheet.table.role == "outcomes":
            sheet.set_aside(NO_OUTCOME, parsed.is_null() & ~bad, values)
        if name in REQUIRED[sheet.table.role] or name in ("outcome.outcome", "outcome.outcome_at"):
            sheet.set_aside(problem, bad, values)
        else:
            sheet.findings += _values_left_out(sheet, problem, bad, values)


def _add_constant(sheet: Sheet, word: str, value: str) -> None:
    target = target_of(sheet.table.role, word)
    values = pl.Series([value] * sheet.frame.height, dtype=pl.String)
    parsed = parse(values, target.kind, ColumnRule())
    if parsed.null_count():
        raise MappingError(f"constants: {word} = {value!r} {UNREADABLE[target.kind]}")
    name = f"{ATTRS}.{word}" if target.column == ATTRS else target.name
    if (
        name == "outcome.outcome"
        and "outcome.outcome_at" in sheet.frame.columns
        and sheet.table.role == "leads"
    ):
        parsed = pl.select(pl.when(sheet.frame["outcome.outcome_at"].is_not_null()).then(parsed)).to_series()
    _add(sheet, name, target.kind, parsed)


def _add(sheet: Sheet, name: str, kind: Kind, values: pl.Series) -> None:
    columns = [values.alias(name)]
    if kind in ("timestamp", "date"):
        precision = "day" if kind == "date" else "second"
        columns.append(pl.Series(f"{name}#precision", [precision] * len(values), dtype=pl.String))
    sheet.frame = sheet.frame.with_columns(columns)
    if values.dtype == pl.String:
        sheet.set_aside(
            "a NUL character, which Postgres cannot hold", values.str.contains("\0", literal=True)
        )


def _add_order(sheet: Sheet, order_by: str, values: pl.Series) -> None:
    order = parse(values, "number", ColumnRule())
    sheet.frame = sheet.frame.with_columns(order.alias("#order"))
    sheet.set_aside(f"{order_by!r} gives no order: it is missing or no number", order.is_null(), values)


def _require(sheet: Sheet, mapping: Mapping) -> None:
    derived = DERIVED if mapping.derived_time and sheet.table.role == "leads" else ()
    for name in REQUIRED[sheet.table.role]:
        if name in derived or name not in sheet.frame.columns:
            continue
        sheet.set_aside(f"{name.partition('.')[2]} is missing", sheet.frame[name].is_null())
    if sheet.table.role == "leads" and "outcome.outcome" in sheet.frame.columns and not derived:
        undated = sheet.frame["outcome.outcome"].is_not_null() & sheet.frame["outcome.outcome_at"].is_null()
        sheet.set_aside("an outcome without a time", undated, sheet.frame["outcome.outcome"])


def _values_left_out(
    sheet: Sheet, problem: str, bad: pl.Series, values: pl.Series
) -> Iterator[ImportFinding]:
    rows = sheet.frame.select(
        LINE,
        FILE,
        pl.when(bad.fill_null(False)).then(pl.lit(problem)).alias(PROBLEM),
        values.cast(pl.String).alias(SAMPLE),
    )
    return _count(sheet.table.role, rows, "value left out")


def _count(
    role: str, rows: pl.DataFrame, consequence: Literal["row set aside", "value left out"]
) -> Iterator[ImportFinding]:
    place = pl.format("{}:{}", FILE, LINE)
    problems = rows.filter(pl.col(PROBLEM).is_not_null()).group_by(PROBLEM, maintain_order=True)
    counted = problems.agg(pl.len(), place.head(N_PLACES).alias("places"), pl.col(SAMPLE).first())
    for problem, n_rows, places, sample in counted.rows():
        yield ImportFinding(role, problem, n_rows, tuple(places), (sample or "")[:100], consequence)


def _describe(finding: ImportFinding) -> str:
    sample = f", for example {finding.sample!r}" if finding.sample else ""
    return f"{finding.problem}: {finding.n_rows:,} rows{sample} ({', '.join(finding.places)})"
