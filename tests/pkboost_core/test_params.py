import numpy as np
import pandas as pd
import polars as pl
import pytest

from pkboost_core import PKBoostClassifier, PKBoostRegressor
from pkboost_core.params import BOUNDS, CHOICES, FORMS, max_bins_for, min_child_hessian_for
from pkboost_core.serialize import dumps, loads

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


WRONG = {
    **{name: [True, [1], "many", float("nan")] for name in BOUNDS},
    **{name: ["many", 7, None, [True], np.zeros(2)] for name in CHOICES},
    "categorical_features": [5, "ab", [1.7], [None], [[0]]],
    "monotonic_constraints": [1, "ab", {1}],
    "interaction_constraints": [5, [1, 2], ["ab"], [[0.5]]],
    "callbacks": [5, [3], print],
    "random_state": [True, -1, 0.5, "1"],
}


def test_every_parameter_is_checked():
    names = set(PKBoostClassifier().get_params()) | set(PKBoostRegressor().get_params())
    assert names == set(WRONG) == {*BOUNDS, *CHOICES, *FORMS, "random_state"}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_kinds_of_values_are_named_with_what_is_expected(name):
    estimator = PKBoostClassifier if name in PKBoostClassifier().get_params() else PKBoostRegressor
    for value in WRONG[name]:
        with pytest.raises((ValueError, TypeError)) as error:
            estimator(**{name: value}).fit(X, Y)
        assert str(error.value).startswith(f"{name}={value!r} should be ")


@pytest.mark.parametrize("name", BOUNDS)
def test_numbers_beyond_their_bounds_are_named_and_those_within_are_borne(name):
    bound = BOUNDS[name]
    estimator = PKBoostClassifier if name in PKBoostClassifier().get_params() else PKBoostRegressor
    kind = int if bound.is_integer else float
    for limit, step in ((bound.low, -1), (bound.high, 1)):
        if np.isfinite(limit):
            value = kind(limit + step)
            with pytest.raises(ValueError, match=f"{name}=.* should "):
                estimator(**{name: value}).fit(X, Y)
    for value in (bound.low, bound.high, 1e300):
        if value <= bound.high and not (bound.is_low_open and value == bound.low) and name != "n_threads":
            few = {"n_estimators": 2} if name != "n_estimators" else {"early_stopping": False}
            value = min(value, 10) if name == "n_estimators" else value
            model = estimator(**{name: kind(value)} | few).fit(X, Y)
            assert np.isfinite(model.predict(X)).all()


def test_lists_of_any_kind_are_stored():
    options = {"n_estimators": 2, "early_stopping": False}
    X3, same = np.tile(X, (1, 3)), PKBoostClassifier(**options, categorical_features=[0, 1])
    expected = dumps(same.fit(X3, Y))
    for columns in (range(2), (0, 1), {0, 1}, np.arange(2), pd.Index([0, 1]), pl.Series([0, 1])):
        model = PKBoostClassifier(**options, categorical_features=columns).fit(X3, Y)
        assert dumps(model) == expected
    model = PKBoostClassifier(**options, interaction_constraints=[{1, 0}, frozenset([2])]).fit(X3, Y)
    assert loads(dumps(model)).interaction_constraints == [[0, 1], [2]]


def test_defaults_follow_the_number_of_rows():
    assert [min_child_hessian_for(n) for n in (100, 2_000, 10**6)] == pytest.approx([0.1, 1.0, 1.0])
    assert [max_bins_for(n) for n in (19_999, 20_000)] == [64, 128]


def test_set_params_refuses_unknown_names():
    with pytest.raises(ValueError, match="Invalid parameter 'depth' for estimator PKBoostClassifier"):
        PKBoostClassifier().set_params(depth=3)


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(PKBoostClassifier(max_bins=32)) == "PKBoostClassifier(max_bins=32)"
