from datetime import date

import pytest

from simulator import Drift, SimulationConfig


def test_period_reaches_back_whole_months_and_shortens_the_day_where_needed():
    assert SimulationConfig(end=date(2026, 10, 31), months=18).start == date(2025, 4, 30)
    assert SimulationConfig(end=date(2026, 3, 15), months=3).start == date(2025, 12, 15)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_leads": 3}, "n_leads=3"),
        ({"months": 0}, "months=0"),
        ({"seed": -1}, "seed=-1"),
        ({"drift": Drift("prior", date(2020, 1, 1))}, "drift date 2020-01-01"),
    ],
)
def test_values_outside_their_range_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        SimulationConfig(**values)


def test_drift_names_what_is_wrong():
    with pytest.raises(ValueError, match="kind='sudden' is unknown"):
        Drift("sudden", date(2026, 1, 1))
    with pytest.raises(ValueError, match="severity=2"):
        Drift("prior", date(2026, 1, 1), severity=2)
