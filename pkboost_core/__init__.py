"""PKBoost: gradient boosting for rare positives in changing data, on NumPy and numba alone."""

from pkboost_core.booster import PKBoostClassifier
from pkboost_core.compiled import warm_up
from pkboost_core.ensemble import Ensemble
from pkboost_core.regressor import PKBoostRegressor
from pkboost_core.serialize import load, save

__all__ = ["Ensemble", "PKBoostClassifier", "PKBoostRegressor", "load", "save", "warm_up"]
