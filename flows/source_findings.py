"""What the doctor says about the leads: what is there, how fresh, whether it can be learnt from."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from features.readiness import MIN_WINS
from flows.adapters.database import Database
from flows.adapters.leak_rulings import in_force
from flows.adapters.migrations import installed_source, missing_columns
from flows.adapters.settings import Settings
from flows.adapters.source_audit import OUTSIDE_PATH, LabelAudit, label_audit, volumes
from flows.adapters.source_contract import CONTRACT, check_contract
from flows.finding import Finding

_STALE_DAYS = 3
_ORPHANS, _TOO_EARLY = OUTSIDE_PATH["without_lead"], OUTSIDE_PATH["before_creation"]


def contract(database: Database) -> Finding:
    """Say which columns of the contract hold values, and what the others would buy."""
    with database.connect("crm_reader") as connection:
        report = check_contract(connection)
    empty = {(column.view, column.column): column.buys for column in report.unused}
    rows = tuple(
        {
            "column": f"{view}.{name}",
            "state": "empty" if (view, name) in empty else "required" if column.buys is None else "found",
            "buys": column.buys or "",
        }
        for view, columns in CONTRACT.items()
        for name, column in columns.items()
    )
    filled = f"{len(rows) - len(empty)} of {len(rows)} columns filled"
    if not empty:
        return Finding("contract", "ok", f"{len(CONTRACT)} views, {filled}", rows=rows)
    costs = "; ".join(dict.fromkeys(empty.values()))
    return Finding(
        "contract",
        "ok",
        f"{len(CONTRACT)} views, {filled}; without the others there is no: {costs}",
        rows=rows,
    )


def replica(database: Database) -> Finding:
    """Say what of a replicated CRM was not found, and what that costs."""
    source, missing = installed_source(database), missing_columns(database)
    if source is None or source.schema is None:
        return Finding("replica", "ok", "the source is no replicated CRM")
    if not missing:
        return Finding(
            "replica", "ok", f"every table and column that is read was found in schema {source.schema}"
        )
    rows = tuple(
        {"missing": ".".join(filter(None, (gap.table, gap.column))), "costs": gap.costs} for gap in missing
    )
    return Finding(
        "replica",
        "warn",
        f"{len(missing)} tables or columns were not found in schema {source.schema}",
        "replicate what is worth it, then"
        f" `leadscore db install-source {source.adapter} --schema {source.schema}`",
        rows,
    )


def freshness(database: Database) -> Finding:
    """Say how much there is in every view, and how old the newest of it is."""
    rows = volumes(database)
    counts = {row["view"]: row["n_rows"] for row in rows}
    detail = ", ".join(f"{counts[view]:,} rows in {view}" for view in ("lead", "activity", "outcome"))
    newest = max(
        (row["newest"] for row in rows if row["view"] in ("lead", "activity") and row["newest"]), default=None
    )
    if counts["lead"] == 0:
        remedy = "is the schema replicated? else run `leadscore import` or `leadscore simulate`"
        return Finding("freshness", "fail", detail, remedy, tuple(rows))
    if newest is None:
        return Finding(
            "freshness", "warn", f"{detail}; no usable dates", "check created_at and occurred_at", tuple(rows)
        )
    age_days = (data_clock(database) - newest).total_seconds() / 86_400
    detail += f"; newest of {newest:%Y-%m-%d}, {max(age_days, 0):.1f} days before the clock"
    if age_days > _STALE_DAYS:
        return Finding(
            "freshness", "warn", detail, "is the replication of the CRM still running?", tuple(rows)
        )
    return Finding("freshness", "ok", detail, rows=tuple(rows))


def data_clock(database: Database) -> datetime:
    """Now by the data's clock, else by the calendar."""
    source = installed_source(database)
    clock = source.clock if source else None
    return datetime(clock.year, clock.month, clock.day, tzinfo=UTC) if clock else datetime.now(UTC)


def labels(settings: Settings, database: Database) -> Iterator[Finding]:
    """Say whether the labels make sense, and which model they can carry, from one look at the conversions."""
    try:
        audit = label_audit(
            database, data_clock(database), timedelta(days=settings.horizon_days), settings.maturity
        )
    except Exception as error:
        yield Finding("labels", "fail", str(error).strip() or type(error).__name__, "see the message")
        return
    yield _label_sense(audit)
    yield _tier(settings, audit)


def _label_sense(audit: LabelAudit) -> Finding:
    if not audit.n_converted:
        return Finding(
            "labels",
            "warn",
            "no conversion at all",
            "check sql/intermediate/int_conversion.sql",
            audit.cohorts,
        )
    rates = [row["base_rate"] for row in audit.cohorts if row["base_rate"] is not None]
    spread = f"; base rate by month {min(rates):.1%} to {max(rates):.1%}" if rates else ""
    days = ", ".join(f"{days:,.1f}" for days in audit.days_to_convert)
    outside = "".join(f"; {count:,} {words}" for words, count in audit.outside.items())
    detail = f"{audit.n_converted:,} conversions, 10/50/90 % after {days} days{spread}{outside}"
    impossible = [words for words in (_ORPHANS, _TOO_EARLY) if words in audit.outside]
    if impossible:
        remedy = f"conversions {' and '.join(impossible)} teach nothing: check the mapping of dates and ids"
        return Finding("labels", "warn", detail, remedy, audit.cohorts)
    return Finding("labels", "ok", detail, rows=audit.cohorts)


def _tier(settings: Settings, audit: LabelAudit) -> Finding:
    """Which model the conversions that may be learnt from can carry."""
    have = f"{audit.n_mature:,} leads with a conversion that is old enough"
    if audit.n_mature < settings.min_train_positives:
        return Finding(
            "tier",
            "warn",
            f"no model of your own yet: {have}, {settings.min_train_positives} are needed",
            "wait, or shorten LEADSCORE_HORIZON_DAYS; until then `leadscore train` refuses",
        )
    if audit.n_mature < MIN_WINS:
        return Finding("tier", "ok", f"own model, in wide intervals: {have}, from {MIN_WINS} on it settles")
    return Finding("tier", "ok", f"own model: {have}")


def leak_court(database: Database) -> Finding:
    """Say which columns are denied, and whether anybody should look."""
    verdicts = in_force(database)
    if not verdicts:
        return Finding("leak court", "warn", "has never sat", "run `leadscore doctor court`")
    by_verdict = {
        word: [row for row in verdicts if row["verdict"] == word] for word in ("banned", "suspect", "allowed")
    }
    detail = ", ".join(f"{len(rows)} {word}" for word, rows in by_verdict.items())
    waiting = [row["column_name"] for row in by_verdict["suspect"]]
    rows = tuple(row | {"ruled_at": f"{row['ruled_at']:%Y-%m-%d}"} for row in verdicts)
    if waiting:
        remedy = (
            f"left out of the features until somebody has looked at {', '.join(waiting)}:"
            " `leadscore doctor court --allow COLUMN --reason ...` or `--ban COLUMN`"
        )
        return Finding("leak court", "warn", detail, remedy, rows)
    return Finding("leak court", "ok", detail, rows=rows)
