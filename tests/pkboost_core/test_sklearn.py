"""scikit-learn's conventions, as scikit-learn itself checks them."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from pkboost_core import PKBoostClassifier, PKBoostRegressor

WEIGHTS = {
    "check_sample_weight_equivalence_on_dense_data": "gradients are rounded at random by row: a row of "
    "weight 2 and a row given twice agree to 1e-5, but of splits that tie, as on 30 rows, either may win"
}
QUICK = {"n_estimators": 10, "early_stopping": False, "subsample": 1.0, "colsample": 1.0}
ESTIMATORS = [PKBoostClassifier(**QUICK), PKBoostRegressor(**QUICK | {"learning_rate": 0.3})]


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Estimator .* does not inherit from")  # scikit-learn need not be there
    checks = parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda _: WEIGHTS)


@pytest.mark.filterwarnings("ignore:Skipping check check_array_api_input")
@checks
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    return X, (X[:, 0] + rng.normal(size=400) > 1).astype(int)


def test_a_search_over_a_pipeline_works(data):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), PKBoostClassifier(**QUICK)),
        {"pkboostclassifier__max_leaf_nodes": [2, 8], "pkboostclassifier__learning_rate": [0.3]},
        scoring="average_precision",
        cv=3,
    ).fit(*data)
    assert search.best_score_ > 1.5 * data[1].mean()
    again = pickle.loads(pickle.dumps(search))  # noqa: S301
    np.testing.assert_array_equal(again.predict_proba(data[0]), search.predict_proba(data[0]))


def test_scorers_and_tags_know_a_classifier(data):
    model = PKBoostClassifier(**QUICK)
    assert is_classifier(model)
    assert cross_val_score(model, *data, scoring="roc_auc", cv=3).mean() > 0.7
    with pytest.raises(NotFittedError, match="not fitted yet"):
        clone(model.fit(*data)).predict(data[0])
