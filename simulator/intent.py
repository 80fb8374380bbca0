"""Latent intent: a lead's current pull towards conversion, which touches and stages follow."""

import numpy as np
from numpy.typing import NDArray

from simulator.population import Leads
from simulator.truth import Hidden, probability_within

FloatArray = NDArray[np.float64]

INTENT_DAYS = 30.0
INTENT_REFERENCE = -3.0
INTENT_LOW, INTENT_HIGH = -5.0, 3.5
# Intent is constant within a step of age, in days; steps widen as leads grow old.
AGE_STEPS = np.array(
    [0, 1, 2, 3, 5, 7, 10, 14, 18, 23, 28, 35, 42, 49, 56, 63, 70, 77, 84, 91, 98, 112, 126, 140, 154]
    + [168, 182, 196, 210, 224, 238, 252, 266, 280, 308, 336, 364, 400, 460, 560, 800],
    dtype=np.float64,
)


def intent(leads: Leads, age_days: FloatArray) -> FloatArray:
    """Log-odds to convert within 30 days if open at each age (n_leads, n_ages), from 0 = one in twenty, clipped.

    It rises before a promising lead's typical time and fades after it: a function of hidden parameters and age,
    never of the realised outcome.
    """
    hidden = leads.hidden
    columns = Hidden(*(np.asarray(getattr(hidden, name))[:, None] for name in Hidden.__dataclass_fields__))
    chance = np.clip(probability_within(columns, np.atleast_2d(age_days), INTENT_DAYS), 1e-12, 1.0 - 1e-12)
    log_odds = np.log(chance) - np.log1p(-chance)
    return np.clip(log_odds - INTENT_REFERENCE, INTENT_LOW, INTENT_HIGH)
