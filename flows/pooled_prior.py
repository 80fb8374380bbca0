"""What is said of leads before there are enough conversions for a model: how leads of their source fared.

The share of earlier (lead, snapshot) rows that converted, counted as a model's labels are, is pulled to the
average of all sources by as many leads as `PULL`: the posterior mean of a beta prior of that weight.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from features.sources import Sources
from flows.adapters.settings import Settings
from flows.dataset import all_labels

PULL = 25.0
"""A source counts as much as this many average leads that were added to it."""
JEFFREYS = 0.5
UNKNOWN = "unknown"


@dataclass(frozen=True)
class PooledPrior:
    """Conversions of the past by lead source.

    Attributes
    ----------
    n_leads, n_won : earlier leads whose outcome had time to arrive, and those of them that converted.
    rate : share of all their rows that converted, in (0, 1).
    by_source : lead_source (never null), n_leads, n_won and probability, in (0, 1).
    """

    n_leads: int
    n_won: int
    rate: float
    by_source: pl.DataFrame

    def of(self, sources: pl.Series) -> pl.DataFrame:
        """Return lead_source, n_leads, n_won and probability of leads, (n,); the average for new sources."""
        rows = pl.DataFrame({"lead_source": sources.fill_null(UNKNOWN)})
        return rows.join(self.by_source, on="lead_source", how="left", maintain_order="left").with_columns(
            pl.col("probability").fill_null(self.rate), pl.col("n_leads", "n_won").fill_null(0)
        )


def pooled_prior(sources: Sources, as_of: date, settings: Settings) -> PooledPrior | None:
    """Count conversions by source; None where nobody has converted, or everybody: that tells nothing.

    Parameters
    ----------
    sources : what was known at `as_of`.
    """
    rows, labels = all_labels(sources, as_of, settings)
    keep = labels.is_mature(as_of) & ~labels.is_void(as_of)
    won = labels.is_won(as_of)[keep]
    if not won.any() or won.all():
        return None
    counted = (
        rows.filter(pl.Series(keep, dtype=pl.Boolean))
        .select("lead_id", is_won=pl.Series(won))
        .join(sources.lead.select("lead_id", "lead_source"), on="lead_id", how="left")
        .with_columns(pl.col("lead_source").fill_null(UNKNOWN))
    )
    n_leads = counted["lead_id"].n_unique()
    rate = float((n_leads * np.mean(won) + JEFFREYS) / (n_leads + 2 * JEFFREYS))
    share, n = pl.col("is_won").mean(), pl.col("lead_id").n_unique()
    by_source = counted.group_by("lead_source").agg(
        n_leads=n.cast(pl.Int64),
        n_won=pl.col("lead_id").filter("is_won").n_unique().cast(pl.Int64),
        probability=(n * share + PULL * rate) / (n + PULL),
    )
    return PooledPrior(n_leads, int(by_source["n_won"].sum()), rate, by_source.sort("lead_source"))
