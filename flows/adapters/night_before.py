"""The scores that tonight's are compared with, and the model that made them."""

import logging
from datetime import date

import polars as pl

from flows.adapters import score_tables
from flows.adapters.database import Database
from flows.adapters.registry import Registry, RegistryError
from flows.adapters.score_runs import ROLE
from flows.lead_model import LeadModel
from flows.score_changes import NightBefore
from flows.status import NO_MODEL

log = logging.getLogger(__name__)

_RUN = "SELECT model_version FROM scoring.score_run WHERE run_id = %s"
_SCORES = """
    SELECT lead_id, probability, score FROM scoring.lead_score_history
    WHERE run_id = %s AND as_of_date = %s AND probability IS NOT NULL
"""


def night_before(
    database: Database, registry: Registry, model_key: str, as_of: date, model: LeadModel, model_version: str
) -> NightBefore | None:
    """Return the newest scores published for an earlier date, the ones that `delta` is counted from.

    Parameters
    ----------
    model, model_version : of tonight, so that the same model is not loaded twice.

    Returns
    -------
    None before the second night, and where no model made the earlier scores or it cannot be loaded any more.
    """
    with database.begin(ROLE) as connection:
        found = connection.execute(score_tables.run_before(model_key, as_of)).first()
    if found is None:
        return None
    with database.connect(ROLE) as driver:
        version = str(driver.execute(_RUN, [found.run_id]).fetchall()[0][0])
        if version == NO_MODEL:
            return None
        rows = driver.execute(_SCORES, [found.run_id, found.as_of_date]).fetchall()
    schema = {"lead_id": pl.String, "probability": pl.Float64, "score": pl.Int16}
    scores = pl.DataFrame(rows, schema=schema, orient="row")
    try:
        earlier = model if version == model_version else registry.load(int(version))
    except (RegistryError, ValueError) as error:
        log.warning("why scores moved is not said tonight: version %s cannot be loaded (%s)", version, error)
        return None
    return NightBefore(found.as_of_date, scores, earlier, version)
