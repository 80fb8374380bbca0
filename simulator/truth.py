"""The exact conversion probability of an open lead, given its hidden parameters.

A lead converts eventually with probability p, after a log-normal delay with distribution F. A lead that never
converts is closed as lost after a time with distribution G, or stays open for ever. For a lead open at age a

    P(converts within h | open at a) = p (F(a + h) - F(a)) / (p (1 - F(a)) + (1 - p) (1 - G(a)))

Touches depend on the hidden parameters and the age, never on the realised outcome, so no model that looks at
touches can do better than this number. sql/simulated/truth.sql holds the same formula in SQL.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

# Beyond 12 standard deviations nothing changes any more, and nothing underflows in SQL either.
LIMIT = 12.0
_NUMERATOR = (
    3.52624965998911e-02,
    0.700383064443688,
    6.37396220353165,
    33.912866078383,
    112.079291497871,
    221.213596169931,
    220.206867912376,
)
_DENOMINATOR = (
    8.83883476483184e-02,
    1.75566716318264,
    16.064177579207,
    86.7807322029461,
    296.564248779674,
    637.333633378831,
    793.826512519948,
    440.413735824752,
)
_FAR = 7.07106781186547
_ROOT_TWO_PI = 2.506628274631


@dataclass(frozen=True)
class Hidden:
    """Hidden parameters of leads, arrays of one shape (or broadcastable): what the truth is computed from.

    Attributes
    ----------
    p_convert : chance to convert eventually.
    delay_mu, delay_sigma : log-normal delay from creation to conversion, log days.
    loss_mu, loss_sigma : log-normal time from creation to loss for leads that never convert, log days.
    never_lost : share of never-converting leads that nobody ever closes.
    """

    p_convert: FloatArray
    delay_mu: FloatArray
    delay_sigma: float | FloatArray
    loss_mu: float | FloatArray
    loss_sigma: float | FloatArray
    never_lost: float | FloatArray


def normal_upper_tail(x: ArrayLike) -> FloatArray:
    """P(Z > x) of a standard normal, to 1e-15 and a relative 1e-8; Hart (1968) as given by West (2005)."""
    x = np.clip(np.asarray(x, dtype=np.float64), -LIMIT, LIMIT)
    size = np.abs(x)
    near = np.polyval(_NUMERATOR, size) / np.polyval(_DENOMINATOR, size)
    fraction = size + 0.65
    for k in (4.0, 3.0, 2.0, 1.0):
        fraction = size + k / fraction
    tail = np.exp(-0.5 * size * size) * np.where(size < _FAR, near, 1.0 / (fraction * _ROOT_TWO_PI))
    return np.where(x < 0.0, 1.0 - tail, tail)


def lognormal_survival(age_days: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> FloatArray:
    """P(T > age) of a log-normal time; 1 at age 0."""
    log_age = np.log(np.maximum(age_days, 1e-9))
    return normal_upper_tail((log_age - np.asarray(mu)) / np.asarray(sigma))


def probability_within(hidden: Hidden, age_days: FloatArray, horizon_days: float) -> FloatArray:
    """P(converts within `horizon_days` | open at `age_days`), the formula of this module's docstring."""
    waiting = lognormal_survival(age_days, hidden.delay_mu, hidden.delay_sigma)
    later = lognormal_survival(age_days + horizon_days, hidden.delay_mu, hidden.delay_sigma)
    kept = lognormal_survival(age_days, hidden.loss_mu, hidden.loss_sigma)
    open_loser = (1.0 - hidden.p_convert) * (hidden.never_lost + (1.0 - hidden.never_lost) * kept)
    return hidden.p_convert * (waiting - later) / (hidden.p_convert * waiting + open_loser)


def conversion_probability(truth: pl.DataFrame, as_of: date, horizon_days: int) -> pl.DataFrame:
    """Probability to convert in [as_of, as_of + horizon_days), for the leads open at midnight UTC of `as_of`.

    Parameters
    ----------
    truth : table `truth.lead`: one row per lead.
    as_of : leads created before it and not closed or removed before it are open.
    horizon_days : at least 1.

    Returns
    -------
    lead_id, probability : one row per open lead, in the order of `truth`.
    """
    if horizon_days < 1:
        raise ValueError(f"horizon_days={horizon_days} should be at least 1")
    instant = datetime.combine(as_of, datetime.min.time(), UTC)
    is_open = (pl.col("created_at") < instant) & (
        pl.col("closed_at").is_null() | (pl.col("closed_at") >= instant)
    )
    rows = truth.filter(is_open)
    age_days = _age_days(rows, instant)
    return rows.select("lead_id").with_columns(
        pl.Series("probability", probability_within(hidden_of(rows), age_days, float(horizon_days)))
    )


def hidden_of(truth: pl.DataFrame) -> Hidden:
    """The hidden parameters in a truth table, as arrays."""
    return Hidden(
        p_convert=truth["p_convert"].to_numpy(),
        delay_mu=truth["delay_mu"].to_numpy(),
        delay_sigma=truth["delay_sigma"].to_numpy(),
        loss_mu=truth["loss_mu"].to_numpy(),
        loss_sigma=truth["loss_sigma"].to_numpy(),
        never_lost=truth["never_lost"].to_numpy(),
    )


def _age_days(rows: pl.DataFrame, instant: datetime) -> FloatArray:
    age = rows.select((pl.lit(instant) - pl.col("created_at")) / timedelta(days=1)).to_series()
    return age.cast(pl.Float64).to_numpy()
