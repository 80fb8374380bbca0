"""How much a lead would be worth if it converted, learnt from the amounts of won leads.

Amounts are few and wild, so every step is pulled towards the simpler one by how much there is to go by: a
segment's mean of log amounts towards the overall mean, the booster towards the segment's mean by how well it
predicts amounts it was not fitted on, and the arithmetic towards the geometric mean, so that one giant deal
among few does not set the level.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from features.matrix import Encoding, to_matrix
from pkboost_core import PKBoostRegressor

MIN_WON = 40
"""Won leads with an amount below which every lead is given the same amount."""
PULL = 25.0
"""Won leads that weigh as much as what a number is pulled towards."""
SEGMENT = "lead_source"
N_FOLDS = 4
BOOSTER: dict[str, Any] = {
    "n_estimators": 60, "learning_rate": 0.1, "max_leaf_nodes": 5, "colsample": 0.3, "early_stopping": False
}  # fmt: skip


@dataclass(frozen=True)
class AmountModel:
    """Predicts amounts in one currency.

    Attributes
    ----------
    currency : ISO 4217 code; None where the CRM names none.
    n_won : won leads that it was fitted on; `n_left_out` more had an amount in another currency.
    mean_log : mean log amount.
    segments : level of `SEGMENT` -> shrunk mean log amount.
    weight : of the booster beside the segment's mean, in [0, 1].
    factor : from exp of a mean log amount to a mean amount.
    low, high : smallest and largest amount seen; predictions stay between.
    booster : of log amounts; None where its weight is 0.
    """

    currency: str | None
    n_won: int
    n_left_out: int
    mean_log: float
    segments: Mapping[str, float]
    weight: float
    factor: float
    low: float
    high: float
    booster: PKBoostRegressor | None = None

    def predict(self, frame: pl.DataFrame, encoding: Encoding) -> np.ndarray:
        """Return the amount of each lead if it converts, in `currency`, float64 (n,)."""
        log_amount = _segment_means(frame, self.segments, self.mean_log)
        if self.booster is not None:
            by_booster = self.booster.predict(to_matrix(frame.select(encoding.names), encoding))
            log_amount = log_amount + self.weight * (by_booster - log_amount)
        return np.clip(self.factor * np.exp(log_amount), self.low, self.high)

    def words(self) -> str:
        """Say what the amounts rest on."""
        unit = self.currency or "no currency named"
        rest = f"; {self.n_left_out} in other currencies left out" if self.n_left_out else ""
        if self.n_won < MIN_WON:
            return f"{self.n_won} won leads with an amount ({unit}{rest}): too few, one mean for all"
        how = (
            f"booster's weight {self.weight:.0%}"
            if self.booster
            else "means by source, the booster adds nothing"
        )
        return f"{self.n_won} won leads with an amount ({unit}{rest}), {how}"

    def to_dict(self) -> dict[str, Any]:
        """Return all but the booster as JSON-able values."""
        stored = asdict(replace(self, booster=None))
        del stored["booster"]
        return stored


def fit_amounts(
    frame: pl.DataFrame, y: np.ndarray, outcomes: pl.DataFrame, encoding: Encoding, seed: int
) -> AmountModel | None:
    """Fit on the last snapshot of each won lead; None where no won lead has an amount.

    Parameters
    ----------
    frame, y : rows of training, by snapshot, and whether each is known to convert, (n,).
    outcomes : the staged outcomes known by then. Of several currencies the commonest counts: without exchange
        rates the others cannot be compared with it.
    """
    won = frame.filter(pl.Series(y > 0)).unique("lead_id", keep="last", maintain_order=True)
    amounts = outcomes.filter(pl.col("is_conversion") & (pl.col("amount") > 0) & pl.col("amount").is_finite())
    priced = won.join(
        amounts.select("lead_id", "amount", "currency"), on="lead_id", how="inner", maintain_order="left"
    )
    if priced.is_empty():
        return None
    counts = priced.group_by("currency").len().sort("len", "currency", descending=[True, False])
    currency = counts["currency"][0]
    kept = priced.filter(pl.col("currency").eq_missing(currency))
    return _fitted(kept, encoding, currency, priced.height - kept.height, seed)


def _fitted(
    won: pl.DataFrame, encoding: Encoding, currency: str | None, n_left_out: int, seed: int
) -> AmountModel:
    amount = won["amount"].to_numpy()
    z, n = np.log(amount), won.height
    segments: dict[str, float] = {}
    booster, weight, residual = None, 0.0, z - z.mean()
    if n >= MIN_WON:
        segments = _segments(won, z)
        weight, residual = _booster_weight(won, z, encoding, seed)
        booster = _boosted(won, z, encoding, seed) if weight > 0 else None
    smear = float(np.exp(residual - residual.mean()).mean()) ** (n / (n + PULL))
    low, high = float(amount.min()), float(amount.max())
    return AmountModel(currency, n, n_left_out, float(z.mean()), segments, weight, smear, low, high, booster)


def _segments(won: pl.DataFrame, z: np.ndarray) -> dict[str, float]:
    """Mean log amount of each level, pulled to the overall mean by `PULL` won leads."""
    if SEGMENT not in won.columns:
        return {}
    rows = won.select(SEGMENT).with_columns(z=z).drop_nulls().group_by(SEGMENT)
    sums = rows.agg(total=pl.col("z").sum(), n=pl.len()).sort(SEGMENT)
    overall = float(z.mean())
    return {str(level): (total + PULL * overall) / (count + PULL) for level, total, count in sums.iter_rows()}


def _segment_means(frame: pl.DataFrame, segments: Mapping[str, float], overall: float) -> np.ndarray:
    if not segments:
        return np.full(frame.height, overall)
    levels = frame[SEGMENT].cast(pl.String).to_list()
    return np.array([segments.get(level, overall) for level in levels])


def _booster_weight(
    won: pl.DataFrame, z: np.ndarray, encoding: Encoding, seed: int
) -> tuple[float, np.ndarray]:
    """Find by how much the booster should be believed, from leads it was not fitted on, and what is left.

    The least-squares weight of its difference from the segment's mean, pulled to 0 by `PULL` leads.
    """
    fold = np.random.default_rng(seed).permutation(len(z)) % N_FOLDS
    base, by_booster = np.empty(len(z)), np.empty(len(z))
    for k in range(N_FOLDS):
        inside, outside = won.filter(pl.Series(fold != k)), won.filter(pl.Series(fold == k))
        rest = z[fold != k]
        base[fold == k] = _segment_means(outside, _segments(inside, rest), float(rest.mean()))
        matrix = to_matrix(outside.select(encoding.names), encoding)
        by_booster[fold == k] = _boosted(inside, rest, encoding, seed).predict(matrix)
    beyond = by_booster - base
    slope = float(beyond @ (z - base)) / max(float(beyond @ beyond), 1e-12)
    weight = float(np.clip(slope, 0.0, 1.0)) * len(z) / (len(z) + PULL)
    return weight, z - base - weight * beyond


def _boosted(won: pl.DataFrame, z: np.ndarray, encoding: Encoding, seed: int) -> PKBoostRegressor:
    booster = PKBoostRegressor(
        random_state=seed, categorical_features=encoding.categorical_indices, **BOOSTER
    )
    return booster.fit(to_matrix(won.select(encoding.names), encoding), z)
