"""Published scores of the past, as frames: what the monitors hold against outcomes.

Nights without a model (a rule, the pooled prior) are left out: their scores say nothing of any model.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, LiteralString

import polars as pl

from flows.adapters.database import Database
from flows.adapters.score_runs import ROLE
from flows.status import NO_MODEL

_DATES = """
    SELECT DISTINCT as_of_date FROM scoring.score_run
    WHERE model_key = %s AND state = 'published' AND as_of_date <= %s AND model_version <> %s ORDER BY 1
"""
_SCORES = """
    SELECT as_of_date, lead_id, probability FROM scoring.lead_score_history
    WHERE model_key = %s AND as_of_date = ANY(%s) AND probability IS NOT NULL AND model_version <> %s
"""
_FIRST = """
    SELECT DISTINCT ON (lead_id) as_of_date, lead_id, probability FROM scoring.lead_score_history
    WHERE model_key = %s AND as_of_date BETWEEN %s AND %s AND probability IS NOT NULL AND model_version <> %s
    ORDER BY lead_id, as_of_date
"""
SCHEMA: dict[str, Any] = {"as_of_date": pl.Date, "lead_id": pl.String, "probability": pl.Float64}


def published_dates(database: Database, model_key: str, through: date) -> list[date]:
    """Return the dates that have published scores of a model, oldest first."""
    with database.connect(ROLE) as connection:
        return [day for (day,) in connection.execute(_DATES, [model_key, through, NO_MODEL]).fetchall()]


def scores_of_dates(database: Database, model_key: str, dates: Sequence[date]) -> pl.DataFrame:
    """Return as_of_date, lead_id and probability as models' scores were published on some dates."""
    return _frame(database, _SCORES, [model_key, list(dates), NO_MODEL])


def first_scores(database: Database, model_key: str, first: date, last: date) -> pl.DataFrame:
    """Return each lead's first score by a model, published from `first` to `last`: the columns above."""
    return _frame(database, _FIRST, [model_key, first, last, NO_MODEL])


def _frame(database: Database, query: LiteralString, parameters: list[Any]) -> pl.DataFrame:
    with database.connect(ROLE) as connection:
        rows = connection.execute(query, parameters).fetchall()
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
