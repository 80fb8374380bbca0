"""What became of the leads of the worklist's standing experiment: arms as drawn, outcomes as recorded."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from features.touches import OUTBOUND_TYPES
from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.adapters.source_reader import believe, reading
from flows.uplift_report import SCHEMA

_DRAWN = """
    SELECT drawn.lead_id, arm, propensity, assigned_on, history.probability
    FROM scoring.exploration AS drawn
    LEFT JOIN scoring.lead_score_history AS history
      ON history.lead_id = drawn.lead_id AND history.as_of_date = drawn.assigned_on
     AND history.model_key = drawn.model_key
    WHERE drawn.model_key = %(model_key)s
      AND (%(since)s::date IS NULL OR assigned_on >= %(since)s)
      AND assigned_on < LEAST(%(as_of)s, %(until)s::date + 1)
    ORDER BY drawn.lead_id
"""
# As flows.adapters.worklist.last_touches: campaign mail and what a machine did are no work by a person.
_WORKED = """
    SELECT drawn.lead_id
    FROM unnest(%(leads)s::text[], %(days)s::date[]) AS drawn (lead_id, day)
    WHERE EXISTS (
        SELECT FROM source.activity AS touch
        WHERE touch.lead_id = drawn.lead_id
          AND touch.occurred_at >= drawn.day::timestamp AT TIME ZONE 'UTC'
          AND touch.occurred_at < (drawn.day + %(horizon_days)s)::timestamp AT TIME ZONE 'UTC'
          AND (touch.direction = 'outbound'
               OR (touch.direction IS NULL AND touch.activity_type = ANY(%(outbound)s)))
          AND touch.campaign_id IS NULL AND touch.is_bot IS NOT TRUE
    )
"""


def drawn_leads(
    database: Database,
    model_key: str,
    as_of: date,
    horizon_days: int,
    since: date | None = None,
    until: date | None = None,
) -> pl.DataFrame:
    """Return every lead that was drawn into an arm, with its outcome within the horizon as known at `as_of`.

    Parameters
    ----------
    since, until : the first and the last day on which arms were drawn; None: no limit.

    Returns
    -------
    Columns of `flows.uplift_report.SCHEMA`. Of several currencies the one of most conversions counts; amounts
    in others are null.
    """
    limits = {"model_key": model_key, "as_of": as_of, "since": since, "until": until}
    with database.connect(ROLE) as connection:
        rows = connection.execute(_DRAWN, limits).fetchall()
    drawn = pl.DataFrame(rows, schema={name: SCHEMA[name] for name in list(SCHEMA)[:5]}, orient="row")
    converted = _conversions(database, as_of, drawn, horizon_days)
    worked = _worked(database, drawn, horizon_days)
    return (
        drawn.join(converted, on="lead_id", how="left", maintain_order="left")
        .with_columns(
            is_converted=pl.col("is_converted").fill_null(False),
            is_worked=pl.col("lead_id").is_in(worked.implode()),
        )
        .select(list(SCHEMA))
    )


def _conversions(database: Database, as_of: date, drawn: pl.DataFrame, horizon_days: int) -> pl.DataFrame:
    """First conversion of each lead within the horizon: lead_id, is_converted, amount."""
    with reading(database, datetime.combine(as_of, time(), UTC)) as read:
        outcome, _ = believe("outcome", read("outcome"))
    start = pl.col("assigned_on").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    won = outcome.filter("is_conversion").join(drawn.select("lead_id", "assigned_on"), on="lead_id")
    within = won.filter(
        pl.col("outcome_at") >= start, pl.col("outcome_at") < start + timedelta(days=horizon_days)
    ).unique("lead_id", keep="any")
    currency = within.drop_nulls("amount")["currency"].fill_null("").mode().sort()
    usual = currency[0] if len(currency) else ""
    amount = pl.when(pl.col("currency").fill_null("") == usual).then("amount")
    return within.select("lead_id", is_converted=pl.lit(True), amount=amount)


def _worked(database: Database, drawn: pl.DataFrame, horizon_days: int) -> pl.Series:
    """Leads that a person turned to within the horizon."""
    asked: dict[str, Any] = {
        "leads": drawn["lead_id"].to_list(),
        "days": drawn["assigned_on"].to_list(),
        "horizon_days": horizon_days,
        "outbound": list(OUTBOUND_TYPES),
    }
    with database.connect("crm_reader") as connection:
        rows = connection.execute(_WORKED, asked).fetchall()
    return pl.Series("lead_id", [lead_id for (lead_id,) in rows], dtype=pl.String)
