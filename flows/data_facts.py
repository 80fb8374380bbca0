"""What a model was made from, in a few numbers per column: a night that contradicts them is broken.

A model fitted on broken data can look as good as ever, because it is judged on the same broken data. So each
model keeps the facts of the half year of rows that was mature on its night, and a later night describes the
same weeks anew. Features are as of their snapshot and mature labels do not change: whatever the world does
meanwhile, the past stays as it was. Tonight's open leads, which have no past, are held against those of a
week ago. Wins of rows that are too young for a label are held against those of the past at the same age:
recipes that learn from open leads learn from them, and then fit them well whatever they are.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from features.late_labels import LateLabels
from features.matrix import NOT_FEATURES
from flows.adapters.settings import Settings
from flows.dataset import History
from flows.recipes import MATURE

PERIOD_DAYS = 182
NEWEST_DAYS = 28
MIN_VALUES = 30
"""Fewer values than this say nothing about a column."""

LEAST_ROWS = 0.75
LEAST_OPEN_LEADS = 0.6
MOST_NULL_SHIFT = 0.2
MOST_SIZE_SHIFT = 3.0
"""Weekdays move medians too: on a Monday the newest activity of most leads is three days old, on a Thursday
one, and that is two interquartile ranges. A wrong unit is a factor, and further away."""
MOST_ODDS_RATIO = 2.5
MOST_NEWEST_ODDS_RATIO = 4.0
MOST_EARLY_ODDS_RATIO = 5.0
MIN_AGE_DAYS = 7
EARLY_PRIOR_ROWS = 8
"""One lead's rows in the weeks before its label is mature."""

STEP_DAYS = 7
THEN = "when the champion was trained"

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
class NightRows:
    """The rows that a night is described by.

    Attributes
    ----------
    mature, y : keys and features of every mature row, whatever a recipe makes of them, and their labels in
        {0, 1}, float64 (n,).
    earlier, open_leads : keys and features of the leads open on the newest snapshot before tonight, and
        tonight.
    early : the wins known among rows that are not mature.
    """

    mature: pl.DataFrame
    y: np.ndarray
    earlier: pl.DataFrame
    open_leads: pl.DataFrame
    early: "EarlyWins | None" = None

    @property
    def snapshots(self) -> np.ndarray:
        """Snapshots of the mature rows, datetime64[D] (n,)."""
        return self.mature["snapshot_date"].to_numpy().astype("datetime64[D]")


@dataclass(frozen=True)
class EarlyWins:
    """Rows too young for their label, how many of them are won, and how many would be as in the past.

    Attributes
    ----------
    expected : the wins that the mature rows of half a year had at the same ages, in the same segments.
    """

    rows: int
    wins: int
    expected: float

    @classmethod
    def of(cls, labels: LateLabels, day: date) -> "EarlyWins":
        """Count the wins known before `day`."""
        elapsed, is_mature, is_there = labels.elapsed(day), labels.is_mature(day), ~labels.is_void(day)
        oldest = labels.horizon_days + labels.reporting_lag_days + PERIOD_DAYS
        past = is_there & is_mature & (elapsed < oldest)
        young = is_there & ~is_mature & (elapsed >= MIN_AGE_DAYS)
        expected = 0.0
        for name in np.unique(labels.segments[young]):
            delays = np.sort(labels.win_days[past & (labels.segments == name)])
            ages = elapsed[young & (labels.segments == name)]
            expected += float(np.searchsorted(delays, ages).sum()) / max(len(delays), 1)
        return cls(int(young.sum()), int((young & labels.is_won(day)).sum()), expected)

    def problems(self) -> list[str]:
        """Say in words where there are more than any change of the world brings.

        Fewer are no contradiction: conversions may fall, and a feed that stops is for the monitors.
        """
        won, expected = (
            (n + EARLY_PRIOR_ROWS) / (self.rows - n + EARLY_PRIOR_ROWS) for n in (self.wins, self.expected)
        )
        if won <= MOST_EARLY_ODDS_RATIO * expected:
            return []
        return [
            f"early wins: {self.wins} of {self.rows} rows of the newest weeks, {self.expected:.0f} as before"
        ]


@dataclass(frozen=True)
class DataFacts:
    """Facts of the mature rows of half a year; JSON-able.

    Attributes
    ----------
    first, last : their oldest and newest snapshot, ISO.
    positive_share, newest_positive_share : of all of them, and of those of the newest 28 days.
    """

    first: str
    last: str
    past: FrameFacts
    positive_share: float
    newest_positive_share: float

    def to_dict(self) -> Facts:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DataFacts":
        """Return the facts that `to_dict` described."""
        return cls(**{**values, "past": FrameFacts.from_dict(values["past"])})


def data_facts(rows: NightRows, last: date | None = None) -> DataFacts | None:
    """Describe the half year of mature rows that ends with a snapshot; None where there are none.

    Parameters
    ----------
    last : the end of the period; None takes the newest mature snapshot.
    """
    snapshots = rows.snapshots
    if not len(snapshots):
        return None
    end = snapshots.max() if last is None else np.datetime64(last, "D")
    inside = (snapshots > end - np.timedelta64(PERIOD_DAYS, "D")) & (snapshots <= end)
    if not inside.any():
        return None
    chosen, y = snapshots[inside], rows.y[inside]
    newest = y[chosen > chosen.max() - np.timedelta64(NEWEST_DAYS, "D")]
    return DataFacts(
        str(chosen.min()),
        str(end),
        FrameFacts.of(rows.mature.filter(pl.Series(inside))),
        float(y.mean()),
        float(newest.mean()),
    )


def differences(before: DataFacts, rows: NightRows) -> list[str]:
    """Say in words what of the past is not as it was, and what open leads do not do within a week.

    Parameters
    ----------
    before : the champion's facts.
    rows : tonight's.
    """
    open_leads = _frame_differences(
        "open leads",
        FrameFacts.of(rows.earlier),
        FrameFacts.of(rows.open_leads),
        LEAST_OPEN_LEADS,
        "at the newest snapshot before",
    )
    now = data_facts(rows, _same_end(before, rows))
    if now is None:
        return ["there are no mature rows of the time that the champion was trained on", *open_leads]
    early = [] if rows.early is None else rows.early.problems()
    return [
        *early,
        *_frame_differences("training rows", before.past, now.past, LEAST_ROWS, THEN),
        *_odds("conversions", before.positive_share, now.positive_share, MOST_ODDS_RATIO),
        *_odds(
            "conversions of the newest mature weeks",
            before.newest_positive_share,
            now.newest_positive_share,
            MOST_NEWEST_ODDS_RATIO,
        ),
        *open_leads,
    ]


def night_rows(past: History, settings: Settings, open_leads: pl.DataFrame) -> NightRows:
    """Take the rows that describe a night from its history.

    Parameters
    ----------
    open_leads : keys and features of the leads open tonight.
    """
    mature = past.known_at(past.as_of, MATURE, settings)
    days = past.labels.snapshots[past.built]
    before = days[days < np.datetime64(past.as_of, "D")]
    at = days == before.max() if len(before) else np.zeros(len(days), dtype=bool)
    earlier = past.frame.filter(pl.Series(at))
    return NightRows(mature.frame, mature.y, earlier, open_leads, EarlyWins.of(past.labels, past.as_of))


def _same_end(before: DataFacts, rows: NightRows) -> date | None:
    """Return the end of the champion's period, later where its beginning has left the training window.

    Snapshots of two nights may lie up to six days apart.
    """
    if not len(rows.snapshots):
        return None
    gone = (rows.snapshots.min() - np.datetime64(before.first, "D")).astype(int)
    end = date.fromisoformat(before.last)
    return end + timedelta(days=int(gone)) if gone >= STEP_DAYS else end


def _frame_differences(what: str, before: FrameFacts, now: FrameFacts, least: float, when: str) -> list[str]:
    said = []
    if before.rows >= MIN_VALUES and now.rows < least * before.rows:
        said.append(f"{now.rows} {what}, {before.rows} {when}")
    if min(before.rows, now.rows) < MIN_VALUES:
        return said
    for name, share in now.null_share.items():
        known = before.null_share.get(name)
        if known is not None and abs(share - known) > MOST_NULL_SHIFT:
            said.append(f"{name} of {what}: {share:.0%} empty, {known:.0%} {when}")
    for name, (low, middle, high) in now.quartiles.items():
        if name not in before.quartiles:
            continue
        known_low, known_middle, known_high = before.quartiles[name]
        spread = min(high - low, known_high - known_low)
        if spread > 0 and abs(middle - known_middle) > MOST_SIZE_SHIFT * spread:
            said.append(f"{name} of {what}: median {middle:.4g}, {known_middle:.4g} {when}")
    return said


def _odds(what: str, before: float, now: float, most: float) -> list[str]:
    """Compare two shares by the ratio of their odds; a share of 0 or 1 is said as it is."""
    if not 0 < before < 1:
        return []
    ratio = now / (1 - now) * (1 - before) / before if now < 1 else np.inf
    if 1 / most <= ratio <= most:
        return []
    return [f"{what}: {now:.1%} of rows, {before:.1%} {THEN}"]


def _quartiles(values: pl.Series) -> tuple[float, float, float] | None:
    numbers = values.drop_nulls().to_numpy()
    numbers = numbers[np.isfinite(numbers) & (numbers != 0)]
    if len(numbers) < MIN_VALUES:
        return None
    low, middle, high = np.quantile(numbers, (0.25, 0.5, 0.75)).tolist()
    return low, middle, high
