import numpy as np
import pytest

from pkboost_core import PKBoostClassifier
from pkboost_core.params import learning_rate_for, max_bins_for, min_child_hessian_for

X = np.arange(20.0)[:, None]
Y = np.arange(20) % 2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("min_samples_leaf", 0, "min_samples_leaf=0 should not be smaller than 1"),
        ("max_bins", 256, "max_bins=256 should not be greater than 255"),
        ("learning_rate", 0.0, "learning_rate=0.0 should be greater than 0"),
        ("learning_rate", "fast", "learning_rate='fast' should be a number or 'auto'"),
        ("l2_regularization", -1, "l2_regularization=-1 should not be smaller than 0"),
        ("subsample", 1.5, "subsample=1.5 should not be greater than 1"),
        ("max_leaf_nodes", 1, "max_leaf_nodes=1 should not be smaller than 2"),
        ("min_split_gain", float("nan"), "min_split_gain=nan should be a number"),
        ("n_estimators", None, "n_estimators=None should be an integer"),
        ("calibration", "isotonic", "calibration='isotonic' should be one of 'auto', 'none'"),
        ("early_stopping", "yes", "early_stopping='yes' should be one of True, False"),
        ("mode", "best", "mode='best' should be one of 'fast', 'quality'"),
        ("random_state", -3, "random_state=-3 should be a non-negative integer or None"),
        ("monotonic_constraints", [1, 0], "monotonic_constraints has 2 entries, X has 1 columns"),
        ("monotonic_constraints", {0: 2}, r"monotonic_constraints\[0\]=2 should be -1, 0 or 1"),
        ("monotonic_constraints", {"age": 1}, "monotonic_constraints names 'age', which is not a column"),
        ("categorical_features", [4], r"categorical_features has 4, X has columns 0..0"),
    ],
)
def test_errors_name_parameter_value_and_bound(name, value, message):
    with pytest.raises(ValueError, match=message):
        PKBoostClassifier(**{name: value}).fit(X, Y)


@pytest.mark.parametrize(("name", "value"), [("n_estimators", 2.5), ("n_threads", True), ("subsample", [1])])
def test_wrong_types(name, value):
    with pytest.raises(TypeError, match=f"{name}="):
        PKBoostClassifier(**{name: value}).fit(X, Y)


def test_defaults_follow_the_number_of_rows():
    assert [learning_rate_for(n) for n in (100, 10_000, 30_000, 50_000, 10**6)] == pytest.approx(
        [0.05, 0.05, 0.075, 0.1, 0.1]
    )
    assert [min_child_hessian_for(n) for n in (100, 2_000, 10**6)] == pytest.approx([0.1, 1.0, 1.0])
    assert [max_bins_for(n) for n in (19_999, 20_000)] == [64, 128]


def test_set_params_refuses_unknown_names():
    with pytest.raises(ValueError, match="Invalid parameter 'depth' for estimator PKBoostClassifier"):
        PKBoostClassifier().set_params(depth=3)


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(PKBoostClassifier(max_bins=32)) == "PKBoostClassifier(max_bins=32)"
