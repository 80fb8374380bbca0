"""How a drift changes the world, as functions of a time in days since the start."""

import numpy as np
from numpy.typing import NDArray

from simulator.config import DriftKind, SimulationConfig

GRADUAL_DAYS = 120.0
PRIOR_LOG_ODDS = float(np.log(0.2))
DELAY_LOG_FACTOR = float(np.log(3.0))
CONCEPT_REVERSAL = 1.6
COVARIATE_SHARE = 0.8

FloatArray = NDArray[np.float64]


def strength(config: SimulationConfig, kinds: tuple[DriftKind, ...], day: FloatArray) -> FloatArray:
    """Severity in force at each time: 0 before the drift's date or when the drift is of another kind."""
    drift = config.drift
    if drift is None or drift.kind not in kinds:
        return np.zeros_like(day)
    ramp = GRADUAL_DAYS if drift.kind == "gradual" else 1e-9
    return drift.severity * np.clip((day - config.drift_day) / ramp, 0.0, 1.0)


def prior_shift(config: SimulationConfig, day: FloatArray) -> FloatArray:
    """Log-odds added to a lead's conversion; at severity 1 the odds fall to a fifth."""
    return PRIOR_LOG_ODDS * strength(config, ("prior",), day)


def delay_shift(config: SimulationConfig, day: FloatArray) -> FloatArray:
    """Added to the log of the typical delay; at severity 1 conversions take three times as long."""
    return DELAY_LOG_FACTOR * strength(config, ("delay",), day)


def meaning(config: SimulationConfig, day: FloatArray) -> FloatArray:
    """Factor on what attributes and telling touches mean; at severity 1 they point the other way (-0.6)."""
    return 1.0 - CONCEPT_REVERSAL * strength(config, ("concept", "gradual"), day)


def shifted_share(config: SimulationConfig, day: FloatArray) -> FloatArray:
    """Chance that a lead comes from the shifted population; .8 at severity 1."""
    return COVARIATE_SHARE * strength(config, ("covariate",), day)


def outage_share(config: SimulationConfig, day: FloatArray) -> FloatArray:
    """Chance that a lead's title is lost; everything at severity 1."""
    return strength(config, ("outage",), day)
