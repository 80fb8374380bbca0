"""The value a field had on a day: its history where there is one, else the current value."""

from datetime import timedelta

import polars as pl

from features.sources import Datetime, Sources

KEYS = {"lead": "lead_id", "account": "account_id"}


def value_at(sources: Sources, entity: str, field: str, keys: pl.DataFrame) -> pl.Series:
    """Look up `field` of `entity` ('lead' or 'account') for each row of `keys` as of its snapshot_date.

    Parameters
    ----------
    keys : columns `lead_id` or `account_id`, and `snapshot_date` (Date).

    Returns
    -------
    Series of the field's own type, one value per row of `keys`, in its order. The newest history row with
    `valid_from` before the snapshot decides, and is null when it also ended before. Without such a row the
    current value stands: a field whose history starts late is only as good as its source, so histories should
    start at creation.
    """
    key = KEYS[entity]
    table = getattr(sources, entity)
    current = keys.select(key).join(
        table.select(key, field).unique(key, keep="any"), on=key, how="left", maintain_order="left"
    )[field]
    return with_history(sources, entity, keys, current)


def with_history(sources: Sources, entity: str, keys: pl.DataFrame, current: pl.Series) -> pl.Series:
    """Put past values of the field that `current` is named by in the place of its current ones.

    Parameters
    ----------
    keys : as for `value_at`.
    current : the current value for each row of `keys`; past ones are cast to its type or null.
    """
    key = KEYS[entity]
    history = _history(sources, entity, current.name)
    if history.is_empty():
        return current
    past = _newest_before(keys.select(key, "snapshot_date"), history.rename({"entity_id": key}), key)
    value = past["value"].cast(current.dtype, strict=False)
    return (
        pl.select(pl.when(past["is_tracked"]).then(value).otherwise(current)).to_series().alias(current.name)
    )


def _history(sources: Sources, entity: str, field: str) -> pl.DataFrame:
    rows = sources.field_history.filter((pl.col("entity") == entity) & (pl.col("field") == field))
    # of two rows that begin together the one still open wins
    return rows.select("entity_id", "value", "valid_from", "valid_to").sort(
        "valid_from", "valid_to", "value", nulls_last=True
    )


def _newest_before(keys: pl.DataFrame, history: pl.DataFrame, key: str) -> pl.DataFrame:
    at = keys.with_row_index("row").with_columns(at=pl.col("snapshot_date").cast(Datetime))
    found = at.sort("at").join_asof(
        history,
        left_on="at",
        right_on="valid_from",
        by=key,
        allow_exact_matches=False,
        check_sortedness=False,
    )
    is_over = pl.col("valid_to").is_not_null() & (pl.col("valid_to") < pl.col("at"))
    return found.sort("row").select(
        is_tracked=pl.col("valid_from").is_not_null(), value=pl.when(~is_over).then(pl.col("value"))
    )


def spells(sources: Sources, entity: str, field: str) -> pl.DataFrame:
    """List which value of `field` each entity shows at which snapshots: `value_at` for all days at once.

    Returns
    -------
    DataFrame with the entity's id, `value`, `start` and `end` (Date): shown at snapshots in `[start, end)`; a
    null start has no beginning, a null end none.
    """
    key = KEYS[entity]
    history = _history(sources, entity, field).rename({"entity_id": key})
    next_day = timedelta(days=1)
    start = pl.col("valid_from").dt.date() + next_day
    tracked = history.select(
        key,
        value=pl.col("value").cast(getattr(sources, entity).schema[field], strict=False),
        start=start,
        end=pl.min_horizontal(start.shift(-1).over(key), pl.col("valid_to").dt.date() + next_day),
    )
    first = tracked.group_by(key).agg(end=pl.col("start").min())
    current = getattr(sources, entity).select(key, value=field).join(first, on=key, how="left")
    untracked = current.select(key, "value", start=pl.lit(None, dtype=pl.Date), end="end")
    return pl.concat([untracked, tracked]).filter((pl.col("start") < pl.col("end")).fill_null(True))
