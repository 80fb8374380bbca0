"""T3, early wins: do open leads win as often as the model and the delay curve say?

Observed wins of a week are compared with the sum of p (F(a + 7) - F(a)) / (1 - p F(a)) over the leads open at
its start, by a Shiryaev-Roberts e-detector for falls below 80 % and rises above 125 %. Weeks, not months,
after the world changed; it needs no mature label.
"""

from datetime import date

import numpy as np
from numpy.typing import ArrayLike

from features.delay import DelayCurve, expected_wins
from flows.monitors.e_process import RateState, Side, watch_rate
from flows.monitors.reading import Reading, day_words, log10, percent

THRESHOLD = 208.0
"""Mean run to a false alarm of at least 208 weeks for each side, so of at least 104 for both."""


def expected_early_wins(
    p: ArrayLike, age_days: ArrayLike, curve: DelayCurve, segment: ArrayLike | None = None, days: float = 7.0
) -> float:
    """Return mu, the wins that open leads should bring in the next `days` days.

    Parameters
    ----------
    p : chance to win at all, as said at creation, inside [0, 1) (n,).
    age_days : age at the start of the week of every lead then open (n,).
    segment : the delay curve's segment of each lead (n,).
    """
    age = np.asarray(age_days, dtype=np.float64)
    now, then = curve(age, segment), curve(age + days, segment)
    return float(expected_wins(p, now, then).sum())


def watch_early_wins(
    state: RateState, week: date, observed: float, expected: float
) -> tuple[RateState, list[Reading]]:
    """Add the week that begins on `week` and report both sides; a side that raised the alarm starts anew.

    A week in which nothing was expected and nothing came has no readings.

    Parameters
    ----------
    observed : wins that became known in the week, of leads open at its start.
    expected : `expected_early_wins` of the same leads.

    Raises
    ------
    ValueError
        A count is negative or not finite.
    """
    watched = watch_rate(state, week, observed, expected)
    if watched == state:
        return state, []
    readings = [_reading("fall", watched.low), _reading("rise", watched.high)]
    low, high = (
        Side() if reading.is_alarm else side
        for reading, side in zip(readings, (watched.low, watched.high), strict=True)
    )
    return RateState(low, high, watched.weeks), readings


def _reading(subject: str, side: Side) -> Reading:
    effect = side.observed / side.expected - 1 if side.expected else 0.0
    counts = f"({side.observed:,.0f} against {side.expected:,.0f} expected)"
    direction = "below" if effect < 0 else "above"
    words = (
        f"early wins are {percent(abs(effect))} {direction} what the model expects since "
        f"{day_words(side.since or '')} {counts}"
    )
    details = {"since": side.since, "observed": side.observed, "expected": side.expected}
    is_alarm = side.detector >= THRESHOLD
    evidence = log10(side.detector)
    subject = f"early wins {subject}"
    return Reading("T3", subject, side.detector, THRESHOLD, evidence, is_alarm, effect, words, details)
