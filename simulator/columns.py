"""From arrays of days and codes to Polars columns: instants, labels, identifiers, arrival in the replica."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.config import SimulationConfig

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

INSTANT = pl.Datetime("us", "UTC")
US_PER_SECOND = 1_000_000


def instants(config: SimulationConfig, days: FloatArray) -> pl.Series:
    """Days since the start as UTC instants of whole seconds; infinity becomes null."""
    start = int(config.start_instant.timestamp()) * US_PER_SECOND
    finite = np.isfinite(days)
    micros = start + np.rint(np.where(finite, days, 0.0) * 86_400.0).astype(np.int64) * US_PER_SECOND
    column = pl.Series(micros).cast(INSTANT)
    return column if finite.all() else masked(column, finite)


def masked(column: pl.Series, keep: BoolArray) -> pl.Series:
    """The column with nulls where `keep` is false."""
    return pl.select(pl.when(pl.Series(keep)).then(column)).to_series()


def labels(values: Sequence[str], codes: IntArray) -> pl.Series:
    """Text of codes; -1 becomes null."""
    column = pl.Series(values=list(values), dtype=pl.String).gather(np.maximum(codes, 0))
    return column if (codes >= 0).all() else masked(column, codes >= 0)


def ids(prefix: str, numbers: IntArray) -> pl.Series:
    """Identifiers of fifteen characters, as Salesforce has them; a negative number becomes null."""
    digits = pl.Series(np.maximum(numbers, 0)).cast(pl.String).str.zfill(15 - len(prefix))
    column = prefix + digits
    return column if (numbers >= 0).all() else masked(column, numbers >= 0)


def arrival(
    rng: np.random.Generator, at: FloatArray, late_share: float, typical_days: float, most_days: float
) -> FloatArray:
    """When rows reach the replica: minutes after they happen, for `late_share` of them days."""
    n = at.size
    minutes = rng.exponential(12.0 / 1440.0, n)
    late = np.minimum(rng.lognormal(np.log(typical_days), 0.9, n), most_days)
    return at + np.where(rng.random(n) < late_share, late, minutes)


def with_repeats(
    rng: np.random.Generator, config: SimulationConfig, frame: pl.DataFrame, share: float
) -> pl.DataFrame:
    """The frame plus second copies of some rows, landed again up to two days later; then cut at the clock."""
    again = pl.Series(rng.random(frame.height) < share)
    repeats = frame.filter(again)
    gap = pl.Series((rng.uniform(0.01, 2.0, repeats.height) * 86_400).astype(np.int64) * US_PER_SECOND)
    repeats = repeats.with_columns(pl.col("_synced") + gap.cast(pl.Duration("us")))
    clock = instants(config, np.array([float(config.n_days)]))[0]
    return pl.concat([frame, repeats]).filter(pl.col("_synced") < clock)
