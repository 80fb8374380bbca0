"""From a configuration to rows: dimensions first, then leads in chunks of bounded size."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from simulator.columns import ids, instants, labels
from simulator.config import SimulationConfig
from simulator.dimension_tables import dimension_tables
from simulator.dimensions import Dimensions, draw_dimensions
from simulator.lead_tables import lead_tables
from simulator.lifecycle import Fate, draw_fate, with_duplicates
from simulator.population import Leads, draw_leads, fit_intercept
from simulator.stages import draw_stages
from simulator.touch_tables import touch_tables
from simulator.touches import draw_touches

# Leads that share one random stream. Part of what a seed means: changing it changes every row.
BLOCK_LEADS = 1_000


@dataclass(frozen=True)
class Chunk:
    """Rows of some leads (`n_leads` = 0: of the dimensions), by qualified table name such as 'crm.lead'."""

    n_leads: int
    tables: dict[str, pl.DataFrame]


def simulate(config: SimulationConfig, chunk_leads: int = 10_000) -> Iterator[Chunk]:
    """Yield the tables of schemas crm and truth in chunks; memory holds one chunk and the dimensions.

    Parameters
    ----------
    config : equal configurations yield equal rows, in equal order, whatever the chunk size.
    chunk_leads : most leads per chunk, rounded down to whole blocks of 1,000 (at least one).
    """
    if chunk_leads < 1:
        raise ValueError(f"chunk_leads={chunk_leads} should be at least 1")
    world = draw_dimensions(config)
    intercept = fit_intercept(config, world)
    yield Chunk(0, dimension_tables(config, world))
    n_blocks = -(-config.n_leads // BLOCK_LEADS)
    step = max(1, chunk_leads // BLOCK_LEADS)
    for first in range(0, n_blocks, step):
        blocks = [
            _block(config, world, intercept, block) for block in range(first, min(first + step, n_blocks))
        ]
        yield Chunk(
            n_leads=sum(block["crm.lead"].height for block in blocks),
            tables={name: pl.concat([block[name] for block in blocks]) for name in blocks[0]},
        )


def _block(
    config: SimulationConfig, world: Dimensions, intercept: float, block: int
) -> dict[str, pl.DataFrame]:
    """All rows of one block of leads; its draws depend on the seed and the block's number only."""
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(3, block)))
    number = np.arange(block * BLOCK_LEADS, min((block + 1) * BLOCK_LEADS, config.n_leads))
    leads, first = with_duplicates(rng, draw_leads(rng, config, world, intercept, number))
    fate = draw_fate(rng, leads, first)
    moves = draw_stages(rng, config, leads, fate)
    touches = draw_touches(rng, config, world, leads, fate)
    return {
        **lead_tables(rng, config, world, leads, fate, moves),
        **touch_tables(rng, config, leads, touches, block),
        "truth.lead": _truth(config, leads, fate),
    }


def _truth(config: SimulationConfig, leads: Leads, fate: Fate) -> pl.DataFrame:
    """Hidden parameters and fates, those after the clock included: what no pipeline may read."""
    hidden = leads.hidden
    kind = np.where(fate.has_outcome, np.where(fate.converts, 0, 1), -1)
    return pl.DataFrame(
        {
            "lead_id": ids("00Q", leads.number),
            "created_at": instants(config, leads.created),
            "p_convert": hidden.p_convert,
            "delay_mu": hidden.delay_mu,
            "delay_sigma": hidden.delay_sigma,
            "loss_mu": hidden.loss_mu,
            "loss_sigma": hidden.loss_sigma,
            "never_lost": hidden.never_lost,
            "outcome": labels(("converted", "lost"), kind),
            "outcome_at": instants(config, np.where(fate.has_outcome, fate.outcome_at, np.inf)),
            "closed_at": instants(config, fate.closed_at),
        }
    )
