"""More than two classes under one softmax."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from pkboost_core import PKBoostClassifier
from pkboost_core.explain import shap_values
from pkboost_core.serialize import ModelFileError, dumps, loads

SMALL = {"n_estimators": 15, "early_stopping": False, "max_leaf_nodes": 6}


def generated(n=1500, seed=0, n_classes=4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    raw = np.stack([X[:, 0] + X[:, 1] * X[:, 2], 2 * X[:, 3], -X[:, 0] - 1, np.abs(X[:, 4]) - 2])[:n_classes]
    y = np.argmax(raw + rng.gumbel(size=raw.shape), axis=0)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, y


@pytest.fixture(scope="module")
def data():
    return generated()


@pytest.fixture(scope="module")
def model(data):
    return PKBoostClassifier(**SMALL).fit(*data)


def peer_loss(X, y, X_test, y_test):
    peer = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=300, l2_regularization=1.0, early_stopping=True, n_iter_no_change=30,
        validation_fraction=0.2, random_state=0,
    )  # fmt: skip
    with threadpool_limits(1):
        return log_loss(y_test, peer.fit(X, y).predict_proba(X_test))


@pytest.mark.parametrize("name", ["digits", "wine", "generated"])
def test_log_loss_is_no_worse_than_a_peers(name):
    if name == "generated":
        split = [*generated(), *generated(3000, 1)]
    else:
        X, y = {"digits": load_digits, "wine": load_wine}[name](return_X_y=True)
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
        split = [X, y, X_test, y_test]
    X, y, X_test, y_test = split
    model = PKBoostClassifier(n_estimators=300, n_iter_no_change=30).fit(X, y)
    assert log_loss(y_test, model.predict_proba(X_test)) < 1.02 * peer_loss(*split)


def test_shapes_stages_and_what_the_numbers_mean(data, model):
    X, y = data
    p = model.predict_proba(X)
    assert p.shape == model.decision_function(X).shape == (len(X), 4)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert (p > 0).all()
    np.testing.assert_array_equal(model.predict(X), np.argmax(p, axis=1))
    assert model.score(X, y) == np.mean(model.predict(X) == y) > 0.6
    np.testing.assert_allclose(p.mean(axis=0), np.bincount(y) / len(y), atol=0.02)
    assert model.apply(X).shape == (len(X), 4 * 15) == (len(X), model.n_trees_)
    stages = list(model.staged_predict_proba(X))
    assert len(stages) == 15
    np.testing.assert_array_equal(stages[-1], p)
    losses = [log_loss(y, stage) for stage in stages]
    assert (np.diff(losses) < 0).all()
    np.testing.assert_array_equal(list(model.staged_predict(X))[-1], model.predict(X))


def test_any_labels_and_a_class_of_one_row(data):
    X, y = data
    names = np.array(["won", "lost", "open", "junk"])
    model = PKBoostClassifier(**SMALL).fit(X, names[y])
    assert model.classes_.tolist() == sorted(names)
    assert model.score(X, names[y]) > 0.6
    rare = np.where(np.arange(len(y)) == 5, 9, y % 2)
    model = PKBoostClassifier(n_estimators=30, min_child_hessian=0.0).fit(X, rare)
    assert model.classes_.tolist() == [0, 1, 9]
    p = model.predict_proba(X)
    assert p[5, 2] > 5 * p[:, 2].mean() > 0


def test_it_stops_on_multinomial_log_loss_and_refits(data):
    X, y = data
    model = PKBoostClassifier(n_iter_no_change=5, calibration="none")
    model.fit(X[:1000], y[:1000], eval_set=(X[1000:], y[1000:]))
    assert model.n_trees_ == 4 * (np.argmin(model.validation_loss_) + 1)
    found = log_loss(y[1000:], model.predict_proba(X[1000:]))
    assert model.validation_loss_.min() == pytest.approx(found, abs=1e-9)
    kept, refitted = (
        PKBoostClassifier(n_iter_no_change=5, refit=refit, subsample=1.0).fit(X, y) for refit in (False, True)
    )
    np.testing.assert_array_equal(kept.ensemble_.nodes["feature"], refitted.ensemble_.nodes["feature"])
    assert refitted.ensemble_.nodes[0]["count"] == len(X) > kept.ensemble_.nodes[0]["count"]


def test_weights_and_monotonic_constraints(data):
    X, y = data
    weight = np.where(y == 3, 0.0, 1.0)
    model = PKBoostClassifier(**SMALL, monotonic_constraints={0: 1}).fit(X, y, weight)
    assert model.predict_proba(X)[:, 3].max() < 1e-6
    rising = np.tile(X[7], (50, 1))
    rising[:, 0] = np.linspace(-3, 3, 50)
    assert (np.diff(model.decision_function(rising), axis=0) >= 0).all()


@pytest.mark.parametrize("mode", ["fast", "quality"])
def test_files_pickles_and_threads_keep_every_byte(mode, data):
    X, y = data
    options = {"mode": mode, "n_estimators": 8, "n_iter_no_change": 3, "calibration": "temperature"}
    model = PKBoostClassifier(**options).fit(X, y)
    assert model.calibration_.inverse != 1.0
    again = PKBoostClassifier(**options, n_threads=3).fit(X, y).set_params(n_threads=1)
    assert dumps(again) == dumps(model)
    for same in (loads(dumps(model)), pickle.loads(pickle.dumps(model))):  # noqa: S301
        np.testing.assert_array_equal(same.predict_proba(X), model.predict_proba(X))
        *_, last = same.staged_predict_proba(X)
        np.testing.assert_allclose(last, model.predict_proba(X), rtol=1e-12)


def test_attributions_add_up_for_every_class(data, model):
    X, _ = data
    values, expected = shap_values(model.ensemble_, X[:50])
    assert values.shape == (50, 6, 4)
    np.testing.assert_allclose(values.sum(axis=1) + expected, model.decision_function(X[:50]), atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale_pos_weight": 2.0}, "scale_pos_weight=2.0 should be None for more than two classes"),
        ({"calibration": "beta"}, "calibration='beta' should be one of 'auto', 'none', 'temperature' for 4"),
    ],
)
def test_what_means_nothing_for_many_classes_is_refused(options, message, data):
    with pytest.raises(ValueError, match=message):
        PKBoostClassifier(**SMALL, **options).fit(*data)


def test_temperature_is_for_many_classes(data):
    X, y = data
    with pytest.raises(
        ValueError, match="'temperature' should be one of 'auto', 'none', 'intercept', 'beta'"
    ):
        PKBoostClassifier(calibration="temperature").fit(X, y > 1)


class Forged:
    """A fitted model with parts of its state exchanged, under the same class name."""

    def __init__(self, model, **changes):
        self.state = model.to_state() | changes

    def to_state(self):
        return self.state


Forged.__name__ = "PKBoostClassifier"


@pytest.mark.parametrize(
    "changes",
    [
        {"member_sizes": [61, -1]},
        {"member_sizes": [400]},
        {"member_sizes": [3, 57]},
        {"classes": [0, 1]},
        {"calibration": {"inverse": -1.0}},
    ],
)
def test_a_state_that_does_not_fit_its_trees_is_refused(changes, model):
    assert loads(dumps(Forged(model))).n_trees_ == 60
    with pytest.raises(ModelFileError, match="does not fit PKBoostClassifier"):
        loads(dumps(Forged(model, **changes)))
