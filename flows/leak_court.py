"""The leak court: may a column of the leads become a feature, or does it know how they ended?

A CRM shows today's value of a column. One that people fill in when a deal closes is filled for the won and
empty for the open, tells the outcome all by itself, and gets its value after the outcome: each of these is
evidence here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any, Literal

import numpy as np
import polars as pl

from features.banned import is_suspect_name
from features.matrix import fit_encoding, to_matrix
from features.sensitive import sensitive_reason
from flows.leakage import SUSPECT_ROC_AUC, solo_roc_aucs
from pkboost_core.metrics import roc_auc

Verdict = Literal["allowed", "suspect", "banned"]

MIN_WON = 20
"""With fewer won leads only the name is judged."""
FILL_GAP = 0.2
FILL_GAP_DEVIATIONS = 4.0
MAX_FILLED_AFTER = 0.1
MIN_DATED_FILLS = 10
MAX_ABLATED_ROWS = 20_000


@dataclass(frozen=True)
class Evidence:
    """What is known about one column, over leads old enough to have ended.

    Attributes
    ----------
    n_won, n_open : leads that converted, and all others.
    fill_won, fill_open : shares of them with a value.
    filled_after : share of won leads whose first value is dated at or after their conversion; None without
        dates.
    roc_auc : of the column alone on held-out leads; None with too few won.
    has_suspect_name : named like a value that is overwritten in place.
    ablation_delta : ROC-AUC of a small model on held-out leads that is lost without the column; None if not
        tried.
    """

    column: str
    n_won: int
    n_open: int
    fill_won: float
    fill_open: float
    filled_after: float | None
    roc_auc: float | None
    has_suspect_name: bool
    ablation_delta: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


@dataclass(frozen=True)
class Ruling:
    """The court's word on one column, with the reason in words."""

    evidence: Evidence
    verdict: Verdict
    reason: str

    @property
    def column(self) -> str:
        """Its name among the features of leads."""
        return self.evidence.column


def hear(
    columns: pl.DataFrame,
    is_won: np.ndarray,
    lead_ids: Sequence[str],
    filled_after: Mapping[str, float],
    with_ablation: bool = False,
) -> list[Ruling]:
    """Rule on every column, the worst first.

    Parameters
    ----------
    columns : the columns to judge, n leads.
    is_won : bool (n,), whether the lead has converted.
    lead_ids : n ids, by which leads are held out.
    filled_after : share of dated first values that came at or after the conversion, where there are dates.
    with_ablation : also fit a small model with and without each column that is not simply allowed.
    """
    enough = min(is_won.sum(), (~is_won).sum()) >= MIN_WON
    y = is_won.astype(np.float64)
    aucs = solo_roc_aucs(columns, y, np.asarray(lead_ids)) if enough else {}
    heard = [
        _evidence(columns[name], is_won, filled_after.get(name), aucs.get(name)) for name in columns.columns
    ]
    rulings = [rule(evidence) for evidence in heard]
    if with_ablation and enough:
        accused = [ruling.column for ruling in rulings if ruling.verdict != "allowed"]
        deltas = ablation_deltas(columns, y, np.asarray(lead_ids), accused)
        rulings = [_with_delta(ruling, deltas) for ruling in rulings]
    order = ("banned", "suspect", "allowed")
    return sorted(rulings, key=lambda ruling: (order.index(ruling.verdict), ruling.column))


def _with_delta(ruling: Ruling, deltas: Mapping[str, float]) -> Ruling:
    delta = deltas.get(ruling.column)
    return replace(ruling, evidence=replace(ruling.evidence, ablation_delta=delta))


def rule(evidence: Evidence) -> Ruling:
    """Ban what is sensitive or filled after the outcome, suspect what looks like it, allow the rest."""
    sensitive = sensitive_reason(evidence.column)
    if sensitive is not None:
        return Ruling(evidence, "banned", f"sensitive by its name: {sensitive}")
    if evidence.filled_after is not None and evidence.filled_after > MAX_FILLED_AFTER:
        share = f"{evidence.filled_after:.0%}"
        return Ruling(evidence, "banned", f"{share} of won leads got their value at or after the conversion")
    reasons = []
    if _has_gap(evidence):
        reasons.append(
            f"filled for {evidence.fill_won:.0%} of won leads and {evidence.fill_open:.0%} of others"
        )
    if evidence.roc_auc is not None and evidence.roc_auc >= SUSPECT_ROC_AUC:
        reasons.append(f"ROC-AUC {evidence.roc_auc:.2f} alone")
    if evidence.has_suspect_name:
        reasons.append("named like a value that is overwritten in place")
    if reasons:
        return Ruling(evidence, "suspect", "; ".join(reasons))
    judged = (
        "nothing found" if evidence.roc_auc is not None else f"fewer than {MIN_WON} won leads: only named"
    )
    return Ruling(evidence, "allowed", judged)


def rule_by_name(columns: Iterable[str]) -> list[Ruling]:
    """Rule on the columns that are sensitive by their names, whatever is in them; nothing on the others."""
    unheard = (Evidence(name, 0, 0, 0.0, 0.0, None, None, is_suspect_name(name)) for name in sorted(columns))
    return [rule(evidence) for evidence in unheard if sensitive_reason(evidence.column) is not None]


def ablation_deltas(
    columns: pl.DataFrame, y: np.ndarray, groups: np.ndarray, accused: Sequence[str]
) -> dict[str, float]:
    """ROC-AUC on held-out leads that a small model loses without each accused column."""
    if not accused:
        return {}
    frame, fold = (
        columns.head(MAX_ABLATED_ROWS),
        pl.Series(groups).hash(seed=1).to_numpy()[:MAX_ABLATED_ROWS] % 2,
    )
    y = y[:MAX_ABLATED_ROWS]
    whole = _held_out_roc_auc(frame, y, fold)
    return {
        name: round(whole - _held_out_roc_auc(frame.drop(name), y, fold), 4)
        for name in accused
        if frame.width > 1
    }


def _held_out_roc_auc(frame: pl.DataFrame, y: np.ndarray, fold: np.ndarray) -> float:
    from pkboost_core.booster import PKBoostClassifier

    learn = fold == 0
    encoding = fit_encoding(frame.filter(pl.Series(learn)))
    model = PKBoostClassifier(
        n_estimators=60, learning_rate=0.1, max_leaf_nodes=8, early_stopping=False, calibration="none"
    )
    model.fit(to_matrix(frame.filter(pl.Series(learn)), encoding), y[learn])
    score = model.decision_function(to_matrix(frame.filter(pl.Series(~learn)), encoding))
    return float(roc_auc(y[~learn], score))


def _evidence(
    values: pl.Series, is_won: np.ndarray, filled_after: float | None, roc_auc_alone: float | None
) -> Evidence:
    is_filled = (
        (values.is_not_null() & (values.cast(pl.String).str.strip_chars() != "")).fill_null(False).to_numpy()
    )
    return Evidence(
        values.name,
        int(is_won.sum()),
        int((~is_won).sum()),
        _share(is_filled[is_won]),
        _share(is_filled[~is_won]),
        filled_after,
        None if roc_auc_alone is None else round(roc_auc_alone, 4),
        is_suspect_name(values.name),
    )


def _share(is_filled: np.ndarray) -> float:
    return round(float(is_filled.mean()), 4) if is_filled.size else 0.0


def _has_gap(evidence: Evidence) -> bool:
    """Tell whether won leads are filled more often than chance would have it (pooled two-sample z-test)."""
    n, m = evidence.n_won, evidence.n_open
    gap = evidence.fill_won - evidence.fill_open
    if min(n, m) < MIN_WON or gap < FILL_GAP:
        return False
    pooled = (n * evidence.fill_won + m * evidence.fill_open) / (n + m)
    return gap > FILL_GAP_DEVIATIONS * sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
