"""Latent intent: a lead's current pull towards conversion, which touches and stages follow."""

import numpy as np
from numpy.typing import NDArray

from simulator.population import Leads
from simulator.truth import Hidden, probability_within

FloatArray = NDArray[np.float64]

INTENT_DAYS = 60.0
INTENT_REFERENCE = -3.0
INTENT_LOW, INTENT_HIGH = -5.0, 4.0
# Intent is constant within a step of age, in days; steps widen as leads grow old.
AGE_STEPS = np.concatenate(
    [
        np.array([0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 18.0, 23.0, 28.0]),
        np.arange(35.0, 98.0, 7.0),
        np.arange(98.0, 280.0, 14.0),
        np.array([280.0, 308.0, 336.0, 364.0, 400.0, 460.0, 560.0, 800.0, 1200.0, 4000.0]),
    ]
)


def intent(leads: Leads, age_days: FloatArray) -> FloatArray:
    """Log-odds to convert within 60 days if open at each age, clipped; 0 stands for one in twenty.

    The shape is (n_leads, n_ages); `age_days` may be (n_ages,) or (n_leads, n_ages).

    It rises before a promising lead's typical time and fades after it: a function of hidden parameters and
    age, never of the realised outcome.
    """
    hidden = leads.hidden
    columns = Hidden(*(np.asarray(getattr(hidden, name))[:, None] for name in Hidden.__dataclass_fields__))
    chance = np.clip(probability_within(columns, np.atleast_2d(age_days), INTENT_DAYS), 1e-12, 1.0 - 1e-12)
    log_odds = np.log(chance) - np.log1p(-chance)
    return np.clip(log_odds - INTENT_REFERENCE, INTENT_LOW, INTENT_HIGH)
