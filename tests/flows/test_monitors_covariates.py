"""T4: what moved is named, what did not is left in peace, and nobody is woken."""

import numpy as np
import pytest

from flows.monitors.covariates import watch_covariates, watch_domain
from pkboost_core.drift import bin_histograms

NAMES = [f"feature_{k}" for k in range(40)]


def histograms(X):
    thresholds = [np.linspace(-2, 2, 31)] * X.shape[1]
    return dict(zip(NAMES, bin_histograms(X, thresholds, np.zeros(X.shape[1], bool)), strict=True))


def test_forty_quiet_features_stay_quiet():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(40):
        old, new = rng.normal(size=(2000, 40)), rng.normal(size=(500, 40))
        alarms += any(r.is_alarm for r in watch_covariates(histograms(old), histograms(new)))
    assert alarms <= 3


def test_moved_features_come_first_and_missing_values_are_told():
    rng = np.random.default_rng(1)
    old, new = rng.normal(size=(2000, 40)), rng.normal(size=(500, 40))
    new[:, 3] += 1
    new[:200, 7] = np.nan
    readings = watch_covariates(histograms(old), histograms(new))
    assert {r.subject for r in readings if r.is_alarm} == {"feature feature_3", "feature feature_7"}
    assert {r.subject for r in readings[:2]} == {"feature feature_3", "feature feature_7"}
    told = next(r for r in readings if r.subject == "feature feature_7")
    assert "has moved: PSI" in told.words
    assert told.words.endswith("missing values +40 points")
    assert not any(r.is_page for r in readings)


def linear(X, y, X_new):
    """Fisher's discriminant on squares and products of the first two columns."""

    def terms(Z):
        return np.column_stack([Z, Z[:, 0] * Z[:, 1], np.ones(len(Z))])

    weights = np.linalg.lstsq(terms(X), y, rcond=None)[0]
    return terms(X_new) @ weights


def test_domain_classifier_sees_a_changed_correlation_that_single_columns_hide():
    rng = np.random.default_rng(2)
    old = rng.normal(size=(1500, 3))
    new = rng.multivariate_normal([0, 0, 0], [[1, 0.7, 0], [0.7, 1, 0], [0, 0, 1]], 1500)
    reading = watch_domain(old, new, linear, seed=0)
    assert reading.is_alarm
    assert reading.effect > 0.1
    assert reading.words.startswith("a classifier tells a new row from an old one in ")


def test_domain_classifier_is_quiet_on_one_population():
    rng = np.random.default_rng(3)
    readings = [
        watch_domain(rng.normal(size=(300, 3)), rng.normal(size=(120, 3)), linear, seed) for seed in range(80)
    ]
    assert sum(r.is_alarm for r in readings) <= 3
    areas = np.array([r.details["roc_auc"] for r in readings])
    z = np.array([r.details["z"] for r in readings])
    assert abs(areas.mean() - 0.5) < 0.02
    assert 0.7 < z.std() < 1.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: watch_covariates({"a": [1, 2]}, {"b": [1, 2]}), "feature 'a' is in only one"),
        (lambda: watch_covariates({"a": [1, 2]}, {"a": [0, 0]}), "feature 'a' has no rows"),
        (lambda: watch_domain(np.ones((10, 2)), np.ones((50, 2)), linear, 0), "at least 40 rows"),
    ],
)
def test_bad_samples_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
