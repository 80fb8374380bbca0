"""mode="quality": five members in one ensemble."""

import numpy as np
import pytest

from pkboost_core import PKBoostClassifier
from pkboost_core import bag as bagging
from pkboost_core.explain import shap_values
from pkboost_core.predictor import raw_scores
from pkboost_core.serialize import dumps, loads
from pkboost_core.stopping import fit_trees

OPTIONS = {"mode": "quality", "n_estimators": 30, "n_iter_no_change": 5, "max_leaf_nodes": 8}
N = 1500


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 5))
    y = (rng.random(N) < 1 / (1 + np.exp(1.5 - 1.5 * X[:, 0] - X[:, 1] * X[:, 2]))).astype(int)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, y


@pytest.fixture(scope="module")
def model(data):
    return PKBoostClassifier(**OPTIONS).fit(*data)


def recorded_members(monkeypatch):
    """Let the real fitting run and keep what each member was given and returned."""
    seen = []

    def recording(rows, plan, stopping, units, rng, held=None):
        fit = fit_trees(rows, plan, stopping, units, rng, held)
        seen.append((rows, plan, fit))
        return fit

    monkeypatch.setattr(bagging, "fit_trees", recording)
    return seen


def test_the_bag_scores_the_mean_of_its_members(data, monkeypatch):
    X, y = data
    members = recorded_members(monkeypatch)
    model = PKBoostClassifier(**OPTIONS).fit(X, y)
    assert len(members) == 5
    assert model.n_trees_ == model.ensemble_.n_trees == sum(len(fit.trees) for _, _, fit in members)
    plan = members[0][1]
    everything = bagging.Rows(
        plan.binning.transform(X), np.zeros(N, np.float32), *[np.zeros(0, np.float32)] * 3
    )
    raw = [bagging.scores_of(fit.trees, everything, plan)[0] for _, _, fit in members]
    np.testing.assert_allclose(model.decision_function(X), np.mean(raw, axis=0), rtol=0, atol=1e-12)
    assert min(np.std(np.subtract(one, raw[0])) for one in raw[1:]) > 0.01


def test_members_see_four_fifths_of_each_class(data, monkeypatch):
    X, y = data
    members = recorded_members(monkeypatch)
    PKBoostClassifier(**OPTIONS).fit(X, y)
    for rows, _, _ in members:
        assert rows.target.sum() == pytest.approx(0.8 * y.sum(), abs=1)
        assert len(rows) == pytest.approx(0.8 * N, abs=1)


def test_groups_stay_whole(data, monkeypatch):
    X, y = data
    groups = np.arange(N) // 3
    members = recorded_members(monkeypatch)
    PKBoostClassifier(**OPTIONS).fit(X, y, 1.0 + groups, groups=groups)
    for rows, _, _ in members:
        seen, sizes = np.unique(rows.loss_weight, return_counts=True)
        assert len(seen) == pytest.approx(0.8 * N / 3, abs=1)
        assert set(sizes) == {3}


def test_calibration_scores_come_from_members_that_never_saw_the_row(data):
    X, y = data
    rng = np.random.default_rng(1)
    noise = PKBoostClassifier(**OPTIONS | {"early_stopping": False, "calibration": "beta"})
    noise.fit(rng.normal(size=X.shape), y)
    p = noise.predict_proba(rng.normal(size=(N, 5)))[:, 1]
    assert abs(p.mean() - y.mean()) < 0.03
    assert p.std() < 0.03, "what was learned by heart should be calibrated away"


def test_the_same_bytes_for_any_number_of_threads(data, model):
    states = [dumps(PKBoostClassifier(**OPTIONS, n_threads=n).fit(*data)) for n in (1, 3)]
    again = [loads(state).set_params(n_threads=1) for state in states]
    assert dumps(again[0]) == dumps(again[1]) == dumps(model)


def test_another_seed_gives_other_members(data, model):
    other = PKBoostClassifier(**OPTIONS, random_state=1).fit(*data)
    assert not np.array_equal(other.decision_function(data[0]), model.decision_function(data[0]))


def test_a_file_explanations_and_importances_work_as_for_one_booster(data, model):
    X, _ = data
    loaded = loads(dumps(model))
    assert loaded.mode == "quality"
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    values, base = shap_values(model.ensemble_, X[:20])
    total = np.reshape(values, (20, 5)).sum(axis=1) + np.ravel(base)
    np.testing.assert_allclose(total, raw_scores(model.ensemble_, X[:20])[:, 0], atol=1e-9)
    assert model.feature_importances_.sum() == pytest.approx(1)
    assert np.argmax(model.feature_importances_) == 0
    assert model.apply(X).shape == (N, model.n_trees_)


def test_weights_and_an_eval_set_reach_every_member(data, monkeypatch):
    X, y = data
    members = recorded_members(monkeypatch)
    PKBoostClassifier(**OPTIONS).fit(X, y, np.where(y, 2.0, 1.0), eval_set=(X[:300], y[:300]))
    for rows, _, fit in members:
        np.testing.assert_array_equal(rows.weight, 1 + rows.target)
        assert fit.raw.shape == (1, 300)


def test_callbacks_stop_each_member(data):
    seen = []
    model = PKBoostClassifier(
        **OPTIONS, n_threads=3, callbacks=[lambda n, loss: seen.append(n) or n == 4]
    ).fit(*data)
    assert seen == [1, 2, 3, 4] * 5
    assert model.n_trees_ <= 20


def test_a_single_positive_row_is_in_every_member(data):
    y = np.zeros(60)
    y[7] = 1
    p = PKBoostClassifier(mode="quality").fit(data[0][:60], y).predict_proba(data[0][:60])[:, 1]
    assert np.argmax(p) == 7


def test_a_member_without_negatives_is_harmless(monkeypatch):
    X, groups = np.arange(40.0)[:, None], np.arange(40) // 8
    y = (X[:, 0] >= 7).astype(int)
    members = recorded_members(monkeypatch)
    p = PKBoostClassifier(mode="quality", n_estimators=20).fit(X, y, groups=groups).predict_proba(X)
    assert any(rows.target.all() for rows, _, _ in members)
    assert np.isfinite(p).all()
