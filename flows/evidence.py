"""What calling by the score brings, measured on the backtest's cohort: what a sales manager asks.

Leads of equal score are a tie: they share the places that they take together, as if drawn by lot. All
intervals are percentile bootstraps over whole leads, because a lead appears at several snapshots. Two ways to
choose leads are compared on the same draws; where the interval of the difference holds 0, that is a tie too.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

N_DRAWS = 400
N_DECILES = 10
MAX_SEGMENTS = 6
_LEVEL = (0.025, 0.975)
_DRAWS_AT_ONCE = 20

_OF_CONVERSIONS = frozenset(
    {"conversion_of_called", "decile_conversion", "decile_lift", "segment_conversion"}
)
"""Where nothing converted, draws say nothing: three in the number of leads is still likely (95 %)."""

BY_SCORE, AT_RANDOM = "score", "at random"
NEWEST, POOLED = "newest", "all"
"""Where evidence comes from: the newest cohort, or rolling origins together; the date of one by itself."""


@dataclass(frozen=True)
class Evidence:
    """One number with its 95 % interval.

    Attributes
    ----------
    measure, subject : what was measured, and of which decile, segment or way to choose leads.
    place : order among the rows of its measure.
    n_rows, n_won : rows it rests on and conversions among them; fractions where ties were shared.
    verdict : in a word, where two things are compared.
    """

    measure: str
    subject: str
    place: int
    value: float
    low: float | None
    high: float | None
    n_rows: float
    n_won: float
    verdict: str | None = None


@dataclass(frozen=True)
class Cohort:
    """Leads with known outcomes, and what ranks them.

    Attributes
    ----------
    leads, days : lead and snapshot of each row, (n,).
    y : float64 (n,), 1 where it converted.
    p : float64 (n,), probabilities by a fit that had not seen these outcomes.
    segments : text (n,), null where unknown.
    floors : simpler ways to rank the same rows, larger is better, float64 (n,) each.
    capacity : share of the open leads that can be called.
    """

    leads: np.ndarray
    days: np.ndarray
    y: np.ndarray
    p: np.ndarray
    segments: pl.Series
    floors: Mapping[str, np.ndarray]
    capacity: float


def evidence(cohort: Cohort, seed: int) -> list[Evidence]:
    """Return every measure; none where the cohort has one class only or was not scored."""
    y, p = cohort.y, cohort.p
    if not 0 < y.sum() < len(y) or not np.isfinite(p).all():
        return []
    chosen = _called(cohort)
    deciles = np.stack([_share(p, (d + 1) / N_DECILES) - _share(p, d / N_DECILES) for d in range(N_DECILES)])
    names, segments = _segments(cohort.segments)
    parts = np.concatenate([np.ones((1, len(y))), np.stack(list(chosen.values())), deciles, segments])
    _, of_lead = np.unique(cohort.leads, return_inverse=True)
    n_leads = np.array([len(np.unique(of_lead[part > 0])) for part in parts])
    table = _Table(parts, y, _totals(parts, y, p, of_lead, seed), n_leads)
    called = slice(1, 1 + len(chosen))
    first_decile = called.stop
    first_segment = first_decile + N_DECILES
    found = [
        *_of_calls(table, list(chosen), cohort),
        *_of_deciles(table, first_decile),
        *_of_segments(table, names, first_segment),
    ]
    return [one for one in found if np.isfinite(one.value)]


def evidence_metrics(rows: Iterable[Evidence]) -> dict[str, float]:
    """Name each number for an experiment tracker: `<measure>_<subject>`, intervals as `_low` and `_high`."""
    found: dict[str, float] = {}
    for row in rows:
        if row.measure.startswith(("segment_", "tied_")):
            continue
        name = re.sub(r"[^a-z0-9]+", "_", f"{row.measure}_{row.subject}".lower())
        found[name] = row.value
        if row.low is not None and row.high is not None:
            found |= {f"{name}_low": row.low, f"{name}_high": row.high}
    return found


@dataclass(frozen=True)
class _Table:
    """Parts of the rows, (j, n) in [0, 1]; part 0 is all of them.

    `totals`, float64 (3, 1 + draws, j), are conversions, sums of probabilities and rows, measured and drawn.
    `n_leads` are the leads of each part, (j,).
    """

    parts: np.ndarray
    y: np.ndarray
    totals: np.ndarray
    n_leads: np.ndarray

    def observed(self, part: int) -> np.ndarray:
        """Share that converted: the measured one, then its draws."""
        return _divided(self.totals[0, :, part], self.totals[2, :, part])

    def forecast(self, part: int) -> np.ndarray:
        """Mean probability, likewise."""
        return _divided(self.totals[1, :, part], self.totals[2, :, part])

    def has_none(self, part: int) -> bool:
        """Whether nothing converted there."""
        return bool(self.totals[0, 0, part] == 0.0)

    def likely(self, part: int) -> float:
        """Largest share that is still likely (95 %) where nothing converted: the rule of three."""
        return min(3.0 / float(self.n_leads[part]), 1.0)

    def captured(self, parts: slice) -> np.ndarray:
        """Share of all conversions that these parts hold, likewise."""
        return _divided(self.totals[0, :, parts].sum(axis=1), self.totals[0, :, 0])

    def row(
        self,
        measure: str,
        subject: str,
        place: int,
        values: np.ndarray,
        part: int,
        verdict: str | None = None,
    ) -> Evidence:
        low, high = _interval(values[1:])
        if self.has_none(part) and measure in _OF_CONVERSIONS:
            high = self.likely(part) / (float(self.observed(0)[0]) if measure == "decile_lift" else 1.0)
        n_rows, n_won = float(self.parts[part].sum()), float(self.parts[part] @ self.y)
        return Evidence(
            measure, subject, place, float(values[0]), low, high, round(n_rows, 3), round(n_won, 3), verdict
        )


def _of_calls(table: _Table, names: list[str], cohort: Cohort) -> list[Evidence]:
    score, found = table.observed(1), []
    for place, name in enumerate(names):
        part = 1 + place
        won = table.observed(part)
        found.append(table.row("conversion_of_called", name, place, won, part))
        ranking = cohort.p if name == BY_SCORE else cohort.floors.get(name)
        if ranking is not None:
            tied = _tied_at_the_edge(ranking, cohort.days, cohort.capacity)
            found.append(
                Evidence("tied_at_capacity", name, place, tied, None, None, len(cohort.y), cohort.y.sum())
            )
        if name == BY_SCORE:
            continue
        difference = score - won
        found.append(table.row("gain_over", name, place, difference, part, _verdict(table, 1, part)))
        found.append(table.row("times_as_many", name, place, _divided(score, won), part))
    return found


def _verdict(table: _Table, part: int, other: int) -> str:
    """Compare two parts; one without conversions ties with what it may yet be."""
    for none, some in ((part, other), (other, part)):
        if table.has_none(none) and table.observed(some)[0] <= table.likely(none):
            return "tie"
    return compared(table.observed(part) - table.observed(other))


def compared(difference: np.ndarray) -> str:
    """Say better, tie or worse of a difference, the measured one and its draws: a tie where 0 is inside."""
    low, high = _interval(difference[1:])
    if low is None or high is None or low <= 0.0 <= high:
        return "tie"
    return "better" if low > 0 else "worse"


def _of_deciles(table: _Table, first: int) -> list[Evidence]:
    everyone, found = table.observed(0), []
    for d in range(N_DECILES):
        part, subject = first + d, f"{d + 1:02d}"
        won = table.observed(part)
        found += [
            table.row("decile_conversion", subject, d, won, part),
            table.row("decile_forecast", subject, d, table.forecast(part), part, _calibrated(table, part)),
            table.row("decile_lift", subject, d, _divided(won, everyone), part),
            table.row("gains", subject, d, table.captured(slice(first, part + 1)), part),
        ]
    ratio = _divided(table.forecast(0), everyone)
    return [*found, table.row("forecast_to_observed", "all", 0, ratio, 0, _calibrated(table, 0))]


def _of_segments(table: _Table, names: list[str], first: int) -> list[Evidence]:
    found = []
    for place, name in enumerate(names):
        part = first + place
        found.append(table.row("segment_conversion", name, place, table.observed(part), part))
        forecast = table.forecast(part)
        found.append(table.row("segment_forecast", name, place, forecast, part, _calibrated(table, part)))
    return found


def _calibrated(table: _Table, part: int) -> str:
    if table.has_none(part):
        is_likely = table.forecast(part)[0] <= table.likely(part)
        return "as forecast" if is_likely else "fewer than forecast"
    word = compared(table.observed(part) - table.forecast(part))
    return {"tie": "as forecast", "better": "more than forecast", "worse": "fewer than forecast"}[word]


def _called(cohort: Cohort) -> dict[str, np.ndarray]:
    """Part of each row that is called when each day's best share is, by way to choose, (n,) in [0, 1]."""
    rankings = {BY_SCORE: cohort.p, **cohort.floors, AT_RANDOM: np.zeros(len(cohort.p))}
    return {name: _daily_share(ranking, cohort.days, cohort.capacity) for name, ranking in rankings.items()}


def _daily_share(ranking: np.ndarray, days: np.ndarray, share: float) -> np.ndarray:
    part = np.empty(len(ranking))
    for day in np.unique(days):
        on_day = days == day
        part[on_day] = _share(ranking[on_day], share)
    return part


def _share(ranking: np.ndarray, share: float) -> np.ndarray:
    """Part of each row among the best `share`, (n,) in [0, 1]; tied rows share what is left for them."""
    ordered = np.sort(ranking)
    above = len(ranking) - np.searchsorted(ordered, ranking, side="right")
    tied = len(ranking) - np.searchsorted(ordered, ranking, side="left") - above
    return np.clip((share * len(ranking) - above) / tied, 0.0, 1.0)


def _tied_at_the_edge(ranking: np.ndarray, days: np.ndarray, share: float) -> float:
    """Rows of which only a part is called because others have the same score, summed over days."""
    part = _daily_share(ranking, days, share)
    n_partly = 0
    for day in np.unique(days):
        partly = (days == day) & (part > 0) & (part < 1)
        n_partly += int(partly.sum()) if partly.sum() > 1 else 0
    return float(n_partly)


def _segments(segments: pl.Series) -> tuple[list[str], np.ndarray]:
    """Names of the largest segments and which rows are theirs, (k, n)."""
    known = segments.cast(pl.String).fill_null("unknown").rename("segment")
    counts = known.value_counts().sort("count", "segment", descending=[True, False])
    names = counts["segment"].head(MAX_SEGMENTS).to_list()
    values = known.to_numpy()
    return names, np.stack([values == name for name in names]).astype(np.float64)


def _totals(parts: np.ndarray, y: np.ndarray, p: np.ndarray, of_lead: np.ndarray, seed: int) -> np.ndarray:
    """Sums over rows, measured and in `N_DRAWS` Poisson bootstraps over leads, (3, 1 + draws, j)."""
    weighted = (part * value for value in (y, p, np.ones_like(y)) for part in parts)
    by_lead = np.stack([np.bincount(of_lead, row) for row in weighted], axis=1)
    rng = np.random.default_rng(seed)
    totals = [by_lead.sum(axis=0)[None, :]]
    for _ in range(N_DRAWS // _DRAWS_AT_ONCE):
        totals.append(rng.poisson(1.0, (_DRAWS_AT_ONCE, len(by_lead))).astype(np.float64) @ by_lead)
    return np.concatenate(totals).reshape(-1, 3, len(parts)).transpose(1, 0, 2)


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Ratios, NaN where b is 0."""
    return np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0)


def _interval(draws: np.ndarray) -> tuple[float | None, float | None]:
    finite = draws[np.isfinite(draws)]
    if len(finite) < N_DRAWS // 2:
        return None, None
    low, high = np.quantile(finite, _LEVEL)
    return float(low), float(high)
