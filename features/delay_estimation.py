"""Estimate the delay curve from the wins known so far, of which young cohorts only show the quick ones.

A win of a lead of age u at `as_of` is known only if its delay is below u: the sample is truncated on the
right. Read backwards in time this is left truncation, and the product-limit estimate (Lynden-Bell 1971;
Woodroofe 1985; Lagakos, Barraj and De Gruttola 1988) is

    F(t) = prod over delays s >= t of (1 - d(s) / n(s)),  n(s) = wins with delay <= s and limit > s

conditional on a delay below the largest age that the data support. F(t) is the share of delays below t: a
night sees what was known before it, and where clocks have day precision a win known at that very midnight is
not part of it. Segments get `PSEUDO_WINS` imagined wins with the pooled curve in d and n, so that a small
segment has the pooled curve and a large one its own.
"""

import math
from collections.abc import Mapping
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

from features.delay import DelayCurve, FloatArray
from features.sources import midnight

PSEUDO_WINS = 50.0
MIN_AT_RISK = 50
"""Beyond the age where fewer wins could have been seen, one win would move the whole curve."""
N_KNOTS = 161
TAIL_FACTOR = 4.0
_DAY = 86_400e6


class TooFewWinsError(ValueError):
    """Not enough wins for a delay curve; learning from mature labels needs none."""


def estimate_delay_curve(
    wins: pl.DataFrame,
    as_of: date,
    *,
    segment: str | None = None,
    event: Literal["known_at", "outcome_at"] = "known_at",
    tail: Literal["observed", "lognormal"] = "observed",
    whole_days: bool = False,
) -> DelayCurve:
    """Estimate F from the conversions known before `as_of`.

    Parameters
    ----------
    wins : one row per conversion: created_at, known_at, outcome_at if `event` asks for it (UTC times) and
        the segment's column. Rows known on or after `as_of` are not seen; wins dated before their lead was
        created say nothing about delays and are left out.
    event : what the delay runs to: the moment a win becomes known (what open leads are compared with), or
        its own date.
    tail : "observed" takes every win to be seen by the largest supported age, which puts the curve too high
        by the wins that come even later; "lognormal" fits a log-normal delay to the same truncated data and
        takes its share beyond that age for the missing one.
    whole_days : put the knots on whole days: where all times asked about are midnights, F is exact at them.

    Raises
    ------
    ValueError
        A column is missing.
    TooFewWinsError
        Fewer than `MIN_AT_RISK` wins could have been seen at any age.
    """
    delays, limits, names = _truncated_sample(wins, as_of, segment, event)
    support = _supported_age(delays, limits)
    kept = delays < support
    delays, limits, names = delays[kept], np.minimum(limits[kept], support), names[kept]
    ages = np.expm1(np.linspace(0.0, math.log1p(support), N_KNOTS))
    ages[-1] = support
    if whole_days:
        ages = np.unique(np.rint(ages))
    events, counts = np.unique(delays, return_counts=True)
    share = _product_limit(counts, _at_risk(delays, limits, events))
    curves = {"": _at_knots(events, share, ages)}
    prior_mass, prior_risk = PSEUDO_WINS * np.diff(share), PSEUDO_WINS * share[1:]
    segments = {str(name): names == name for name in np.unique(names[names != ""])}
    for name, rows in segments.items():
        own = np.bincount(np.searchsorted(events, delays[rows]), minlength=len(events))
        risk = _at_risk(delays[rows], limits[rows], events)
        own_share = _product_limit(own + prior_mass, risk + prior_risk)
        curves[name] = _at_knots(events, own_share, ages)
    if tail == "lognormal":
        ages, curves = _with_lognormal_tail(ages, curves, delays, limits, segments)
    pooled = tuple(curves.pop("").tolist())
    by_segment = {name: tuple(curve.tolist()) for name, curve in curves.items()}
    own_wins = {name: int(rows.sum()) for name, rows in segments.items()}
    return DelayCurve(tuple(ages.tolist()), pooled, by_segment, len(delays), own_wins, support, tail)


def fit_truncated_lognormal(delays: FloatArray, limits: FloatArray) -> tuple[float, float]:
    """Return mu and sigma of log-normal delays, each seen only because it is at most its limit.

    Maximum likelihood of log f(d) - log F(limit) by a grid that zooms in; limits are grouped to 64 quantiles.

    Parameters
    ----------
    delays, limits : float64 (n,), days, 0 < delay <= limit.
    """
    logs = np.log(np.maximum(delays, 1e-3))
    groups = np.array_split(np.sort(np.log(limits)), min(64, len(limits)))
    limit, weight = np.array([g.mean() for g in groups]), np.array([len(g) for g in groups])
    center, half = np.array([math.log(20.0), 1.6]), np.array([4.5, 1.4])
    for _ in range(7):
        mu = center[0] + half[0] * np.linspace(-1, 1, 17)[:, None]
        sigma = np.maximum(center[1] + half[1] * np.linspace(-1, 1, 17)[None, :], 0.1)
        z = (limit - mu[..., None]) / sigma[..., None]
        truncation = (weight * np.log(np.maximum(_normal_cdf(z), 1e-300))).sum(axis=-1)
        spread = ((logs - logs.mean()) ** 2).sum() + len(logs) * (logs.mean() - mu) ** 2
        likelihood = -len(logs) * np.log(sigma) - spread / (2 * sigma**2) - truncation
        i, j = np.unravel_index(likelihood.argmax(), likelihood.shape)
        center, half = np.array([mu[i, 0], sigma[0, j]]), half / 4
    return float(center[0]), float(center[1])


def _truncated_sample(
    wins: pl.DataFrame, as_of: date, segment: str | None, event: str
) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Return delay, largest delay that would have been seen, and segment ("" for none) of the wins known."""
    needed = {"created_at", "known_at", event} | ({segment} if segment else set())
    missing = sorted(needed - set(wins.columns))
    if missing:
        raise ValueError(f"wins lack column {missing[0]!r}; they have {', '.join(wins.columns)}")
    now = pl.lit(midnight(as_of))
    lag = pl.col("known_at") - pl.col(event)
    name = pl.col(segment).cast(pl.String).fill_null("") if segment else pl.lit("")
    sample = (
        wins.drop_nulls(["created_at", "known_at", event])
        .filter(pl.col("known_at") < now, pl.col(event) >= pl.col("created_at"))
        .select(
            delay=(pl.col(event) - pl.col("created_at")).dt.total_microseconds() / _DAY,
            limit=(now - lag - pl.col("created_at")).dt.total_microseconds() / _DAY,
            name=name,
        )
    )
    return sample["delay"].to_numpy(), sample["limit"].to_numpy(), sample["name"].to_numpy()


def _at_risk(
    delays: FloatArray, limits: FloatArray, at: FloatArray, side: Literal["left", "right"] = "right"
) -> FloatArray:
    """Wins with delay <= s and limit > s; from the left, delay < s and limit >= s."""
    started = np.searchsorted(np.sort(delays), at, side=side)
    return (started - np.searchsorted(np.sort(limits), at, side=side)).astype(np.float64)


def _supported_age(delays: FloatArray, limits: FloatArray) -> float:
    candidates = np.unique(limits)
    enough = candidates[_at_risk(delays, limits, candidates, "left") >= MIN_AT_RISK]
    if not len(enough):
        raise TooFewWinsError(
            f"{len(delays)} wins are too few for a delay curve: at no age could {MIN_AT_RISK} of them have "
            "been seen; wait for more, or train on mature labels only"
        )
    return float(enough[-1])


def _product_limit(deaths: np.ndarray, at_risk: FloatArray) -> FloatArray:
    """Return F just before the first event (0) and at each event: shape (events + 1,), the last is 1."""
    factor = np.where(at_risk > 0, 1 - deaths / np.maximum(at_risk, 1e-300), 1.0)
    share = np.cumprod(np.clip(factor, 0.0, 1.0)[::-1])[::-1]
    return np.append(np.where(np.arange(len(share)) == 0, 0.0, share), 1.0)


def _at_knots(events: FloatArray, share: FloatArray, ages: FloatArray) -> FloatArray:
    values = share[np.searchsorted(events, ages, side="left")]
    values[0] = 0.0
    return values


def _with_lognormal_tail(
    ages: FloatArray,
    curves: Mapping[str, FloatArray],
    delays: FloatArray,
    limits: FloatArray,
    segments: Mapping[str, np.ndarray],
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Scale curves to the fitted share of delays within the data's reach and add the fitted rest.

    A segment's fit is mixed with the pooled one, weighted by its wins against `PSEUDO_WINS`.
    """
    far = np.geomspace(ages[-1], TAIL_FACTOR * ages[-1], 40)
    pooled = _lognormal_cdf(far, delays, limits)
    tails = dict.fromkeys(curves, pooled)
    for name, rows in segments.items():
        if (n := int(rows.sum())) >= MIN_AT_RISK:
            own = _lognormal_cdf(far, delays[rows], limits[rows])
            tails[name] = (n * own + PSEUDO_WINS * pooled) / (n + PSEUDO_WINS)
    extended = {name: np.append(curve * tails[name][0], tails[name][1:]) for name, curve in curves.items()}
    return np.append(ages, far[1:]), extended


def _lognormal_cdf(ages: FloatArray, delays: FloatArray, limits: FloatArray) -> FloatArray:
    mu, sigma = fit_truncated_lognormal(delays, limits)
    return _normal_cdf((np.log(ages) - mu) / sigma)


def _normal_cdf(z: FloatArray | float) -> FloatArray:
    return 0.5 * np.asarray(np.vectorize(math.erfc, otypes=[float])(-np.asarray(z) / math.sqrt(2)))
