"""The scores of two nights side by side, as they were published."""

from datetime import date

import polars as pl

from flows.adapters import score_tables
from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE, Run

_PAIRS = """
    SELECT old.probability, new.probability, old.grade, new.grade
    FROM scoring.lead_score_history AS old
    JOIN scoring.lead_score_history AS new USING (lead_id)
    WHERE old.run_id = %s AND old.as_of_date = %s AND new.run_id = %s AND new.as_of_date = %s
      AND old.tier IS DISTINCT FROM 'pooled_prior' AND new.tier IS DISTINCT FROM 'pooled_prior'
      AND old.probability IS NOT NULL AND new.probability IS NOT NULL
"""
_SCHEMA = {
    "old_probability": pl.Float64,
    "probability": pl.Float64,
    "old_grade": pl.String,
    "grade": pl.String,
}


def score_pairs(database: Database, run: Run) -> tuple[pl.DataFrame, date] | None:
    """Return the leads a model scored in a published run and in that of the date before it, and that date.

    None for the first date.
    """
    with database.begin(ROLE) as connection:
        before = connection.execute(score_tables.run_before(run.model_key, run.as_of)).first()
    if before is None:
        return None
    with database.connect(ROLE) as driver:
        rows = driver.execute(_PAIRS, [before.run_id, before.as_of_date, run.run_id, run.as_of]).fetchall()
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row"), before.as_of_date
