"""From the sheets of an export to the rows of the tables that hold it."""

from datetime import date

import polars as pl

from flows.import_mapping import Mapping
from flows.import_tables import (
    ATTRS,
    FILE,
    LINE,
    NO_OUTCOME,
    PROBLEM,
    Sheet,
    find_leads,
    set_duplicates_aside,
)
from flows.import_targets import TARGETS

DTYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "number": pl.Float64(),
    "bool": pl.Boolean(),
    "timestamp": pl.Datetime("us", "UTC"),
}
ID_COLUMNS = {"activity": ("activity_id", "lead_id")}


def build_frames(sheets: list[Sheet], mapping: Mapping) -> dict[str, pl.DataFrame]:
    """Relate the sheets to each other and cut them into the tables lead, outcome, activity and consent.

    A lead whose outcome had to be set aside goes too: it would pass for one that never converted.

    Parameters
    ----------
    sheets : one per table of the mapping; rows that cannot be used get their problem here.

    Raises
    ------
    MappingError : more rows than `max_set_aside_share` are unusable.
    """
    leads = next(sheet for sheet in sheets if sheet.table.role == "leads")
    set_duplicates_aside(leads, "lead.lead_id")
    others = [sheet for sheet in sheets if sheet is not leads]
    outcomes = [sheet for sheet in others if sheet.table.role == "outcomes"]
    for sheet in outcomes:
        find_leads(sheet, leads.kept())
    _set_misjudged_leads_aside(leads, outcomes)
    activities = [sheet for sheet in others if sheet.table.role == "activities"]
    for sheet in activities:
        find_leads(sheet, leads.kept())
        _number_activities(sheet)
    for sheet in sheets:
        sheet.refuse_if_too_many()
    kept = _with_times(leads.kept(), mapping)
    own_outcomes = [_own_outcomes(kept)] if "outcome.outcome" in kept.columns else []
    return {
        "lead": _leads(kept),
        "outcome": _stack("outcome", own_outcomes + [sheet.kept() for sheet in outcomes]),
        "activity": _stack("activity", [sheet.kept() for sheet in activities]),
        "consent": _consents(kept),
    }


def _set_misjudged_leads_aside(leads: Sheet, outcomes: list[Sheet]) -> None:
    for sheet in outcomes:
        judged = sheet.kept()["outcome.lead_id"].implode()
        unusable = (pl.col(PROBLEM) != NO_OUTCOME) & ~pl.col("outcome.lead_id").is_in(judged)
        lost = sheet.frame.filter(unusable)["outcome.lead_id"]
        is_lost = leads.frame["lead.lead_id"].is_in(lost.drop_nulls().implode())
        leads.set_aside("its outcome was set aside", is_lost, leads.frame["lead.lead_id"])


def _number_activities(sheet: Sheet) -> None:
    """Name activities without an id by file and line: importing again names them alike."""
    if "activity.activity_id" in sheet.frame.columns:
        sheet.set_aside("activity_id is missing", sheet.frame["activity.activity_id"].is_null())
    else:
        name = pl.format("{}:{}", FILE, LINE).alias("activity.activity_id")
        sheet.frame = sheet.frame.with_columns(name)
    set_duplicates_aside(sheet, "activity.activity_id", "activity.lead_id")


def _with_times(leads: pl.DataFrame, mapping: Mapping) -> pl.DataFrame:
    if mapping.derived_time is None:
        return leads
    times = mapping.derived_time.times(leads["#order"], mapping.clock or date.today())
    second = pl.lit("second")
    return leads.with_columns(
        times["created_at"].alias("lead.created_at"),
        times["outcome_at"].alias("outcome.outcome_at"),
        second.alias("lead.created_at#precision"),
        second.alias("outcome.outcome_at#precision"),
    )


def _leads(kept: pl.DataFrame) -> pl.DataFrame:
    frame = _table("lead", kept, {"created_precision": "lead.created_at#precision"})
    own = [column for column in kept.columns if column.startswith(f"{ATTRS}.")]
    custom = kept.select(pl.col(column).alias(column.removeprefix(f"{ATTRS}.")) for column in own)
    attrs = custom.select(pl.struct(pl.all()).struct.json_encode()).to_series() if own else None
    return frame.with_columns(
        pl.coalesce("updated_at", "created_at").alias("updated_at"),
        pl.lit(attrs, pl.String).alias(ATTRS) if attrs is None else attrs.alias(ATTRS),
    )


def _own_outcomes(kept: pl.DataFrame) -> pl.DataFrame:
    """Outcomes that stand in the leads' own rows."""
    return kept.filter(pl.col("outcome.outcome").is_not_null()).with_columns(
        pl.col("lead.lead_id").alias("outcome.lead_id")
    )


def _consents(kept: pl.DataFrame) -> pl.DataFrame:
    rows = _table(
        "consent",
        kept.with_columns(pl.col("lead.lead_id").alias("consent.lead_id")),
        {"lead_id": "lead.lead_id"},
    )
    return rows.filter(pl.any_horizontal(pl.exclude("lead_id").is_not_null()))


def _stack(table: str, sheets: list[pl.DataFrame]) -> pl.DataFrame:
    time = {"outcome": "outcome_at", "activity": "occurred_at"}[table]
    precision = {time.replace("_at", "_precision"): f"{table}.{time}#precision"}
    frames = [_table(table, sheet, precision) for sheet in sheets]
    stacked = pl.concat(frames or [_table(table, pl.DataFrame(), precision).clear()])
    return (
        stacked.unique(ID_COLUMNS[table], keep="first", maintain_order=True)
        if table in ID_COLUMNS
        else stacked
    )


def _table(table: str, sheet: pl.DataFrame, extra: dict[str, str]) -> pl.DataFrame:
    """The columns of a contract table; what the export lacks is null."""
    columns = {name: f"{table}.{name}" for name in TARGETS[table]} | extra
    dtypes = {name: DTYPES[kind] for name, kind in TARGETS[table].items()}
    return sheet.select(
        pl.col(source).alias(name)
        if source in sheet.columns
        else pl.lit(None, dtypes.get(name, pl.String())).alias(name)
        for name, source in columns.items()
    )
