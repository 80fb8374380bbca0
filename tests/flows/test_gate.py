"""The gate: a doubtful model never replaces a champion; an unusable one is never used."""

from types import SimpleNamespace

import numpy as np
import pytest

from flows.evaluation import Evaluation
from flows.gate import decide
from flows.leakage import LeakageReport

GOOD = np.array([0.1, 0.2, 0.4])


def trained(*, ratio=1.0, high=0.8, alarm=False):
    evaluation = Evaluation("test", 100, 10, 0.1, roc_auc_high=high, calibration_ratio=ratio)
    return SimpleNamespace(evaluation=evaluation, leakage=LeakageReport(alarm, 0.95))


def test_a_sound_model_is_promoted():
    decision = decide(trained(), GOOD, has_champion=True)
    assert decision.is_promoted
    assert decision.reasons == ()


@pytest.mark.parametrize(
    ("changes", "probabilities", "reason"),
    [
        ({"alarm": True}, GOOD, "no leakage alarm"),
        ({"ratio": 5.0}, GOOD, "calibrated in the large"),
        ({"ratio": 0.1}, GOOD, "calibrated in the large"),
        ({"high": 0.45}, GOOD, "ranking is not worse than chance"),
        ({}, np.full(3, 0.1), "probabilities differ between leads"),
    ],
)
def test_a_doubtful_model_is_used_only_where_there_is_no_other(changes, probabilities, reason):
    kept = decide(trained(**changes), probabilities, has_champion=True)
    assert not kept.is_promoted
    assert kept.reasons == (reason,)
    assert decide(trained(**changes), probabilities, has_champion=False).is_promoted


def test_probabilities_that_are_no_numbers_are_never_used():
    assert not decide(trained(), np.array([0.1, np.nan]), has_champion=False).is_promoted
