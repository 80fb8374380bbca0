"""What a model was made from, in a few numbers per column: two nights are compared by them.

A model fitted on broken data can look as good as ever, because it is judged on the same broken data. So each
model keeps the facts of its night, and the gate compares those of a challenger with those of the champion.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from features.matrix import NOT_FEATURES

NEWEST_DAYS = 28
MIN_VALUES = 30
"""Fewer values than this say nothing about a column."""

LEAST_ROWS = 0.75
LEAST_OPEN_LEADS = 0.6
MOST_NULL_SHIFT = 0.2
MOST_SIZE_SHIFT = 1.5
MOST_ODDS_RATIO = 2.5
MOST_NEWEST_ODDS_RATIO = 4.0

Facts = dict[str, Any]


@dataclass(frozen=True)
class FrameFacts:
    """Rows of a frame of features, and by column the share of nulls and where its numbers lie; JSON-able.

    Attributes
    ----------
    quartiles : numeric column -> lower quartile, median and upper quartile of the finite values that are not
        zero; columns with fewer than `MIN_VALUES` of them are left out.
    """

    rows: int
    null_share: Mapping[str, float]
    quartiles: Mapping[str, tuple[float, float, float]]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "FrameFacts":
        """Describe the feature columns of a frame; NaN is a missing value."""
        features = frame.drop(NOT_FEATURES, strict=False)
        numeric = [name for name, dtype in features.schema.items() if dtype.is_numeric()]
        values = features.with_columns(pl.col(numeric).cast(pl.Float64).fill_nan(None))
        nulls = {name: values[name].null_count() / max(frame.height, 1) for name in values.columns}
        found = {name: _quartiles(values[name]) for name in numeric}
        return cls(frame.height, nulls, {name: q for name, q in found.items() if q is not None})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FrameFacts":
        """Return the facts that `dataclasses.asdict` described."""
        quartiles = {name: tuple(q) for name, q in values["quartiles"].items()}
        return cls(values["rows"], values["null_share"], quartiles)


@dataclass(frozen=True)
class DataFacts:
    """Facts of the mature rows and of the open leads of one night; JSON-able.

    Attributes
    ----------
    positive_share, newest_positive_share : of all mature rows, and of those of the newest 28 days.
    """

    training: FrameFacts
    open_leads: FrameFacts
    positive_share: float
    newest_positive_share: float

    def to_dict(self) -> Facts:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DataFacts":
        """Return the facts that `to_dict` described."""
        frames = {name: FrameFacts.from_dict(values[name]) for name in ("training", "open_leads")}
        return cls(
            **frames,
            positive_share=values["positive_share"],
            newest_positive_share=values["newest_positive_share"],
        )


def data_facts(mature: pl.DataFrame, y: np.ndarray, open_leads: pl.DataFrame) -> DataFacts:
    """Describe a night.

    Parameters
    ----------
    mature : keys and features of every mature row, whatever a recipe makes of them.
    y : float64 (n,), their labels in {0, 1}.
    open_leads : keys and features of the leads open tonight.
    """
    snapshots = mature["snapshot_date"].to_numpy().astype("datetime64[D]")
    newest = snapshots > snapshots.max() - np.timedelta64(NEWEST_DAYS, "D") if len(y) else np.zeros(0, bool)
    share, newest_share = (float(part.mean()) if len(part) else 0.0 for part in (y, y[newest]))
    return DataFacts(FrameFacts.of(mature), FrameFacts.of(open_leads), share, newest_share)


def differences(before: DataFacts, now: DataFacts) -> list[str]:
    """Say in words what has changed more than leads and sales do from one night to the next.

    Parameters
    ----------
    before : the champion's facts.
    now : tonight's.
    """
    return [
        *_frame_differences("training rows", before.training, now.training, LEAST_ROWS),
        *_frame_differences("open leads", before.open_leads, now.open_leads, LEAST_OPEN_LEADS),
        *_odds("conversions", before.positive_share, now.positive_share, MOST_ODDS_RATIO),
        *_odds(
            "conversions of the newest mature weeks",
            before.newest_positive_share,
            now.newest_positive_share,
            MOST_NEWEST_ODDS_RATIO,
        ),
    ]


def _frame_differences(what: str, before: FrameFacts, now: FrameFacts, least: float) -> list[str]:
    said = []
    if before.rows >= MIN_VALUES and now.rows < least * before.rows:
        said.append(f"{now.rows} {what}, {before.rows} when the champion was trained")
    if min(before.rows, now.rows) < MIN_VALUES:
        return said
    for name, share in now.null_share.items():
        known = before.null_share.get(name)
        if known is not None and abs(share - known) > MOST_NULL_SHIFT:
            said.append(f"{name} of {what}: {share:.0%} empty, {known:.0%} when the champion was trained")
    for name, (low, middle, high) in now.quartiles.items():
        if name not in before.quartiles:
            continue
        known_low, known_middle, known_high = before.quartiles[name]
        spread = min(high - low, known_high - known_low)
        if spread > 0 and abs(middle - known_middle) > MOST_SIZE_SHIFT * spread:
            said.append(
                f"{name} of {what}: median {middle:.4g}, {known_middle:.4g} when the champion was trained"
            )
    return said


def _odds(what: str, before: float, now: float, most: float) -> list[str]:
    """Compare two shares by the ratio of their odds; a share of 0 or 1 is said as it is."""
    if not 0 < before < 1:
        return []
    ratio = now / (1 - now) * (1 - before) / before if now < 1 else np.inf
    if 1 / most <= ratio <= most:
        return []
    return [f"{what}: {now:.1%} of rows, {before:.1%} when the champion was trained"]


def _quartiles(values: pl.Series) -> tuple[float, float, float] | None:
    numbers = values.drop_nulls().to_numpy()
    numbers = numbers[np.isfinite(numbers) & (numbers != 0)]
    if len(numbers) < MIN_VALUES:
        return None
    low, middle, high = np.quantile(numbers, (0.25, 0.5, 0.75)).tolist()
    return low, middle, high
