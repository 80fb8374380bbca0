"""When things happen: weekdays, office hours, quiet months, growth; times are days since the start."""

from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

WEEKDAY_ARRIVALS = np.array([1.15, 1.2, 1.2, 1.1, 0.95, 0.35, 0.3])
WEEKDAY_TOUCHES = np.array([1.0, 1.0, 1.0, 0.95, 0.85, 0.25, 0.25])
MONTH_TOUCHES = np.array([0.95, 1.0, 1.0, 0.95, 1.0, 0.95, 0.85, 0.8, 1.0, 1.0, 1.0, 0.75])
YEARLY_GROWTH = 0.25


def days_of(start: date, n_days: int) -> list[date]:
    """The dates of the period."""
    return [start + timedelta(days=day) for day in range(n_days)]


def arrival_times(start: date, n_days: int, quantiles: FloatArray) -> FloatArray:
    """Times at which the given shares of all leads have been created."""
    days = days_of(start, n_days)
    weekday = WEEKDAY_ARRIVALS[[day.weekday() for day in days]]
    month = MONTH_TOUCHES[[day.month - 1 for day in days]]
    density = weekday * month * (1.0 + YEARLY_GROWTH) ** (np.arange(n_days) / 365.0)
    cumulative = np.concatenate([[0.0], np.cumsum(density)]) / density.sum()
    return np.interp(quantiles, cumulative, np.arange(n_days + 1, dtype=np.float64))


def touch_weights(start: date, n_days: int) -> FloatArray:
    """Chance that a candidate touch of each day happens: weekends, summers and Decembers are quiet."""
    days = days_of(start, n_days)
    weekday = WEEKDAY_TOUCHES[[day.weekday() for day in days]]
    return weekday * MONTH_TOUCHES[[day.month - 1 for day in days]]


def office_hours(rng: np.random.Generator, times: FloatArray) -> FloatArray:
    """The same days, with hours around the early afternoon UTC."""
    hour = np.clip(rng.normal(13.0, 3.5, times.size), 0.05, 23.95)
    return np.floor(times) + hour / 24.0


def to_seconds(times: FloatArray) -> FloatArray:
    """Times cut down to whole seconds, as a CRM stores them."""
    return np.floor(times * 86_400.0) / 86_400.0
