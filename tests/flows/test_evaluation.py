"""Metrics of a cohort: intervals over leads, and nothing where nothing is defined."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from flows.evaluation import evaluate


def cohort(n_leads: int = 300, snapshots: int = 4):
    rng = np.random.default_rng(3)
    p = np.repeat(1 / (1 + np.exp(-rng.normal(-2, 1.5, n_leads))), snapshots)
    y = np.repeat((rng.random(n_leads) < p[::snapshots]).astype(float), snapshots)
    return y, p, np.repeat(np.arange(n_leads), snapshots)


def test_numbers_agree_with_scikit_learn():
    y, p, leads = cohort()
    found = evaluate(y, p, leads, "test", 0)
    assert found.roc_auc == pytest.approx(roc_auc_score(y, p))
    assert found.average_precision == pytest.approx(average_precision_score(y, p))
    assert found.prevalence == pytest.approx(y.mean())
    assert found.calibration_ratio == pytest.approx(p.sum() / y.sum())
    assert found.average_precision_low < found.average_precision < found.average_precision_high


def test_repeating_a_lead_does_not_narrow_the_interval():
    y, p, leads = cohort()
    by_lead = evaluate(y, p, leads, "test", 0)
    by_row = evaluate(y, p, np.arange(len(y)), "test", 0)
    width = by_lead.roc_auc_high - by_lead.roc_auc_low
    assert width > 1.5 * (by_row.roc_auc_high - by_row.roc_auc_low)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_leaves_the_metrics_undefined(value):
    found = evaluate(np.full(5, value), np.full(5, 0.5), np.arange(5), "test", 0)
    assert found.prevalence == value
    assert found.roc_auc is None
    assert found.average_precision is None
