"""Why a lead has its score: contributions of columns gathered into business fields and put in plain words."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from flows.reason_texts import FieldText, describe

if TYPE_CHECKING:
    from flows.lead_model import LeadModel

N_REASONS = 5
N_TEXTS = 3
MIN_EFFECT = 0.02
"""Effects in log-odds below this (2 % of the odds) are not worth a sentence."""


def explain(model: "LeadModel", frame: pl.DataFrame, n_threads: int = 1) -> pl.DataFrame:
    """Explain every row of a frame of features.

    Returns
    -------
    DataFrame
        `reasons`, a JSON array of at most 5 objects {field, label, value, effect, sign}, strongest first,
        and `reason_1` to `reason_3`, their sentences, null where there are fewer.
    """
    contributions = model.contributions(frame, n_threads)
    return reason_frame(frame.select(model.encoding.names), contributions)


def reason_frame(frame: pl.DataFrame, contributions: np.ndarray) -> pl.DataFrame:
    """Put contributions in log-odds, float64 (n, k), one column per column of `frame`, in words.

    The effect of a field is the sum over its columns; the sentence states the value of the column that
    contributes most in the direction of the sum. Ties keep the order of the columns.
    """
    texts = [describe(name) for name in frame.columns]
    fields = list(dict.fromkeys(text.field for text in texts))
    field_of = np.array([fields.index(text.field) for text in texts], dtype=np.int64)
    effects = contributions @ np.equal.outer(field_of, np.arange(len(fields))).astype(np.float64)
    chosen = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, :N_REASONS]
    effect = np.take_along_axis(effects, chosen, axis=1)
    column = _columns_to_name(contributions, field_of, chosen, effect)
    column[np.abs(effect) < MIN_EFFECT] = -1
    sentences, values = _sentences(frame, texts, column)
    slots = {f"reason_{i + 1}": _slot(sentences, i) for i in range(N_TEXTS)}
    return pl.DataFrame({"reasons": _json(texts, column, values, effect), **slots}, schema_overrides=_SCHEMA)


_SCHEMA = {"reasons": pl.String, **{f"reason_{i + 1}": pl.String for i in range(N_TEXTS)}}


def _columns_to_name(
    contributions: np.ndarray, field_of: np.ndarray, chosen: np.ndarray, effect: np.ndarray
) -> np.ndarray:
    """Column whose value a reason states, int64, shaped like `chosen`."""
    column = np.empty_like(chosen)
    for field in np.unique(chosen):
        members = np.flatnonzero(field_of == field)
        rows, slots = np.nonzero(chosen == field)
        towards = contributions[np.ix_(rows, members)] * np.sign(effect[rows, slots])[:, None]
        column[rows, slots] = members[np.argmax(towards, axis=1)]
    return column


def _sentences(
    frame: pl.DataFrame, texts: list[FieldText], column: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sentences and JSON-able values, object arrays like `column`; a distinct value is put in words once."""
    sentences = np.full(column.shape, None, dtype=object)
    values = np.full(column.shape, None, dtype=object)
    for index in np.unique(column[column >= 0]):
        rows, slots = np.nonzero(column == index)
        found = [_plain(v) for v in frame.to_series(int(index)).gather(rows).to_list()]
        worded = {value: texts[index].sentence(value) for value in dict.fromkeys(found)}
        sentences[rows, slots] = [worded[value] for value in found]
        values[rows, slots] = found
    return sentences, values


def _plain(value: Any) -> str | float | int | bool | None:
    """JSON-able value: NaN and infinities are missing, floats keep six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _slot(sentences: np.ndarray, i: int) -> list[str | None]:
    return sentences[:, i].tolist() if i < sentences.shape[1] else [None] * len(sentences)


def _json(texts: list[FieldText], column: np.ndarray, values: np.ndarray, effect: np.ndarray) -> list[str]:
    rows = zip(column.tolist(), values.tolist(), effect.tolist(), strict=True)
    return [
        json.dumps(
            [
                {
                    "field": texts[c].field,
                    "label": texts[c].label,
                    "value": v,
                    "effect": round(e, 4),
                    "sign": "+" if e > 0 else "-",
                }
                for c, v, e in zip(*row, strict=True)
                if c >= 0
            ],
            ensure_ascii=False,
        )
        for row in rows
    ]
