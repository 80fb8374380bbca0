"""Read what the CRM knew at a date into frames, and account for every row that is not believed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import polars as pl

import sql as sql_files
from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.erased import erased_ids
from flows.adapters.source_contract import ContractReport, SourceContractError, check_contract
from flows.adapters.source_frames import FRAMES, SAMPLED

if TYPE_CHECKING:
    import adbc_driver_manager as adbc

__all__ = [
    "ContractReport",
    "Finding",
    "NoLeadsError",
    "SetAside",
    "SourceContractError",
    "check_contract",
    "read_sources",
]

SAMPLE_SIZE = 5

Narrowed = tuple[str, list[Any]]
"""A staging query over fewer rows, and its parameters after the first."""


class NoLeadsError(RuntimeError):
    """There is no lead to work with; the message says since when there are any."""


class Finding(NamedTuple):
    """Rows of one frame that broke one rule.

    Attributes
    ----------
    frame, rule : which frame, and what is wrong, in words.
    n_rows : how many rows.
    sample_ids : up to five of their ids.
    consequence : 'row set aside', or 'value left out' where the rest of the row is kept.
    """

    frame: str
    rule: str
    n_rows: int
    sample_ids: tuple[str, ...]
    consequence: Literal["row set aside", "value left out"] = "row set aside"


@dataclass(frozen=True)
class SetAside:
    """What was read and what was not believed: `n_read[frame]` = rows of the frame + rows set aside.

    Attributes
    ----------
    n_read : rows the staging query returned, by frame.
    findings : one per frame and rule that was broken.
    """

    n_read: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def n_rows(self) -> int:
        """Rows set aside in all frames."""
        return sum(f.n_rows for f in self.findings if f.consequence == "row set aside")

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict per finding, for logs, reports and JSON."""
        return [finding._asdict() | {"sample_ids": list(finding.sample_ids)} for finding in self.findings]


def read_sources(database: Database, as_of: date) -> tuple[Sources, SetAside]:
    """Read the staged frames as they were known at midnight UTC of `as_of`.

    All frames come from one snapshot of the database, read as role `crm_reader`.

    Parameters
    ----------
    database : with an installed source adapter; call `check_contract` first for messages that name columns.
    as_of : rows known at or after this date are left out.

    Raises
    ------
    NoLeadsError : no lead is known at `as_of`.
    """
    frames: dict[str, pl.DataFrame] = {}
    n_read: dict[str, int] = {}
    findings: list[Finding] = []
    with database.connect("crm_reader") as connection:
        gone = erased_ids(connection)
    with reading(database, datetime.combine(as_of, time(), UTC)) as read:
        for name in FRAMES:
            staged = without(gone, read(name))
            n_read[name] = staged.height
            frames[name], found = believe(name, staged)
            findings += found
    if frames["lead"].is_empty():
        raise NoLeadsError(_explain_no_leads(database, as_of, findings))
    return Sources(**frames), SetAside(n_read, tuple(findings))


def without(gone: Sequence[str], staged: pl.DataFrame) -> pl.DataFrame:
    """Return a staged frame without the rows of erased leads, whatever else is wrong with these."""
    if not gone:
        return staged
    for column in ("lead_id", "entity_id"):
        if column in staged.columns:
            return staged.filter(~pl.col(column).is_in(gone).fill_null(False))
    return staged


def believe(name: str, staged: pl.DataFrame) -> tuple[pl.DataFrame, list[Finding]]:
    """Split a staged frame into the rows its contract accepts and findings about the others.

    Parameters
    ----------
    name : of the frame.
    staged : its columns and `problem` (text or null), what the staging query found.
    """
    sample_id = pl.col(SAMPLED[name]).fill_null("(null)")
    in_question = staged.filter(pl.col("problem").is_not_null())
    findings = _count(name, in_question.select("problem", sample_id=sample_id))
    frame, found = _leave_out_non_finite(name, staged.filter(pl.col("problem").is_null()), sample_id)
    accepted, failure = FRAMES[name].filter(frame.drop("problem"))
    if len(failure):
        findings += _count(name, failure.details().select(_first_broken_rule(failure), sample_id=sample_id))
    return accepted, findings + found


def _first_broken_rule(failure: Any) -> pl.Expr:
    """Each row counts once, under the first rule it breaks."""
    words = {"nullability": "is missing", "min": "is before 1990"}
    rules = [(rule, *rule.split("|")) for rule in failure.counts()]
    return pl.coalesce(
        pl.when(pl.col(rule) == "invalid").then(pl.lit(f"{column} {words[kind]}"))
        for rule, column, kind in rules
    ).alias("problem")


def _leave_out_non_finite(
    name: str, frame: pl.DataFrame, sample_id: pl.Expr
) -> tuple[pl.DataFrame, list[Finding]]:
    """NaN and infinity become null: one bad number does not cost the lead its score."""
    findings: list[Finding] = []
    for column in frame.select(pl.col(pl.Float64)).columns:
        broken = frame.filter(~pl.col(column).is_finite())
        if broken.height:
            found = _count(
                name, broken.select(sample_id=sample_id, problem=pl.lit(f"{column} is not finite"))
            )
            findings += [finding._replace(consequence="value left out") for finding in found]
            frame = frame.with_columns(pl.when(pl.col(column).is_finite()).then(pl.col(column)).alias(column))
    return frame, findings


def _count(name: str, rows: pl.DataFrame) -> list[Finding]:
    counted = (
        rows.group_by("problem").agg(pl.len(), pl.col("sample_id").sort().head(SAMPLE_SIZE)).sort("problem")
    )
    return [Finding(name, problem, n_rows, tuple(ids)) for problem, n_rows, ids in counted.rows()]


@contextmanager
def reading(database: Database, as_of: datetime) -> Iterator[Callable[..., pl.DataFrame]]:
    """A function from a frame's name to its staged rows, all from one snapshot, by ADBC in Arrow batches.

    It takes another text of the staging query with further parameters where not all rows are wanted.

    A table of 1M activities: ADBC 1.8 s and 625 MiB (360 MiB without a bound parameter), COPY as CSV 4.4 s,
    psycopg rows 11.7 s and 1,840 MiB. The staging query, which looks for duplicates, takes 4 s.
    """
    with (
        ThreadPoolExecutor(1, thread_name_prefix="source-reader") as beside,
        _snapshot(database, beside) as statement,
    ):

        def read(name: str, narrowed: Narrowed | None = None) -> pl.DataFrame:
            text, more = (sql_files.load(f"staging/stg_{name}.sql"), []) if narrowed is None else narrowed
            parameters = pl.DataFrame([[value] for value in (as_of, *more)])
            statement.set_sql_query(text)
            statement.prepare()
            statement.bind_stream(parameters.__arrow_c_stream__())
            rows = pl.DataFrame(statement.execute_query()[0])
            return rows.cast(pl.Schema({**pl.Schema(FRAMES[name]), "problem": pl.String()}))

        def interruptible(work: Callable[..., Any], *arguments: Any) -> Any:
            # The main thread stays in Python, so that Ctrl-C ends a query as soon as it is pressed.
            working = beside.submit(work, *arguments)
            try:
                return working.result()
            except KeyboardInterrupt:
                statement.cancel()
                raise

        yield partial(interruptible, read)


@contextmanager
def _snapshot(database: Database, beside: ThreadPoolExecutor) -> Iterator["adbc.AdbcStatement"]:
    """A statement in a transaction that sees one moment and writes nothing.

    The one thread of `beside` opens and closes all handles: Ctrl-C in the main thread cannot come between a
    handle and its name, and what is half open is closed in order.
    """
    handles: list[Any] = []

    def begin() -> "adbc.AdbcStatement":
        # Not by `dbapi`: it imports pyarrow's datasets and pandas, 0.8 s that a command would wait for.
        import adbc_driver_manager as adbc
        import adbc_driver_postgresql

        handles.append(adbc_driver_postgresql.connect(database.uri(role="crm_reader")))
        handles.append(adbc.AdbcConnection(handles[-1]))
        handles[-1].set_autocommit(False)
        handles.append(statement := adbc.AdbcStatement(handles[-1]))
        # Recursive merges look so costly that compiling would be started for nothing.
        for text in ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET LOCAL jit = off"):
            statement.set_sql_query(text)
            statement.execute_update()
        return statement

    def close() -> None:
        while handles:
            handles.pop().close()

    try:
        yield beside.submit(begin).result()
    finally:
        beside.submit(close).result()


def _explain_no_leads(database: Database, as_of: date, findings: list[Finding]) -> str:
    with database.connect("crm_reader") as connection:
        row = connection.execute(
            "SELECT count(*), min(created_at) FILTER (WHERE isfinite(created_at)) FROM source.lead"
        ).fetchone()
    n_leads, first = row or (0, None)
    if n_leads == 0:
        return "source.lead is empty: fill it with `leadscore simulate` or `leadscore import`"
    n_bad = sum(finding.n_rows for finding in findings if finding.frame == "lead")
    since = f"the first is of {first:%Y-%m-%d}" if first else "none has a usable created_at"
    return (
        f"source.lead has {n_leads} leads but none that is known at {as_of} ({n_bad} set aside; {since}):"
        " choose another --as-of, or check the data's clock"
    )
