"""Laws of every fit on any table: types and layout of the input, odd columns, order, transforms, copies."""

import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pkboost_core import PKBoostClassifier, PKBoostRegressor
from pkboost_core.serialize import dumps, loads

PLAIN = {"n_estimators": 5, "early_stopping": False, "subsample": 1.0, "colsample": 1.0, "max_leaf_nodes": 6}
DTYPES = ["f2", "f4", "f8", ">f4", ">f8", "i1", "u1", "i2", ">i4", "i8", "u8", "?"]
TREE_FIELDS = ("feature", "bin_threshold", "left", "right", "missing_left", "count", "cover", "gain", "value")
CELLS = {
    "f": st.one_of(st.just(np.nan), st.integers(0, 30), st.floats(-100, 100, width=16)),
    "i": st.integers(-100, 100),
    "u": st.integers(0, 100),
    "b": st.booleans(),
}


@st.composite
def tables(draw, dtypes=DTYPES, cells=None):
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(st.tuples(st.integers(2, 40), st.integers(1, 10)))
    X = draw(hnp.arrays(dtype, shape, elements=CELLS[dtype.kind] if cells is None else cells))
    y = draw(hnp.arrays(np.int64, shape[0], elements=st.integers(0, 1)))
    y[:2] = 0, 1
    return X, y


def nodes(X, y, **options):
    return PKBoostClassifier(**(PLAIN | options)).fit(X, y).ensemble_.nodes


@settings(deadline=None, max_examples=50)
@given(tables())
def test_number_types_and_layouts_change_nothing(table):
    X, y = table
    expected = nodes(X.astype(np.float64), y)
    frozen = X.copy()
    frozen.setflags(write=False)
    every_second = np.repeat(X, 2, axis=1)[:, ::2]
    swapped = X.astype(X.dtype.newbyteorder())
    for same in (X, np.asfortranarray(X), every_second, frozen, X[::-1][::-1], swapped, X.tolist()):
        np.testing.assert_array_equal(nodes(same, y), expected)
    assert frozen.tobytes() == X.tobytes()


@settings(deadline=None, max_examples=30)
@given(tables(), st.integers(0, 2**31))
def test_the_order_of_rows_changes_no_tree(table, seed):
    X, y = table
    order = np.random.default_rng(seed).permutation(len(y))
    np.testing.assert_array_equal(nodes(X[order], y[order]), nodes(X, y))


@settings(deadline=None, max_examples=30)
@given(
    tables(["f8"], st.one_of(st.just(np.nan), st.integers(0, 30))),
    st.sampled_from([lambda x: 8 * x - 3, np.sqrt, np.exp, np.arctan, lambda x: x**3]),
    st.integers(0, 9),
)
def test_a_strictly_monotone_transform_of_a_feature_changes_thresholds_only(table, transform, column):
    X, y = table
    moved = X.copy()
    moved[:, column % X.shape[1]] = transform(X[:, column % X.shape[1]])
    before, after = nodes(X, y), nodes(moved, y)
    for name in TREE_FIELDS:
        np.testing.assert_array_equal(before[name], after[name])


def odd_table(n=400):
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "useful": rng.normal(size=n),
            "constant": np.full(n, 3.0),
            "missing": pl.Series([None] * n, dtype=pl.Float64),
            "infinite": np.where(rng.random(n) < 0.5, np.inf, -np.inf),
            "huge": rng.choice([1e308, -1e308, 1e-320, 0.0], n),
            "unique_number": rng.permutation(n) * 1e12,
            "unique_text": [f"lead {i}" for i in rng.permutation(n)],
            "one_level": ["web"] * n,
            "no_text": pl.Series([None] * n, dtype=pl.String),
        }
    )


def target(kind, frame):
    useful = frame["useful"].to_numpy()
    return {"two": useful > 0.8, "three": np.digitize(useful, [-0.5, 0.5]), "number": useful}[kind]


MODELS = {
    "two": lambda **options: PKBoostClassifier(n_estimators=20, **options),
    "three": lambda **options: PKBoostClassifier(n_estimators=20, **options),
    "number": lambda **options: PKBoostRegressor(n_estimators=20, **options),
}


@pytest.mark.parametrize("kind", MODELS)
def test_odd_columns_are_fitted_and_the_useful_ones_found(kind):
    X = odd_table()
    model = MODELS[kind]().fit(X, target(kind, X))
    assert np.isfinite(model.decision_function(X) if kind != "number" else model.predict(X)).all()
    shares = dict(zip(X.columns, model.feature_importances("gain"), strict=True))
    assert shares["constant"] == shares["missing"] == shares["one_level"] == shares["no_text"] == 0
    assert shares["useful"] > 0.6
    assert np.isfinite(model.shap_values(X)[0]).all()


ODD_COLUMNS = {
    "missing": lambda n, rng: pl.Series([None] * n, dtype=pl.Float64),
    "constant": lambda n, rng: np.full(n, -0.0),
    "number": lambda n, rng: np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
    "infinite": lambda n, rng: rng.choice([np.inf, -np.inf, np.nan, 1e308], n),
    "unique_number": lambda n, rng: rng.permutation(n) * 1e300 / n,
    "unique_text": lambda n, rng: [f"lead {i}" for i in rng.permutation(n)],
    "one_level": lambda n, rng: ["web"] * n,
    "no_text": lambda n, rng: pl.Series([None] * n, dtype=pl.String),
    "flag": lambda n, rng: rng.random(n) < 0.5,
}


@st.composite
def odd_fits(draw):
    n, seed = draw(st.integers(1, 60)), draw(st.integers(0, 2**31))
    names, rng = draw(st.lists(st.sampled_from(sorted(ODD_COLUMNS)), max_size=5)), np.random.default_rng(seed)
    X = pl.DataFrame({f"{i} {name}": ODD_COLUMNS[name](n, rng) for i, name in enumerate(names)})
    n_classes = draw(st.integers(0, 3))  # 0: numbers
    y = rng.integers(0, n_classes, n) if n_classes else rng.normal(size=n)
    options = {"mode": st.sampled_from(["fast", "quality"])}
    options |= {name: st.booleans() for name in ("linear_leaves", "early_stopping")}
    kind = PKBoostClassifier if n_classes else PKBoostRegressor
    return kind(n_estimators=2, max_leaf_nodes=4, **draw(st.fixed_dictionaries(options))), X, y


@settings(deadline=None, max_examples=60)
@given(odd_fits())
def test_a_table_of_any_shape_is_fitted_or_refused_by_name(fit):
    model, X, y = fit
    if X.width == 0 or (isinstance(model, PKBoostClassifier) and len(np.unique(y)) < 2):
        with pytest.raises(ValueError, match=r"X has no columns|X has 0 rows|y has one class only"):
            model.fit(X, y)
        return
    model.fit(X, y)
    raw = model._raw_scores(X)
    values, expected = model.shap_values(X)
    assert np.isfinite(raw).all()
    assert np.isfinite(model.predict(X)).all()
    np.testing.assert_allclose(values.reshape(*X.shape, -1).sum(axis=1) + expected, raw, atol=1e-9)
    again = loads(dumps(model))
    assert dumps(again) == dumps(model)
    assert again.predict(X).tobytes() == model.predict(X).tobytes()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("mode", ["fast", "quality"])
def test_threads_change_no_byte_and_copies_nothing(kind, mode):
    X = odd_table()
    one, many = (MODELS[kind](mode=mode, n_threads=n).fit(X, target(kind, X)) for n in (1, 4))
    assert many.ensemble_.nodes.tobytes() == one.ensemble_.nodes.tobytes()
    assert dumps(many.set_params(n_threads=1)) == dumps(one)
    unpickled = pickle.loads(pickle.dumps(one))  # noqa: S301
    for again in (loads(dumps(one)), unpickled):
        assert dumps(again) == dumps(one)
        assert again.predict(X).tobytes() == one.predict(X).tobytes()
        assert again.shap_values(X)[0].tobytes() == one.shap_values(X)[0].tobytes()


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (pl.DataFrame(), [], "X has 0 rows"),
        (pl.DataFrame({"a": []}, schema={"a": pl.Float64}), [], "X has 0 rows"),
        (np.zeros((3, 0)), [0, 1, 1], "X has no columns"),
        (np.zeros((1, 2)), [1], "y has one class only"),
        (np.zeros((3, 2)), [1, 1, 1], "y has one class only"),
    ],
)
def test_tables_that_teach_nothing_are_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        PKBoostClassifier().fit(X, y)


def test_one_row_is_enough_for_a_regressor_and_no_row_for_a_prediction():
    model = PKBoostRegressor(early_stopping=False, n_estimators=3).fit([[1.0]], [4.0])
    assert model.predict([[7.0], [np.nan]]).tolist() == [4.0, 4.0]
    assert model.predict(np.zeros((0, 1))).shape == (0,)
