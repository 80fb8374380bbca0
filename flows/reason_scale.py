"""What a reason is held against: the usual value of its column, and how unsure its effect is.

Both are found when a model is trained and are stored with it. The usual value is the median over the training
rows. The uncertainty of a field's effect is how far two fits of the recipe disagree about it: the model, and
the one of its backtest, which knew only what was known before the newest mature cohort. It costs no fit of
its own, and holds both the chance of sampling and what the months between have changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.matrix import to_matrix
from flows.reason_texts import describe
from pkboost_core.explain import shap_values

if TYPE_CHECKING:
    from flows.fitting import OneBooster

N_COMPARED = 500
"""Rows of the cohort on which the two fits are compared."""


@dataclass(frozen=True)
class ReasonScale:
    """What reasons of one model are compared with.

    Attributes
    ----------
    usual : numeric column -> median over the training rows; columns missing in most rows have none.
    uncertainty : business field -> root mean square, in log-odds, of the difference between two fits.
    """

    usual: Mapping[str, float] = field(default_factory=dict)
    uncertainty: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {"usual": dict(self.usual), "uncertainty": dict(self.uncertainty)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ReasonScale":
        """Read what `to_dict` wrote."""
        return cls(dict(stored["usual"]), dict(stored["uncertainty"]))


def fit_scale(
    rows: pl.DataFrame, model: "OneBooster", earlier: "OneBooster | None", cohort: pl.DataFrame
) -> ReasonScale:
    """Find what is usual in training `rows`, and how far `model` and `earlier` disagree on the `cohort`.

    Without an earlier fit nothing is known of the uncertainty, and only the floor of `flows.reasons` hides.
    """
    usual = usual_values(rows.select(model.encoding.names))
    if earlier is None or cohort.is_empty():
        return ReasonScale(usual)
    step = max(1, cohort.height // N_COMPARED)
    sample = cohort.gather_every(step)
    now, then = _field_effects(model, sample), _field_effects(earlier, sample)
    nothing = np.zeros(sample.height)
    fields = sorted(now.keys() | then.keys())
    gaps = {name: now.get(name, nothing) - then.get(name, nothing) for name in fields}
    return ReasonScale(usual, {name: round(float(np.sqrt(np.mean(gap**2))), 5) for name, gap in gaps.items()})


def usual_values(frame: pl.DataFrame) -> dict[str, float]:
    """Median of each numeric column that is there in at least half of the rows."""
    numeric = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    cleaned = frame.select(pl.col(numeric).cast(pl.Float64).fill_nan(None))
    known = [name for name in numeric if 2 * cleaned[name].count() >= max(frame.height, 1)]
    medians = cleaned.select(pl.col(known).median()).row(0) if known else ()
    return {name: float(f"{value:.6g}") for name, value in zip(known, medians, strict=True)}


def _field_effects(fit: "OneBooster", frame: pl.DataFrame) -> dict[str, np.ndarray]:
    matrix = to_matrix(frame.select(fit.encoding.names), fit.encoding)
    contributions, _ = shap_values(fit.booster.ensemble_, matrix)
    effects: dict[str, np.ndarray] = {}
    for index, name in enumerate(fit.encoding.names):
        key = describe(name).field
        effects[key] = effects.get(key, 0.0) + contributions[:, index]
    return effects
