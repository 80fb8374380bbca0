"""Attrs group: a CRM's custom columns, from the lead's `attrs` JSON, which holds today's values alone.

Where `field_history` has a field `attrs_<key>`, the value is the one that the lead had at the snapshot.

Which columns there are, and of what kind, is an argument: training discovers it once and the encoding
remembers it (`Encoding.attr_kinds`), so that a key that appears or vanishes later does not change the model's
columns.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from features.fields import with_history
from features.sources import Sources
from features.spine import KEYS

Kind = Literal["numeric", "category"]
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


def discover(lead: pl.DataFrame) -> dict[str, Kind]:
    """Return the kind of every key found in `attrs`, sorted by name.

    A key is numeric when each of its non-null values is a number or reads as one, else a category; true and
    false are categories.

    Raises
    ------
    ValueError
        `attrs` of a lead is not a JSON object; the message names the lead.
    """
    is_numeric: dict[str, bool] = {}
    for record in _records(lead)["record"]:
        for key, value in record.items():
            is_numeric[key] = is_numeric.get(key, True) and (
                value is None or NUMBER.fullmatch(value) is not None
            )
    return {key: "numeric" if is_numeric[key] else "category" for key in sorted(is_numeric)}


def attrs(sources: Sources, spine: pl.DataFrame, kinds: Mapping[str, Kind] | None = None) -> pl.DataFrame:
    """Return one column `attrs_<key>` per key: Float64 or String, as of the snapshot where it has a history.

    Parameters
    ----------
    kinds : the columns to make, in order; None discovers them from all leads of `sources`. A value that is no
        number in a numeric column, and a key that a lead lacks, is null.
    """
    kinds = discover(sources.lead) if kinds is None else kinds
    seen = _records(sources.lead.join(spine.select("lead_id").unique(), on="lead_id", how="semi"))
    columns: dict[str, pl.Series] = {"text": pl.Series(seen["text"], dtype=pl.String)}
    for key, kind in kinds.items():
        values = pl.Series([record.get(key) for record in seen["record"]], dtype=pl.String)
        columns[f"attrs_{key}"] = (
            values if kind == "category" else values.str.strip_chars().cast(pl.Float64, strict=False)
        )
    of_lead = sources.lead.select("lead_id", text="attrs").join(pl.DataFrame(columns), on="text", how="left")
    current = spine.select(KEYS).join(of_lead.drop("text"), on="lead_id", how="left", maintain_order="left")
    return current.with_columns(
        with_history(sources, "lead", spine, current[name]) for name in current.columns if name not in KEYS
    )


def _records(lead: pl.DataFrame) -> dict[str, list[Any]]:
    """Distinct `attrs` texts, and each read as key -> text or None."""
    distinct = (
        lead.drop_nulls("attrs").select("attrs", "lead_id").unique("attrs", keep="first", maintain_order=True)
    )
    return {
        "text": distinct["attrs"].to_list(),
        "record": [_read(text, lead_id) for text, lead_id in distinct.iter_rows()],
    }


def _read(text: str, lead_id: str) -> dict[str, str | None]:
    try:
        record = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"attrs of lead {lead_id!r} is not JSON: {error}; stg_lead.sql must cast a jsonb to text"
        ) from error
    if not isinstance(record, dict):
        raise ValueError(
            f"attrs of lead {lead_id!r} is a {type(record).__name__}, expected an object of key: value"
        )
    return {key: _text(value) for key, value in record.items()}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value, sort_keys=True)
