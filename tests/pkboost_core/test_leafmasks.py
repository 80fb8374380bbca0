"""Leaves found by masks are the leaves that walking finds, whatever the trees look like."""

import numpy as np
import pytest
from numba import njit

from pkboost_core import PKBoostClassifier
from pkboost_core.binning import Binning
from pkboost_core.compiled import as_records
from pkboost_core.leafmasks import FEWEST_ROWS, MOST_LEAVES, lowest_bit, walk


@njit
def walked(codes, n_bins, nodes, tree_offsets, n_rows):
    out = np.empty((n_rows, len(tree_offsets) - 1), np.int64)
    for t in range(out.shape[1]):
        for row in range(n_rows):
            out[row, t] = walk(codes, row, n_bins, nodes, tree_offsets[t]) - tree_offsets[t]
    return out


@njit
def places(masks):
    return [lowest_bit(mask) for mask in masks]


def test_lowest_bit():
    masks = [np.uint64(1), np.uint64(12), np.uint64(1 << 63), np.uint64(2**64 - 1)]
    assert list(places(np.array(masks))) == [0, 2, 63, 0]


@pytest.mark.parametrize("max_leaf_nodes", [2, 31, MOST_LEAVES, MOST_LEAVES + 1])
@pytest.mark.parametrize("max_bins", [5, 255])
def test_masks_lead_to_the_leaves_that_walking_finds(max_leaf_nodes, max_bins):
    rng = np.random.default_rng(max_leaf_nodes)
    X = rng.normal(size=(3000, 11))
    X[:, 8] = rng.integers(0, 40, len(X))
    X[:, :9][rng.random((len(X), 9)) < 0.1] = np.nan
    y = np.sin(3 * np.nan_to_num(X[:, 0])) + (X[:, 8] % 5 == 2) + rng.normal(size=len(X)) > 0.5
    options = {"max_depth": None, "min_child_hessian": 0.0, "early_stopping": False}
    model = PKBoostClassifier(
        6, max_leaf_nodes=max_leaf_nodes, max_bins=max_bins, categorical_features=[8], **options
    ).fit(X, y)
    ensemble = model.ensemble_
    assert np.diff(ensemble.tree_offsets).max() == 2 * max_leaf_nodes - 1
    binning = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
    for n in (1, FEWEST_ROWS, 700):
        codes = binning.transform(X[:n])
        nodes = as_records(ensemble.nodes)
        np.testing.assert_array_equal(
            model.apply(X[:n]), walked(codes, binning.n_bins, nodes, ensemble.tree_offsets, n)
        )
