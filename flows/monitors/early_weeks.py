"""T3 week by week: published scores against the wins that became known in the seven days after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import polars as pl

from features.delay import DelayCurve
from features.sources import midnight
from flows.monitors.e_process import RateState
from flows.monitors.early_wins import expected_early_wins, watch_early_wins
from flows.monitors.reading import Reading
from flows.monitors.weeks import MICROSECONDS_A_DAY, chance_at_all, last_words


@dataclass(frozen=True)
class EarlyState:
    """T3 between nights; JSON-able."""

    rate: RateState = field(default_factory=RateState)
    done: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EarlyState":
        """Return the state that `dataclasses.asdict` described."""
        return cls(RateState.from_dict(values["rate"]), values["done"])


def watch_early(
    state: EarlyState,
    weeks: Mapping[date, pl.DataFrame],
    wins: pl.DataFrame,
    curve: DelayCurve,
    horizon: int,
) -> tuple[EarlyState, list[Reading]]:
    """Count early wins week by week; an alarm of an earlier week is not lost.

    Parameters
    ----------
    weeks : Monday -> lead_id and probability as published for it, no older than six days; only weeks that
        have passed.
    wins : of `known_wins`.
    """
    found: list[Reading] = []
    for week in sorted(weeks):
        observed, expected = early_wins(weeks[week], wins, curve, week, horizon)
        rate, readings = watch_early_wins(state.rate, week, observed, expected)
        state = EarlyState(rate, week.isoformat())
        found += readings
    return state, last_words(found)


def early_wins(
    scores: pl.DataFrame, wins: pl.DataFrame, curve: DelayCurve, week: date, horizon: int
) -> tuple[int, float]:
    """Return observed and expected wins of the week from `week` on, of leads scored and open at its start."""
    start, end = pl.lit(midnight(week)), pl.lit(midnight(week + timedelta(days=7)))
    is_open = pl.col("known_at").is_null() | (pl.col("known_at") >= start)
    rows = (
        scores.join(wins, on="lead_id", how="inner")
        .filter(is_open, pl.col("created_at") < start)
        .with_columns(
            age=(start - pl.col("created_at")).dt.total_microseconds() / MICROSECONDS_A_DAY,
            is_won=(pl.col("known_at") < end).fill_null(False),
        )
    )
    age = rows["age"].to_numpy()
    p = chance_at_all(rows["probability"].to_numpy(), age, curve, horizon)
    return int(rows["is_won"].sum()), expected_early_wins(p, age, curve)
