import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pkboost_core.binning import MAX_CATEGORIES, Binning, fit_binning


def fit(X, max_bins=255, categorical=(), weight=None):
    is_categorical = np.zeros(X.shape[1], dtype=bool)
    is_categorical[list(categorical)] = True
    return fit_binning(X, max_bins, is_categorical, weight, np.random.default_rng(0))


def codes_of(binning, X):
    codes = binning.transform(X)
    return codes.transpose(1, 0, 2).reshape(len(X), -1)[:, : binning.n_features]


columns = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 60),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
)


@settings(deadline=None, max_examples=150)
@given(columns, st.integers(2, 255))
def test_codes_count_thresholds_below_the_value(column, max_bins):
    binning = fit(column[:, None], max_bins)
    cuts = binning.thresholds[0]
    assert len(cuts) < max_bins
    assert (np.diff(cuts) > 0).all()
    expected = (cuts[None, :] < column[:, None].astype(np.float64)).sum(axis=1)
    expected[np.isnan(column)] = binning.n_bins[0]
    np.testing.assert_array_equal(codes_of(binning, column[:, None])[:, 0], expected)


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.integers(-20, 20).map(float)))
def test_few_distinct_values_get_a_bin_each(column):
    codes = codes_of(fit(column[:, None]), column[:, None])[:, 0]
    np.testing.assert_array_equal(codes, np.unique(column, return_inverse=True)[1])


def test_bins_hold_nearly_equal_numbers_of_rows():
    column = np.random.default_rng(1).lognormal(size=(10_000, 1))
    counts = np.bincount(codes_of(fit(column, 50), column)[:, 0])
    assert len(counts) == 50
    assert counts.min() > 190
    assert counts.max() < 210


def test_a_heavy_value_takes_one_bin_and_leaves_the_others_to_the_rest():
    rng = np.random.default_rng(2)
    column = np.where(rng.random(10_000) < 0.8, 0.0, rng.normal(size=10_000))[:, None]
    codes = codes_of(fit(column, 64), column)[:, 0]
    assert len(np.unique(codes)) >= 60
    assert len(np.unique(codes[column[:, 0] == 0])) == 1


def test_weights_move_the_cuts():
    column = np.arange(1000.0)[:, None]
    weight = np.where(column[:, 0] < 100, 9.0, 1.0)
    codes = codes_of(fit(column, 10, weight=weight), column)[:, 0]
    shares = np.bincount(codes, weights=weight) / weight.sum()
    np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_infinities_join_the_outermost_bins():
    X = np.array([[-np.inf], [0.0], [1.0], [2.0], [np.inf], [np.nan]])
    np.testing.assert_array_equal(codes_of(fit(X), X)[:, 0], [0, 0, 1, 2, 2, 3])


@pytest.mark.parametrize("value", [np.nan, 5.0, np.inf])
def test_constant_and_all_missing_columns_have_one_bin(value):
    binning = fit(np.full((9, 1), value))
    assert len(binning.thresholds[0]) == 0
    assert binning.n_bins.tolist() == [1]


def test_categories_are_positions_of_sorted_codes_and_unseen_ones_are_missing():
    binning = fit(np.array([[7.0], [3.0], [7.0], [np.nan]]), categorical=[0])
    X = np.array([[3.0], [7.0], [4.0], [99.0], [np.nan]])
    np.testing.assert_array_equal(codes_of(binning, X)[:, 0], [0, 1, 2, 2, 2])


def test_only_the_most_frequent_of_many_levels_keep_a_code():
    column = np.concatenate([np.repeat(np.arange(MAX_CATEGORIES), 5), np.arange(1000, 3000)]).astype(float)
    binning = fit(column[:, None], categorical=[0])
    np.testing.assert_array_equal(binning.thresholds[0], np.arange(MAX_CATEGORIES))
    assert (codes_of(binning, np.array([[1500.0]])) == MAX_CATEGORIES).all()


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, lambda X: X[:, ::-1][:, ::-1]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_layout_does_not_matter(layout, dtype):
    X = np.random.default_rng(3).normal(size=(100, 11)).astype(dtype)
    binning = fit(X, 16)
    given_layout = layout(X)
    given_layout.flags.writeable = False
    np.testing.assert_array_equal(binning.transform(given_layout), binning.transform(X.copy()))


def test_large_tables_are_cut_by_a_sample_of_rows():
    X = np.random.default_rng(4).random((300_000, 1), dtype=np.float32)
    cuts = fit(X, 100).thresholds[0]
    np.testing.assert_allclose(cuts, np.arange(1, 100) / 100, atol=0.005)


def test_no_columns():
    binning = Binning((), np.zeros(0, dtype=bool))
    assert binning.transform(np.empty((4, 0))).shape == (1, 4, 8)
