"""Numbered spine rows: how aggregates over events find their way back to the row they belong to."""

from collections.abc import Sequence

import polars as pl

from features.spine import KEYS


def number(spine: pl.DataFrame) -> pl.DataFrame:
    """Return the spine's keys with a column `row` (UInt32) in front, 0 to n - 1."""
    return spine.select(KEYS).with_row_index("row")


def attach(spine: pl.DataFrame, aggregated: pl.DataFrame, counts: Sequence[str] = ()) -> pl.DataFrame:
    """Return the spine's keys with the columns of `aggregated`, same rows and order.

    Parameters
    ----------
    aggregated : at most one line per `row`; rows of the spine it lacks become null.
    counts : columns to fill with 0 instead, where nothing happened.
    """
    joined = number(spine).join(aggregated, on="row", how="left", maintain_order="left")
    return joined.drop("row").with_columns(pl.col(counts).fill_null(0))


def by_level(
    seen: pl.DataFrame, column: str, levels: Sequence[str], aggregates: Sequence[pl.Expr], n_rows: int
) -> pl.DataFrame:
    """Aggregate per spine row and level of `column`.

    Returns
    -------
    DataFrame of `n_rows` lines in spine order with a column `<level>_<aggregate>` for each; null where
    nothing was seen. A dense grid of rows times levels read with a stride is four times as fast as a pivot.
    """
    width = len(levels)
    code = pl.col(column).cast(pl.Enum(levels)).to_physical().cast(pl.Int64)
    cells = seen.group_by(cell=pl.col("row").cast(pl.Int64) * width + code).agg(aggregates)
    grid = pl.DataFrame({"cell": pl.int_range(n_rows * width, eager=True)}).join(
        cells, on="cell", how="left", maintain_order="left"
    )
    names = [name for name in cells.columns if name != "cell"]
    return pl.DataFrame(
        {
            f"{level}_{name}": grid[name].gather_every(width, place)
            for place, level in enumerate(levels)
            for name in names
        }
    )
