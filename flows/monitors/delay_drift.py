"""T5, the delay curve: do wins of young cohorts come sooner or later than F says?

For the leads created in one week, wins within 30 days have v = F(delay) / F(30) uniform while F holds. If F
became F^a, -ln v is exponential with rate a, so k wins with sum S of -ln v have the likelihood of k events
where S are expected: the detector of early wins serves unchanged, for a below .8 (sooner) and above 1.25
(later). An alarm asks for a new F and puts a note beside T3; it retrains nothing and wakes nobody.
"""

from datetime import date

import numpy as np
from numpy.typing import ArrayLike

from features.delay import DelayCurve
from flows.monitors.e_process import RateState, Side, watch_rate
from flows.monitors.reading import Reading, day_words, log10, percent

THRESHOLD = 208.0
AGE_LIMIT = 30.0
SHOWN_AGE = 7.0
_SMALLEST = 1e-3
"""v below this is taken for it: one win entered on the day of the lead must not outweigh ten."""


def delay_evidence(
    delay_days: ArrayLike, curve: DelayCurve, segment: ArrayLike | None = None, age_limit: float = AGE_LIMIT
) -> tuple[int, float]:
    """Return the number of wins within `age_limit` and the sum of -ln(F(delay) / F(age_limit)) over them.

    Parameters
    ----------
    delay_days : creation to known win of one whole cohort, every lead of which is at least `age_limit` old
        (n,).
    """
    delay = np.asarray(delay_days, dtype=np.float64)
    kept = (delay >= 0) & (delay <= age_limit)
    names = None if segment is None else np.asarray(segment)[kept]
    whole = curve(np.full(int(kept.sum()), age_limit), names)
    v = np.clip(curve(delay[kept], names) / np.maximum(whole, _SMALLEST), _SMALLEST, 1.0)
    return int(kept.sum()), float(-np.log(v).sum())


def watch_delay(
    state: RateState, week: date, wins: int, evidence: float, curve: DelayCurve
) -> tuple[RateState, list[Reading]]:
    """Add the cohort created in the week from `week` on and report both sides; an alarm starts anew.

    A cohort without early wins has no readings.

    Parameters
    ----------
    wins, evidence : as `delay_evidence` returns them.
    """
    watched = watch_rate(state, week, wins, evidence)
    if watched == state:
        return state, []
    readings = [_reading("sooner", watched.low, curve), _reading("later", watched.high, curve)]
    low, high = (
        Side() if reading.is_alarm else side
        for reading, side in zip(readings, (watched.low, watched.high), strict=True)
    )
    return RateState(low, high, watched.weeks), readings


def _reading(subject: str, side: Side, curve: DelayCurve) -> Reading:
    power = side.observed / side.expected if side.expected else 1.0
    usual = float(curve(SHOWN_AGE) / curve(AGE_LIMIT)) if curve(AGE_LIMIT) > 0 else 1.0
    share = usual**power
    words = (
        f"of the wins of a lead's first {AGE_LIMIT:.0f} days {percent(share)} come within {SHOWN_AGE:.0f} "
        f"days, usually {percent(usual)}, for leads created since {day_words(side.since or '')}"
    )
    details = {"since": side.since, "wins": side.observed, "power": power}
    is_alarm = side.detector >= THRESHOLD
    evidence = log10(side.detector)
    return Reading(
        "T5", f"delay {subject}", side.detector, THRESHOLD, evidence, is_alarm, share - usual, words, details
    )
