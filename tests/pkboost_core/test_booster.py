import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss, roc_auc_score

from pkboost_core import PKBoostClassifier
from pkboost_core.binning import fit_binning
from pkboost_core.loss import LogLoss
from pkboost_core.plan import make_plan
from pkboost_core.predictor import raw_scores
from pkboost_core.rows import make_rows
from pkboost_core.serialize import dumps, load, save
from pkboost_core.training import boost, refit


def leads(n, seed=0, positive_share=0.1):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8))
    signal = X[:, 0] + 0.7 * X[:, 1] * X[:, 2] + 0.5 * np.abs(X[:, 3])
    raw = 1.6 * signal
    raw += np.log(positive_share / (1 - positive_share)) - 1.2
    y = (rng.random(n) < 1 / (1 + np.exp(-raw))).astype(int)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, y


@pytest.fixture(scope="module")
def train():
    return leads(4000)


@pytest.fixture(scope="module")
def test():
    return leads(4000, seed=1)


@pytest.fixture(scope="module")
def model(train):
    return PKBoostClassifier().fit(*train)


def test_positives_can_be_kept_when_rows_are_sampled() -> None:
    """Sampling negatives alone keeps probabilities honest: those that stay count for those that do not."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(6_000, 4))
    y = (rng.random(6_000) < 1 / (1 + np.exp(3.0 - 1.5 * X[:, 0]))).astype(int)
    model = PKBoostClassifier(
        subsample=0.3, keep_positives=True, calibration="none", learning_rate=0.1, random_state=0
    ).fit(X, y)
    p = model.predict_proba(X)[:, 1]
    assert abs(p.mean() - y.mean()) < 0.1 * y.mean()
    root = model.ensemble_.nodes["count"].max()
    assert root == len(y)  # refitted on every row
    with pytest.raises(ValueError, match="keep_positives=True should be False for more than two classes"):
        PKBoostClassifier(keep_positives=True).fit(X, rng.integers(0, 3, 6_000))


def test_it_learns_and_stops_by_itself(model, test):
    X, y = test
    p = model.predict_proba(X)[:, 1]
    assert roc_auc_score(y, p) > 0.8
    assert log_loss(y, p) < 0.85 * log_loss(y, np.full(len(y), y.mean()))
    assert abs(p.mean() - y.mean()) < 0.02
    assert 5 < model.n_trees_ < 300
    assert len(model.validation_loss_) == model.n_trees_ + 50
    assert np.argmin(model.validation_loss_) == model.n_trees_ - 1


def test_importances_find_the_columns_that_matter(model):
    importances = model.feature_importances_
    assert importances.sum() == pytest.approx(1)
    assert set(np.argsort(-importances)[:4]) == {0, 1, 2, 3}


def test_refit_keeps_the_structure_and_uses_all_rows(train):
    kept = PKBoostClassifier(refit=False, subsample=1.0).fit(*train)
    refitted = PKBoostClassifier(refit=True, subsample=1.0).fit(*train)
    for name in ("feature", "bin_threshold", "left", "gain"):
        np.testing.assert_array_equal(kept.ensemble_.nodes[name], refitted.ensemble_.nodes[name])
    assert kept.ensemble_.nodes[0]["count"] == 3200
    assert refitted.ensemble_.nodes[0]["count"] == 4000
    assert not np.array_equal(kept.ensemble_.nodes["value"], refitted.ensemble_.nodes["value"])


def test_refit_on_the_same_rows_changes_nothing(train):
    X, y = train
    params = PKBoostClassifier(n_estimators=10, monotonic_constraints={0: 1}, subsample=1.0).get_params()
    binning = fit_binning(X, 64, np.zeros(8, dtype=bool), None, np.random.default_rng(0))
    rows = make_rows(binning, X, y.astype(float), None, 1.0)
    plan = make_plan(params, binning, rows, None, LogLoss(), 0, lambda n_trees, loss: False, len(rows))
    trees = boost(rows, plan).trees
    for grown, replayed in zip(trees, refit(trees, rows, plan), strict=True):
        np.testing.assert_array_equal(grown, replayed)


def test_few_positives_are_judged_by_folds():
    X, y = leads(1500, positive_share=0.02)
    assert y.sum() * 0.2 < 20 < y.sum() * 5
    model = PKBoostClassifier().fit(X, y)
    assert len(model.validation_loss_) == 0
    assert 1 <= model.n_trees_ < 200
    assert roc_auc_score(*[leads(4000, 3)[1], model.predict_proba(leads(4000, 3)[0])[:, 1]]) > 0.7


def test_a_single_positive_row_is_enough():
    X, y = leads(50)
    y[:] = 0
    y[7] = 1
    p = PKBoostClassifier().fit(X, y).predict_proba(X)[:, 1]
    assert np.argmax(p) == 7


def test_eval_set_decides_when_to_stop(train, test):
    X, y = test
    model = PKBoostClassifier(n_iter_no_change=5).fit(*train, eval_set=[(X, y)])
    assert len(model.validation_loss_) == model.n_trees_ + 5
    expected = log_loss(y, 1 / (1 + np.exp(-model.decision_function(X))))
    assert model.validation_loss_.min() == pytest.approx(expected, abs=1e-9)


def test_soft_targets_lie_between_the_labels(train):
    X, y = train
    soft = PKBoostClassifier().fit(X, 0.25 + 0.5 * y)
    assert soft.classes_.tolist() == [0, 1]
    p = soft.predict_proba(X)[:, 1]
    assert p.mean() == pytest.approx(0.25 + 0.5 * y.mean(), abs=0.02)


@pytest.mark.parametrize("scale", [8.0, "sqrt"])
def test_scale_pos_weight_leaves_probabilities_calibrated(train, test, scale):
    model = PKBoostClassifier(scale_pos_weight=scale, calibration="none").fit(*train)
    X, y = test
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.05)


@pytest.mark.parametrize(
    "labels", [np.array(["lost", "won"]), np.array([1, 2]), np.array([False, True]), np.array([-1.0, 1.0])]
)
def test_any_two_labels(train, labels):
    X, y = train
    model = PKBoostClassifier(n_estimators=30).fit(X, labels[y])
    np.testing.assert_array_equal(model.classes_, labels)
    assert set(model.predict(X)) == set(labels)
    assert model.score(X, labels[y]) > 0.87


def test_frames_keep_their_names(train):
    X, y = train
    names = [f"f{j}" for j in range(8)]
    frame = pl.DataFrame(X, schema=names, nan_to_null=True)
    options = {"n_estimators": 5, "early_stopping": False}
    model = PKBoostClassifier(**options).fit(frame, pl.Series(y))
    assert model.feature_names_in_.tolist() == names
    expected = PKBoostClassifier(**options).fit(X, y).predict_proba(X)
    for same in (frame, frame.to_pandas(), X):
        np.testing.assert_array_equal(model.predict_proba(same), expected)
    np.testing.assert_array_equal(model.predict_proba(frame.select(reversed(names))), expected)
    with pytest.raises(ValueError, match=r"X has 7 features, but PKBoostClassifier .* 8 .*'f3' is missing"):
        model.predict(frame.drop("f3"))


def test_pandas_nullable_and_boolean_columns():
    frame = pd.DataFrame({"a": pd.array([1, None, 3, 4] * 20, dtype="Int64"), "b": [True, False] * 40})
    model = PKBoostClassifier(n_estimators=3).fit(frame, [0, 1] * 40)
    assert model.predict(frame).tolist() == [0, 1] * 40


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.empty((0, 2)), [], "X has 0 rows"),
        (np.empty((3, 0)), [0, 1, 1], "X has no columns"),
        (np.zeros(3), [0, 1, 1], "X should have two dimensions"),
        (np.zeros((3, 1)), [0, 1], "y has 2 entries but X has 3 rows"),
        (np.zeros((3, 1)), [0, 0, 0], "y has one class only"),
        (np.zeros((3, 1)), [0, 1, np.nan], "y contains NaN or infinity at row 2"),
        (np.zeros((3, 1)), ["a", None, "b"], "y has no label at row 1, it holds None; drop such rows"),
        (
            np.zeros((3, 1)),
            np.array(["a", 1, "b"], dtype=object),
            "y mixes numbers with text; make the labels",
        ),
        (np.zeros((3, 1)), [0.5, 1.5, 0], "expected whole-numbered classes, or soft targets in"),
        (
            np.zeros((2, 1), dtype="M8[D]"),
            [0, 1],
            r"X holds datetime64\[D\] values, which are neither numbers nor",
        ),
        (
            np.array([["a"], [1]], dtype=object),
            [0, 1],
            "column 0 mixes text with int; make it all text or all",
        ),
    ],
)
def test_bad_input_is_named(X, y, message):
    with pytest.raises(ValueError, match=message):
        PKBoostClassifier().fit(X, y)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([-1, 1, 1], "sample_weight=-1 should not be smaller than 0"),
        ([0, 0, 0], "sample_weight is zero for every row"),
        ([1, np.nan, 1], "sample_weight contains NaN or infinity at row 1"),
        ([1, 1, 1e39], r"the largest sample_weight, 1e\+39 at row 2, should lie between 1e-20 and 1e\+20"),
        ([0, 1e-50, 0], "the largest sample_weight, 1e-50 at row 1, should lie between"),
        ([1e-10, 1e19, 1], r"one class outweighs the other more than 1e\+15 times"),
        ([1, 0, 0], "y has one class only"),
        ([1, 1], "sample_weight has 2 entries but X has 3 rows"),
    ],
)
def test_bad_weights_are_named(weight, message):
    with pytest.raises(ValueError, match=message):
        PKBoostClassifier().fit(np.zeros((3, 1)), [0, 1, 1], weight)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("size", [1e-20, 1e20])
def test_the_most_extreme_weights_are_borne(train, scale, size):
    X, y = train[0][:500], train[1][:500]
    model = PKBoostClassifier(n_estimators=5, scale_pos_weight=scale).fit(X, y, np.full(500, size))
    assert np.isfinite(model.decision_function(X)).all()


def test_a_fit_that_fails_leaves_the_model_as_it_was(train):
    X, y = train[0][:500, :3], train[1][:500]
    frame = pl.DataFrame(X, schema=["a", "b", "c"])
    model = PKBoostClassifier(n_estimators=5, robust=True).fit(frame, y)
    before, attributes = dumps(model), dict(vars(model))
    wide = np.tile(train[0][:500], (1, 50))
    for bad in (
        lambda: model.fit(wide, np.zeros(500)),
        lambda: model.fit(wide, y, eval_set=(wide, y + 5)),
        lambda: model.fit(wide, y, groups=[1]),
    ):
        with pytest.raises(ValueError, match=r"one class only|labels other than|groups has shape"):
            bad()
        assert dumps(model) == before
        assert vars(model) == attributes
    with pytest.raises(ValueError, match="X has 400 features, but PKBoostClassifier is expecting 3"):
        model.predict(wide)
    for width in (2, 400):
        with pytest.raises(ValueError, match=f"X has {width} columns, the trees were grown on 3"):
            raw_scores(model.ensemble_, np.zeros((50, width)))
    assert not hasattr(model.fit(X, y), "feature_names_in_")


@pytest.mark.parametrize("code", [-1.0, 0.5, np.inf])
def test_category_codes_must_be_codes(train, code):
    X = train[0].copy()
    X[:, 0] = 1.0
    X[3, 0] = code
    with pytest.raises(ValueError, match=f"categorical column 0 holds {code:g}; expected integer codes"):
        PKBoostClassifier(categorical_features=[0]).fit(X, train[1])


def test_clone_pickle_and_file_give_the_same_model(model, train, tmp_path):
    X, _ = train
    assert clone(model).get_params() == model.get_params()
    expected = model.predict_proba(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)  # noqa: S301
    save(model, tmp_path / "model.pkb")
    np.testing.assert_array_equal(load(tmp_path / "model.pkb").predict_proba(X), expected)


def test_unfitted_models_say_so():
    with pytest.raises(ValueError, match="this PKBoostClassifier is not fitted yet"):
        PKBoostClassifier().predict([[1.0]])


def test_callbacks_see_every_tree_and_can_stop(train, capsys):
    seen = []
    model = PKBoostClassifier(callbacks=[lambda n, loss: seen.append((n, loss)) or n == 7], verbose=5)
    model.fit(*train)
    assert [n for n, _ in seen] == list(range(1, 8))
    np.testing.assert_array_equal([loss for _, loss in seen], model.validation_loss_)
    assert "5 trees, held-out log-loss 0." in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["fast", "quality"])
def test_without_early_stopping_rows_to_stop_on_only_measure(train, test, mode):
    (X, y), (X_held, y_held) = train, test
    y = np.random.default_rng(0).permutation(y)[:600]  # nothing to learn: the held-out loss only rises
    options = {"n_estimators": 60, "early_stopping": False, "mode": mode, "learning_rate": 0.5}
    options |= {"linear_leaves": False, "cross_features": False}
    alone = PKBoostClassifier(**options).fit(X[:600], y)
    watched = PKBoostClassifier(**options).fit(X[:600], y, eval_set=(X_held, y_held))
    assert watched.n_trees_ == alone.n_trees_ == (60 if mode == "fast" else 300)
    assert watched.ensemble_.nodes.tobytes() == alone.ensemble_.nodes.tobytes()
    if mode == "fast":
        assert len(watched.validation_loss_) == 60
        assert watched.validation_loss_[-1] > watched.validation_loss_[0]


def printed(capsys, X, y, **options):
    PKBoostClassifier(n_estimators=2, verbose=2, **options).fit(X, y)
    return sorted(capsys.readouterr().err.splitlines())


def test_lines_tell_what_is_known_and_of_which_part(train, capsys):
    X, y = train
    assert printed(capsys, X, y, early_stopping=False) == ["2 trees"]
    few = np.concatenate([np.flatnonzero(y)[:30], np.flatnonzero(y == 0)[:300]])
    *folds, final = reversed(printed(capsys, X[few], y[few]))
    assert final == "2 trees"
    assert [line[: len("fold 1 of 5: 2 trees, held-out log-loss 0.")] for line in reversed(folds)] == [
        f"fold {k} of 5: 2 trees, held-out log-loss 0." for k in range(1, 6)
    ]
    lines = printed(capsys, X[:900], y[:900], mode="quality", early_stopping=False)
    assert lines == [f"member {m} of 5: 2 trees" for m in range(1, 6)]
    lines = printed(capsys, X[few], y[few], mode="quality", n_threads=2)
    assert sum(line.startswith("member 3 of 5, fold 5 of 5: 2 trees, held-out") for line in lines) == 1


def test_callbacks_are_not_for_folds(train):
    X, y = train
    few = np.concatenate([np.flatnonzero(y)[:30], np.flatnonzero(y == 0)[:300]])
    seen = []
    PKBoostClassifier(n_estimators=3, callbacks=[lambda n, loss: seen.append(n)]).fit(X[few], y[few])
    assert seen == list(range(1, len(seen) + 1))


def test_the_same_bytes_again_and_with_any_number_of_threads(train):
    X, y = train
    states = [
        PKBoostClassifier(n_threads=n, subsample=0.7, colsample=0.7, random_state=5).fit(X, y).ensemble_
        for n in (1, 1, 2, 3)
    ]
    for ensemble in states[1:]:
        assert ensemble.nodes.tobytes() == states[0].nodes.tobytes()


def test_random_state_none_draws_and_keeps_a_seed(train):
    model = PKBoostClassifier(random_state=None, n_estimators=3).fit(*train)
    again = PKBoostClassifier(random_state=model.random_state_, n_estimators=3).fit(*train)
    np.testing.assert_array_equal(model.ensemble_.nodes, again.ensemble_.nodes)


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    ).stdout


FIT = """
import numpy as np
from pkboost_core import PKBoostClassifier
X = np.random.default_rng(0).normal(size=(150, 5)); X[::7, 1] = np.nan; X[:, 4] = np.arange(150) % 4
y = (np.nan_to_num(X[:, 0]) + (X[:, 4] == 2) > 0.5).astype(int)
model = PKBoostClassifier(n_estimators=4, categorical_features=[4], min_samples_leaf=3, mi_weight=0.1)
print(model.fit(X, y).predict_proba(X)[:, 1].tolist())
"""


def test_without_compilation_the_result_is_the_same():
    compiled, interpreted = (eval(run_python(FIT, NUMBA_DISABLE_JIT=flag)) for flag in "01")  # noqa: S307
    np.testing.assert_allclose(compiled, interpreted, rtol=1e-5)


def test_import_needs_no_writable_place_and_loads_nothing_heavy(tmp_path):
    nowhere = str(Path("/proc/nowhere"))
    code = "import sys, pkboost_core; print([m for m in ('sklearn', 'polars', 'pandas') if m in sys.modules])"
    places = {"NUMBA_CACHE_DIR": nowhere, "HOME": nowhere, "XDG_CACHE_HOME": nowhere}
    assert run_python(code, **places).strip() == "[]"
