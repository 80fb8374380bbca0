"""A simulated CRM as the product reads it, and beside it the chances that no product can see."""

import numpy as np
import polars as pl

from features.sources import Sources
from flows.adapters.database import Database
from flows.adapters.migrations import migrate
from flows.adapters.source_reader import read_sources
from flows.commands.data import load_simulated_crm
from flows.progress import Progress
from simulator import SimulationConfig
from simulator.truth import conversion_probability


def simulated_crm(database: Database, config: SimulationConfig) -> tuple[Sources, pl.DataFrame]:
    """Simulate and load a CRM; return what is known at its end, and the simulator's hidden table of leads."""
    migrate(database)
    load_simulated_crm(database, config, Progress())
    sources, _ = read_sources(database, config.end)
    with database.connect() as connection:
        cursor = connection.execute("SELECT * FROM truth.lead")
        names = [column.name for column in cursor.description or ()]
        hidden = pl.DataFrame(cursor.fetchall(), schema=names, orient="row", infer_schema_length=None)
    return sources, hidden


def true_chances(hidden: pl.DataFrame, keys: pl.DataFrame, horizon_days: int) -> np.ndarray:
    """Return the true chance of each (lead_id, snapshot_date), float64 (n,).

    A lead that had ended unseen before its snapshot has none.
    """
    found = pl.concat(
        conversion_probability(hidden, day, horizon_days)
        .select("lead_id", "probability")
        .with_columns(snapshot_date=pl.lit(day))
        for day in keys["snapshot_date"].unique().to_list()
    )
    joined = keys.join(found, on=["lead_id", "snapshot_date"], how="left", maintain_order="left")
    return joined["probability"].fill_null(0.0).to_numpy()
