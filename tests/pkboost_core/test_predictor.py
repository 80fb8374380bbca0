import numpy as np
import pytest

from pkboost_core import PKBoostClassifier


@pytest.fixture(scope="module")
def model_and_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 6))
    X[:, 4] = rng.integers(0, 9, 2000)
    X[rng.random(X.shape) < 0.1] = np.nan
    y = rng.random(2000) < 1 / (1 + np.exp(-np.nan_to_num(X[:, 0]) - (X[:, 4] == 5)))
    model = PKBoostClassifier(n_estimators=12, categorical_features=[4], early_stopping=False)
    return model.fit(X, y), rng.permutation(X)[:200]


def walk(ensemble, root, row):
    """Follow a row through raw thresholds and category codes."""
    node = ensemble.nodes[root]
    while not node["is_leaf"]:
        x = row[node["feature"]]
        if node["is_categorical"]:
            levels = ensemble.bin_thresholds[node["feature"]]
            known = np.flatnonzero(levels == x)
            code = known[0] if len(known) else len(levels)
            left = bool(int(node["left_categories"][code >> 6]) >> int(code & 63) & 1)
        else:
            left = node["missing_left"] if np.isnan(x) else x <= node["threshold"]
        root = node["left"] if left else node["right"]
        node = ensemble.nodes[root]
    return root


def test_bins_and_raw_thresholds_lead_to_the_same_leaf(model_and_rows):
    model, X = model_and_rows
    ensemble, leaves = model.ensemble_, model.apply(model_and_rows[1])
    X = np.vstack([X, [[np.inf, -np.inf, np.nan, 0.0, 77.0, 1e-300]]])
    leaves = model.apply(X)
    raw = np.full(len(X), ensemble.base_score[0])
    for i, row in enumerate(X):
        for t, root in enumerate(ensemble.tree_offsets[:-1]):
            leaf = walk(ensemble, root, row)
            assert leaf - root == leaves[i, t]
            raw[i] += ensemble.nodes[leaf]["value"]
    np.testing.assert_array_equal(model.decision_function(X), raw)


def test_a_row_scores_the_same_alone_or_among_many(model_and_rows):
    model, X = model_and_rows
    many = np.tile(X, (100, 1))
    raw = model.decision_function(many)
    np.testing.assert_array_equal(raw.reshape(100, -1), np.tile(raw[:200], (100, 1)))
    np.testing.assert_array_equal([model.decision_function(row[None])[0] for row in X[:5]], raw[:5])


def test_float32_rows_score_like_float64_rows(model_and_rows):
    model, X = model_and_rows
    narrow = X.astype(np.float32)
    np.testing.assert_array_equal(
        model.decision_function(narrow), model.decision_function(narrow.astype(np.float64))
    )


def test_no_rows(model_and_rows):
    model, X = model_and_rows
    assert model.predict_proba(X[:0]).shape == (0, 2)
    assert model.apply(X[:0]).shape == (0, 12)
