import numpy as np
import pytest
from numba import njit

from pkboost_core.histogram import add_rows, add_scattered, gradient_of, hessian_of, side_by_side, subtract
from pkboost_core.loss import logistic_gradients, logistic_loss
from pkboost_core.quantisation import quantise

STRIDE = 24


@njit
def histogram_of(words, elements, start, stop, stride):
    out = np.zeros(len(words) * 8 * stride, np.int64)
    add_rows(words, elements, start, stop, False, out, stride)
    return out


@njit
def scattered_histogram_of(by_row, n_groups, elements, start, stop, stride):
    out = np.zeros(n_groups * 8 * stride, np.int64)
    add_scattered(by_row, n_groups, elements, start, stop, out, stride)
    return out


@njit
def fields(packed):
    return gradient_of(packed), hessian_of(packed)


@njit
def difference(parent, child):
    out = parent.copy()
    subtract(out, child)
    return out


@pytest.fixture
def packed():
    """Codes, quantised gradients and elements of 500 rows."""
    rng = np.random.default_rng(0)
    n = 500
    codes = rng.integers(0, STRIDE, (2, n, 8), dtype=np.uint8)
    g = rng.normal(size=n).astype(np.float32)
    h = rng.random(n, dtype=np.float32)
    elements, scales = np.empty(n, dtype=np.int64), np.ones(3)
    quantise(g, h, rng.integers(0, 2**32, n, dtype=np.uint32), 5, 1.0, scales, elements)
    return codes, g, h, elements, scales


def test_sums_equal_sums_of_the_quantised_values(packed):
    codes, _, _, elements, _ = packed
    words = codes.view(np.uint64)[:, :, 0]
    histogram = histogram_of(words, elements, 100, 400, STRIDE).reshape(16, STRIDE)
    g = (((elements >> 16) & 0xFFFF) ^ 0x8000) - 0x8000
    h = elements & 0xFFFF
    for feature in range(16):
        column = codes[feature // 8, 100:400, feature % 8]
        expected_g = np.bincount(column, weights=g[100:400], minlength=STRIDE)
        expected_h = np.bincount(column, weights=h[100:400], minlength=STRIDE)
        found_g, found_h = fields(histogram[feature])
        np.testing.assert_array_equal(found_g, expected_g)
        np.testing.assert_array_equal(found_h, expected_h)


@pytest.mark.parametrize(("start", "stop"), [(0, 500), (3, 300), (40, 41), (7, 7)])
def test_codes_kept_by_row_give_the_same_sums(packed, start, stop):
    codes, _, _, elements, _ = packed
    words = codes.view(np.uint64)[:, :, 0]
    np.testing.assert_array_equal(
        scattered_histogram_of(side_by_side(words), len(words), elements, start, stop, STRIDE),
        histogram_of(words, elements, start, stop, STRIDE),
    )


@pytest.mark.parametrize(("n_groups", "width"), [(1, 1), (3, 4), (5, 8), (8, 8), (9, 9)])
def test_no_row_that_fits_lies_across_two_cache_lines(n_groups, width):
    words = np.random.default_rng(3).integers(0, 2**63, (n_groups, 70)).astype(np.uint64)
    by_row = side_by_side(words)
    assert by_row.shape == (70, width)
    np.testing.assert_array_equal(by_row[:, :n_groups], words.T)
    assert by_row.ctypes.data % 64 == 0
    assert by_row.flags.c_contiguous


def test_histograms_of_parts_add_up_and_siblings_subtract(packed):
    codes, _, _, elements, _ = packed
    words = codes.view(np.uint64)[:, :, 0]
    whole = histogram_of(words, elements, 0, 500, STRIDE)
    left = histogram_of(words, elements, 0, 123, STRIDE)
    right = histogram_of(words, elements, 123, 500, STRIDE)
    np.testing.assert_array_equal(left + right, whole)
    np.testing.assert_array_equal(difference(whole, left), right)


def test_quantised_gradients_are_close_and_unbiased(packed):
    _, g, h, elements, scales = packed
    restored_g = scales[0] * ((((elements >> 16) & 0xFFFF) ^ 0x8000) - 0x8000)
    restored_h = scales[1] * (elements & 0xFFFF)
    assert np.abs(restored_g - g).max() <= scales[0] < np.abs(g).max() / 2**13
    assert np.abs(restored_h - h).max() <= scales[1] < h.max() / 2**14
    assert abs((restored_g - g).mean()) < 4 * scales[0] / np.sqrt(12 * 500)
    np.testing.assert_array_equal(elements >> 32, np.arange(500))


@pytest.mark.parametrize("spread", [1e-30, 1.0, 1e30])
def test_no_field_can_overflow(spread):
    n = 200_000
    g = np.full(n, spread, dtype=np.float32)
    elements, scales = np.empty(n, dtype=np.int64), np.ones(3)
    quantise(g, g, np.arange(n, dtype=np.uint32), 1, 1.0, scales, elements)
    assert ((elements >> 16) & 0xFFFF).sum() < 2**31
    assert (elements & 0xFFFF).sum() < 2**32
    assert scales[0] * ((elements >> 16) & 0xFFFF).sum() == pytest.approx(n * spread, rel=1e-4)


def test_rounding_follows_the_row_not_its_place(packed):
    _, g, h, _, _ = packed
    row_hash = np.arange(500, dtype=np.uint32) * 77
    order = np.random.default_rng(1).permutation(500)
    out = []
    for index in (np.arange(500), order):
        elements = np.empty(500, dtype=np.int64)
        quantise(g[index], h[index], row_hash[index], 9, 1.0, np.ones(3), elements)
        out.append(elements & 0xFFFFFFFF)
    np.testing.assert_array_equal(out[0][order], out[1])


def test_gradients_are_the_derivatives_of_the_loss():
    rng = np.random.default_rng(2)
    raw = rng.normal(scale=4, size=30)
    y, w = rng.random(30).astype(np.float32), rng.random(30).astype(np.float32)
    g, h = np.empty(30, np.float32), np.empty(30, np.float32)
    logistic_gradients(raw, y, w, g, h)

    def loss(i, step):
        shifted = raw.copy()
        shifted[i] += step
        return logistic_loss(shifted, y, w) * w.sum(dtype=np.float64)

    step = 1e-3
    for i in range(30):
        slope = (loss(i, step) - loss(i, -step)) / (2 * step)
        curvature = (loss(i, step) - 2 * loss(i, 0) + loss(i, -step)) / step**2
        assert g[i] == pytest.approx(slope, abs=2e-6)
        assert h[i] == pytest.approx(curvature, abs=2e-6)


def test_loss_of_extreme_scores_is_finite():
    raw, y = np.array([800.0, -800.0]), np.array([0.0, 1.0], np.float32)
    assert logistic_loss(raw, y, np.zeros(0, np.float32)) == 800.0
    g, h = np.empty(2, np.float32), np.empty(2, np.float32)
    logistic_gradients(raw, y, np.zeros(0, np.float32), g, h)
    np.testing.assert_allclose(g, [1, -1])
    np.testing.assert_allclose(h, 0, atol=1e-12)
