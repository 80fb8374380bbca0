"""Why a lead has its score: contributions of columns gathered into business fields and put in plain words."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.banned import is_suspect_name
from features.sensitive import sensitive_reason
from flows.reason_scale import ReasonScale
from flows.reason_texts import FieldText, describe

if TYPE_CHECKING:
    from flows.lead_model import LeadModel

N_EACH_WAY = 3
"""At most so many reasons for a lead, and so many against it."""
N_TEXTS = 3
MIN_EFFECT = 0.02
"""Effects in log-odds below this (2 % of the odds) are not worth a sentence."""


def explain(model: "LeadModel", frame: pl.DataFrame, n_threads: int = 1) -> pl.DataFrame:
    """Explain every row of a frame of features.

    Returns
    -------
    DataFrame
        `reasons`, a JSON array of objects {field, label, value, usual, effect, uncertainty, sign, words}, at
        most three for the lead (sign +) and three against it (-), strongest first, and `reason_1` to
        `reason_3`, the words of the first three, null where there are fewer.
    """
    contributions = model.contributions(frame, n_threads)
    return reason_frame(frame.select(model.encoding.names), contributions, model.reason_scale)


def reason_frame(
    frame: pl.DataFrame, contributions: np.ndarray, scale: ReasonScale | None = None
) -> pl.DataFrame:
    """Put contributions in log-odds, float64 (n, k), one column per column of `frame`, in words.

    The effect of a field is the sum over its columns; the sentence states the value of the column that
    contributes most in the direction of the sum, and what is usual. Fields whose effect is smaller than its
    uncertainty, and columns that may not be named, give no reason. Ties keep the order of
    the columns.
    """
    scale = scale or ReasonScale()
    texts = [describe(name) for name in frame.columns]
    fields = list(dict.fromkeys(text.field for text in texts))
    field_of = np.array([fields.index(text.field) for text in texts], dtype=np.int64)
    is_spoken = np.array([may_be_named(name) for name in frame.columns], dtype=bool)
    spoken = np.where(is_spoken, contributions, 0.0)
    effects = spoken @ np.equal.outer(field_of, np.arange(len(fields))).astype(np.float64)
    unsure = np.array([scale.uncertainty.get(name, 0.0) for name in fields])
    effects[np.abs(effects) < np.maximum(unsure, MIN_EFFECT)] = 0.0
    chosen, effect = _strongest_each_way(effects)
    column = _columns_to_name(spoken, field_of, chosen, effect)
    column[effect == 0.0] = -1
    usual = [scale.usual.get(name) for name in frame.columns]
    words, values = _sentences(frame, texts, usual, column)
    slots = {f"reason_{i + 1}": _slot(words, i) for i in range(N_TEXTS)}
    reasons = _json(
        texts, usual, [scale.uncertainty.get(t.field) for t in texts], column, words, values, effect
    )
    return pl.DataFrame({"reasons": reasons, **slots}, schema_overrides=_SCHEMA)


@cache
def may_be_named(column: str) -> bool:
    """Tell whether a reason may name a feature column.

    One that is sensitive, or named like a value overwritten in place, may not, even where a person has let
    the model use it: what is lawful to learn from can still hurt to read.
    """
    return not is_suspect_name(column) and sensitive_reason(column) is None


_SCHEMA = {"reasons": pl.String, **{f"reason_{i + 1}": pl.String for i in range(N_TEXTS)}}


def _strongest_each_way(effects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fields of the three largest and the three smallest effects, and these effects, (n, up to 6).

    Strongest first; where fewer point that way the effect is 0, and stands last.
    """
    largest, smallest = (
        np.argsort(sign * effects, axis=1, kind="stable")[:, :N_EACH_WAY] for sign in (-1.0, 1.0)
    )
    rises = np.maximum(np.take_along_axis(effects, largest, axis=1), 0.0)
    falls = np.minimum(np.take_along_axis(effects, smallest, axis=1), 0.0)
    field, effect = np.concatenate([largest, smallest], axis=1), np.concatenate([rises, falls], axis=1)
    order = np.lexsort((field, -np.abs(effect)), axis=1)
    return np.take_along_axis(field, order, axis=1), np.take_along_axis(effect, order, axis=1)


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
    frame: pl.DataFrame, texts: list[FieldText], usual: list[float | None], column: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sentences and JSON-able values, object arrays like `column`; a distinct value is put in words once."""
    sentences = np.full(column.shape, None, dtype=object)
    values = np.full(column.shape, None, dtype=object)
    for index in np.unique(column[column >= 0]):
        rows, slots = np.nonzero(column == index)
        found = [_plain(v) for v in frame.to_series(int(index)).gather(rows).to_list()]
        worded = {value: texts[index].compared(value, usual[index]) for value in dict.fromkeys(found)}
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


def _json(
    texts: list[FieldText],
    usual: list[float | None],
    unsure: list[float | None],
    column: np.ndarray,
    words: np.ndarray,
    values: np.ndarray,
    effect: np.ndarray,
) -> list[str]:
    def entry(c: int, text: str, value: Any, moved: float) -> dict[str, Any]:
        return {
            "field": texts[c].field,
            "label": texts[c].label,
            "value": value,
            "usual": usual[c],
            "effect": round(moved, 4),
            "uncertainty": unsure[c],
            "sign": "+" if moved > 0 else "-",
            "words": text,
        }

    rows = zip(column.tolist(), words.tolist(), values.tolist(), effect.tolist(), strict=True)
    return [
        json.dumps([entry(*slot) for slot in zip(*row, strict=True) if slot[0] >= 0], ensure_ascii=False)
        for row in rows
    ]
