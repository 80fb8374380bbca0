"""What the worklist brings: the arms of its standing experiment, compared on leads whose outcome is settled.

Every lead is drawn into an arm once (docs/guides/worklist.md). Which arm it was drawn into decides, not what
was done: a lead of the hold-out that somebody called all the same stays in the hold-out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from flows.uplift import Effect, apart, effect

ARMS = ("exploit", "explore", "holdout")
CONTRASTS: Mapping[str, tuple[str, str]] = {
    "lists by value": ("exploit", "holdout"),
    "lists at random": ("explore", "holdout"),
    "value over random": ("exploit", "explore"),
}
"""What is asked: the arm that has it, and the arm that has not. `exploit` and `explore` have as many places a
lead, so that their difference is what choosing by the score adds to calling leads by lot."""

MIN_LEADS = 100
MIN_CONVERSIONS = 10
"""In each arm; below it a normal interval is too narrow."""
TOP_SHARE = 0.2
SCHEMA: dict[str, Any] = {
    "lead_id": pl.String,
    "arm": pl.String,
    "propensity": pl.Float64,
    "assigned_on": pl.Date,
    "probability": pl.Float64,
    "is_converted": pl.Boolean,
    "amount": pl.Float64,
    "is_worked": pl.Boolean,
}


@dataclass(frozen=True)
class Compared:
    """One difference between two arms; `effect` is None where there are too few leads, and `problem` says it.

    Attributes
    ----------
    contrast : a key of `CONTRASTS`.
    outcome : `conversion` (share of leads) or `revenue` (amount per lead).
    group : `all`, `best fifth` by the score that was published when the arm was drawn, or `the rest`.
    method : `adjusted` for that score (AIPW), or `plain`: weighted means (Hajek).
    """

    contrast: str
    outcome: str
    group: str
    method: str
    effect: Effect | None
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        named = {name: getattr(self, name) for name in ("contrast", "outcome", "group", "method", "problem")}
        if self.effect is None:
            return named
        return {
            **named,
            **asdict(self.effect),
            "verdict": self.effect.verdict,
            "detectable": self.effect.detectable,
        }


def uplift_report(
    leads: pl.DataFrame, as_of: date, horizon_days: int, reporting_lag_days: int
) -> dict[str, Any]:
    """Compare the arms on the leads whose outcome is settled on a date.

    Parameters
    ----------
    leads : columns of `SCHEMA`, one row per lead that was drawn; outcomes within `horizon_days` of
        `assigned_on` as known at `as_of`, `amount` null where it is not known.

    Returns
    -------
    dict
        JSON-able: counts, `arms`, `effects` (each a `Compared`), `differences` between groups, `notes`.
    """
    wait = timedelta(days=horizon_days + reporting_lag_days)
    settled = leads.filter(pl.col("assigned_on") <= as_of - wait)
    young = leads.filter(pl.col("assigned_on") > as_of - wait)
    next_on = young["assigned_on"].min()
    compared = _compare(settled)
    return {
        "as_of": as_of,
        "horizon_days": horizon_days,
        "n_leads": leads.height,
        "n_settled": settled.height,
        "next_settled_on": next_on + wait if isinstance(next_on, date) else None,
        "arms": [_arm(leads, settled, arm) for arm in ARMS],
        "effects": [one.as_dict() for one in compared],
        "differences": _differences(compared),
        "notes": _notes(settled, compared),
    }


def _arm(leads: pl.DataFrame, settled: pl.DataFrame, arm: str) -> dict[str, Any]:
    own = settled.filter(pl.col("arm") == arm)
    return {
        "arm": arm,
        "n_leads": leads.filter(pl.col("arm") == arm).height,
        "n_settled": own.height,
        "n_converted": int(own["is_converted"].sum()),
        "conversion": own["is_converted"].mean(),
        "worked_by_people": own["is_worked"].mean(),
    }


def _compare(settled: pl.DataFrame) -> list[Compared]:
    score = settled["probability"]
    x = score.fill_null(score.mean() if score.count() else 0.0).to_numpy().astype(np.float64)
    outcomes = {"conversion": settled["is_converted"].cast(pl.Float64).to_numpy()}
    amounts = _revenue(settled)
    if amounts is not None:
        outcomes["revenue"] = amounts
    best = x > np.quantile(x, 1.0 - TOP_SHARE) if len(x) else np.zeros(0, dtype=bool)
    everyone = np.ones(len(x), dtype=bool)
    found = []
    for contrast in CONTRASTS:
        for outcome, y in outcomes.items():
            found.append(_one(settled, contrast, outcome, "all", y, x, everyone))
            found.append(_one(settled, contrast, outcome, "all", y, None, everyone))
        for group, rows in (("best fifth", best), ("the rest", ~best)):
            found.append(_one(settled, contrast, "conversion", group, outcomes["conversion"], x, rows))
    return found


def _one(
    settled: pl.DataFrame,
    contrast: str,
    outcome: str,
    group: str,
    y: np.ndarray,
    x: np.ndarray | None,
    rows: np.ndarray,
) -> Compared:
    about = (contrast, outcome, group, "plain" if x is None else "adjusted")
    arm = settled["arm"].to_numpy()[rows]
    won = settled["is_converted"].to_numpy()[rows]
    treated, control = CONTRASTS[contrast]
    problem = _shortage(arm, won, (treated, control))
    if problem is not None:
        return Compared(*about, None, problem)
    propensity = settled["propensity"].to_numpy()[rows]
    score = None if x is None else x[rows]
    return Compared(*about, effect(y[rows], arm == treated, arm == control, propensity, score))


def _shortage(arm: np.ndarray, won: np.ndarray, wanted: Sequence[str]) -> str | None:
    """Say which arms have too few leads or conversions for an interval that can be believed, or None."""
    short = []
    for name in wanted:
        n, n_won = int((arm == name).sum()), int(won[arm == name].sum())
        if n < MIN_LEADS or n_won < MIN_CONVERSIONS:
            short.append(f"{name} has {n:,} settled leads and {n_won:,} conversions")
    if not short:
        return None
    return f"{' and '.join(short)}; each arm needs {MIN_LEADS} and {MIN_CONVERSIONS}"


def _revenue(settled: pl.DataFrame) -> np.ndarray | None:
    """Amount per lead, 0 without a conversion, the average amount where it is not known; None without any."""
    known = settled.filter(pl.col("is_converted"))["amount"].drop_nulls()
    if known.is_empty():
        return None
    filled = pl.col("amount").fill_null(known.mean())
    return settled.select(pl.when("is_converted").then(filled).otherwise(0.0)).to_series().to_numpy()


def _differences(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """By how much an effect is larger among the best fifth than among the rest."""
    by_group = {(one.contrast, one.group): one.effect for one in compared if one.outcome == "conversion"}
    found = []
    for contrast in CONTRASTS:
        best, rest = by_group[contrast, "best fifth"], by_group[contrast, "the rest"]
        if best is not None and rest is not None:
            value, low, high = apart(best, rest)
            verdict = "tie" if low <= 0 <= high else "more" if value > 0 else "fewer"
            found.append({"contrast": contrast, "value": value, "low": low, "high": high, "verdict": verdict})
    return found


def _notes(settled: pl.DataFrame, compared: Sequence[Compared]) -> list[str]:
    notes = []
    worked = settled.filter(pl.col("arm") == "holdout")["is_worked"].mean()
    if isinstance(worked, float) and worked > 0:
        notes.append(
            f"{worked:.0%} of the hold-out was worked by people all the same: what is measured is the effect"
            " of being on a list, which is smaller than that of being called"
        )
    won = settled.filter(pl.col("is_converted"))
    unknown = won["amount"].null_count()
    if 0 < unknown < won.height:
        notes.append(f"{unknown} of {won.height} conversions have no amount and count with the average one")
    elif won.height and unknown:
        notes.append("no conversion has an amount: revenue cannot be compared")
    if any(one.problem for one in compared):
        notes.append("where leads are too few: wait, or raise holdout_share and explore_share for new leads")
    return notes
