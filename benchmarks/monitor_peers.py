"""River's detectors of a change, beside T3: on their defaults, and tuned to as few false alarms."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

MOST_FALSE_ALARMS = (0.5, 0.01)
"""A year, to which Page-Hinkley's threshold is tuned."""


def peers(expected: int, n_weeks: int) -> dict[str, Callable[[], Any]]:
    """Return river's detectors by name, on their defaults and tuned to a weekly count; none without river."""
    try:
        from river import drift
    except ImportError:
        print("river is not installed: its detectors are left out")
        return {}

    def page_hinkley(threshold: float) -> Any:
        return drift.PageHinkley(min_instances=8, delta=0.1, threshold=threshold, mode="down")

    quiet = np.random.default_rng([expected, 4]).poisson(expected, (200, n_weeks))
    years = quiet.size / 52

    def false_alarms(threshold: float) -> float:
        make = partial(page_hinkley, threshold)
        return sum(sum(alarms_of_peer(make, expected, run)) for run in quiet) / years

    found = {threshold: false_alarms(threshold) for threshold in np.arange(0.2, 8, 0.2)}
    tuned = {most: next(t for t, false in found.items() if false <= most) for most in MOST_FALSE_ALARMS}
    return {"river: ADWIN": lambda: drift.ADWIN(clock=1), "river: PageHinkley": drift.PageHinkley} | {
        f"river: PageHinkley, tuned to {most} false alarms a year": partial(page_hinkley, threshold)
        for most, threshold in tuned.items()
    }


def alarms_of_peer(make: Callable[[], Any], expected: float, observed: np.ndarray) -> list[bool]:
    """Alarms of a detector that sees wins over expected wins; it starts anew by itself."""
    detector, alarms = make(), []
    for ratio in (observed / expected).tolist():
        detector.update(ratio)
        alarms.append(bool(detector.drift_detected))
    return alarms
