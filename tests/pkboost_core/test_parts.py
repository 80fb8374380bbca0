import threading

import numpy as np
import pytest

from pkboost_core.binning import fit_binning
from pkboost_core.histogram import feature_by_feature, side_by_side
from pkboost_core.parts import FEWEST_ROWS, in_parts
from pkboost_core.quantisation import hash_rows

N_ROWS = 2 * FEWEST_ROWS + 7


@pytest.mark.parametrize(
    ("n_rows", "n_threads", "n_parts"),
    [(0, 4, 1), (100, 4, 1), (N_ROWS, 1, 1), (N_ROWS, 2, 2), (N_ROWS, 9, 2), (5 * FEWEST_ROWS, 3, 3)],
)
def test_parts_cover_all_rows_once_on_no_more_threads_than_they_are_worth(n_rows, n_threads, n_parts):
    parts = []
    in_parts(lambda start, stop: parts.append((start, stop)), n_rows, n_threads)
    assert len(parts) == n_parts
    parts.sort()
    assert parts[0][0] == 0
    assert parts[-1][1] == n_rows
    assert [stop for _, stop in parts[:-1]] == [start for start, _ in parts[1:]]


def test_parts_run_at_the_same_time():
    meet = threading.Barrier(2, timeout=10)
    in_parts(lambda start, stop: meet.wait(), N_ROWS, 2)


def test_an_error_in_a_part_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_parts(lambda start, stop: 1 // start, N_ROWS, 2)


def test_what_is_prepared_in_parts_is_the_same_as_at_once():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 11)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 3] = rng.integers(0, 9, N_ROWS)
    binning = fit_binning(X, 20, np.arange(11) == 3, None, rng)
    codes = binning.transform(X)
    np.testing.assert_array_equal(binning.transform(X, 2), codes)
    words = codes.view(np.uint64)[:, :, 0]
    np.testing.assert_array_equal(side_by_side(words, 2), side_by_side(words))
    np.testing.assert_array_equal(side_by_side(words)[:, :2], words.T)
    columns = feature_by_feature(codes, 2)
    for feature in range(11):
        np.testing.assert_array_equal(columns[feature], codes[feature // 8, :, feature % 8])
    whole, parts = np.empty(N_ROWS, np.uint32), np.empty(N_ROWS, np.uint32)
    hash_rows(codes, whole, 0, N_ROWS)
    in_parts(lambda start, stop: hash_rows(codes, parts, start, stop), N_ROWS, 2)
    np.testing.assert_array_equal(parts, whole)
