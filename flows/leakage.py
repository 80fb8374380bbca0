"""The leakage alarm: results too good to be true, and the columns that make them so.

Honest B2B lead scoring rarely passes a ROC-AUC of .9. When the lower end of its interval does, every column
is tried alone on rows held out by lead, and the columns that explain too much, or whose names belong to
values that a CRM overwrites in place, are named together with what is left without them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from features.banned import is_suspect_name
from pkboost_core.metrics import roc_auc

ALARM_ROC_AUC = 0.90
SUSPECT_ROC_AUC = 0.80
_MAX_LEVELS = 64
_SHRINKAGE = 20.0


@dataclass(frozen=True)
class Suspect:
    """A column that may know the outcome: its ROC-AUC alone and why it is named."""

    column: str
    roc_auc: float
    why: str


@dataclass(frozen=True)
class LeakageReport:
    """`is_alarm`, the ROC-AUC that raised it, suspects, strongest first, and what is left without them."""

    is_alarm: bool
    roc_auc: float | None
    suspects: tuple[Suspect, ...] = ()
    roc_auc_without: float | None = None

    def as_dict(self) -> dict:
        """Return JSON-able values."""
        return asdict(self)

    @property
    def message(self) -> str:
        """One paragraph for people; empty without an alarm."""
        if not self.is_alarm:
            return ""
        named = ", ".join(f"{s.column} ({s.why})" for s in self.suspects) or "no single column stands out"
        rest = "" if self.roc_auc_without is None else f" Without them it is {self.roc_auc_without:.3f}."
        return (
            f"ROC-AUC {self.roc_auc:.3f} is too good to be true for lead scoring: columns may be filled"
            f" after the outcome. Suspects: {named}.{rest} Ban them in the mapping, or show when their values"
            " were known."
        )


def judge(
    frame: pl.DataFrame,
    y: np.ndarray,
    groups: np.ndarray,
    roc_auc_point: float | None,
    roc_auc_low: float | None,
    refit_without: Callable[[list[str]], float | None],
) -> LeakageReport:
    """Raise the alarm when the lower bound of the ROC-AUC passes `ALARM_ROC_AUC`.

    Parameters
    ----------
    frame : feature columns, n rows; y : float64 (n,); groups : (n,) the lead of each row
    roc_auc_point, roc_auc_low : of the evaluated model; None when undefined
    refit_without : fits and evaluates without the given columns, returns the ROC-AUC left
    """
    if roc_auc_low is None or roc_auc_low <= ALARM_ROC_AUC:
        return LeakageReport(False, roc_auc_point)
    suspects = find_suspects(frame, y, groups)
    without = refit_without([s.column for s in suspects]) if suspects else None
    return LeakageReport(True, roc_auc_point, tuple(suspects), without)


def find_suspects(frame: pl.DataFrame, y: np.ndarray, groups: np.ndarray) -> list[Suspect]:
    """Columns strong alone, or named like values that are overwritten in place, strongest first."""
    suspects = []
    for column, auc in solo_roc_aucs(frame, y, groups).items():
        reasons = []
        if auc >= SUSPECT_ROC_AUC:
            reasons.append(f"ROC-AUC {auc:.2f} alone")
        if is_suspect_name(column):
            reasons.append("named like a value that is overwritten in place")
        if reasons:
            suspects.append(Suspect(column, round(auc, 4), "; ".join(reasons)))
    return sorted(suspects, key=lambda s: (-s.roc_auc, s.column))


def solo_roc_aucs(frame: pl.DataFrame, y: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """ROC-AUC of each column alone, on rows held out by group; .5 where nothing can be learnt."""
    fold = pl.Series(groups).hash(seed=1).to_numpy() % 2
    return {column: _solo_roc_auc(frame[column], y, fold) for column in frame.columns}


def _solo_roc_auc(values: pl.Series, y: np.ndarray, fold: np.ndarray) -> float:
    """ROC-AUC of one column as shrunk mean target per level, learnt on one half and tried on the other."""
    codes = _levels(values)
    aucs = []
    for held_out in (0, 1):
        learn, test = fold != held_out, fold == held_out
        if y[test].sum() in (0, test.sum()) or not learn.any():
            continue
        n = np.bincount(codes[learn], minlength=codes.max() + 1)
        positives = np.bincount(codes[learn], weights=y[learn], minlength=codes.max() + 1)
        rate = (positives + _SHRINKAGE * y[learn].mean()) / (n + _SHRINKAGE)
        aucs.append(roc_auc(y[test], rate[codes[test]]))
    return float(np.mean(aucs)) if aucs else 0.5


def _levels(values: pl.Series) -> np.ndarray:
    """Codes 0..k: quantile bins of numbers, the most frequent levels of text; missing is a level."""
    if not values.dtype.is_numeric():
        text = values.cast(pl.String)
        counts = text.value_counts(sort=True)
        top = counts.filter(pl.col(values.name).is_not_null())[values.name].head(_MAX_LEVELS)
        codes = text.replace_strict(
            top, pl.arange(1, len(top) + 1, eager=True), default=0, return_dtype=pl.Int64
        )
        return codes.fill_null(0).to_numpy()
    numbers = values.cast(pl.Float64).to_numpy()
    observed = np.isfinite(numbers)
    if not observed.any():
        return np.zeros(len(numbers), np.int64)
    edges = np.unique(np.quantile(numbers[observed], np.linspace(0, 1, 33)[1:-1]))
    return np.where(observed, 1 + np.searchsorted(edges, np.where(observed, numbers, 0.0)), 0)
