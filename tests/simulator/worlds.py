"""Simulated tables, whole, for tests."""

from functools import cache

import polars as pl

from simulator import SimulationConfig, simulate

DEFAULT = SimulationConfig(n_leads=6_000)


@cache
def tables(config: SimulationConfig = DEFAULT, chunk_leads: int = 10_000) -> dict[str, pl.DataFrame]:
    parts: dict[str, list[pl.DataFrame]] = {}
    for chunk in simulate(config, chunk_leads):
        for name, frame in chunk.tables.items():
            parts.setdefault(name, []).append(frame)
    return {name: pl.concat(frames) for name, frames in parts.items()}
