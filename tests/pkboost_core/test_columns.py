"""Frames of either library, arrays and lists become one matrix, by name, with levels remembered."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from pkboost_core.columns import Columns, fit_columns
from pkboost_core.frames import read_columns

NAN = np.nan
SOURCES = ["web", None, "fair", "web"]


def polars_frame(**changes):
    columns = {
        "size": pl.Series([1, None, 3, 4], dtype=pl.Int32),
        "share": pl.Series([0.5, None, float("nan"), 2.0], dtype=pl.Float32),
        "is_known": pl.Series([True, None, False, True]),
        "source": pl.Series(SOURCES),
        "grade": pl.Series(["b", "a", None, "b"], dtype=pl.Enum(["b", "a", "unused"])),
        "segment": pl.Series(["x", "y", "y", None], dtype=pl.Categorical),
        "amount": pl.Series([Decimal("1.5"), None, Decimal(2), Decimal(0)]),
        "nothing": pl.Series([None] * 4, dtype=pl.Null),
    }
    return pl.DataFrame(columns | changes)


def pandas_frame(**changes):
    columns = {
        "size": pd.array([1, None, 3, 4], dtype="Int32"),
        "share": np.array([0.5, NAN, NAN, 2.0], dtype=np.float32),
        "is_known": pd.array([True, None, False, True], dtype="boolean"),
        "source": pd.Series(SOURCES, dtype="string"),
        "grade": pd.Categorical(["b", "a", None, "b"], categories=["b", "a", "unused"]),
        "segment": pd.Series(["x", "y", "y", None], dtype=object),
        "amount": [Decimal("1.5"), None, Decimal(2), Decimal(0)],
        "nothing": [None] * 4,
    }
    return pd.DataFrame(columns | changes)


EXPECTED = np.array(
    [
        [1, 0.5, 1, 0, 0, 1, 1.5, NAN],
        [NAN, NAN, NAN, NAN, 1, 0, NAN, NAN],
        [3, NAN, 0, 1, NAN, 0, 2, NAN],
        [4, 2, 1, 0, 0, NAN, 0, NAN],
    ]
)


@pytest.mark.parametrize("frame", [polars_frame(), pandas_frame(), polars_frame().to_pandas()])
def test_numbers_booleans_nulls_text_and_categories_are_understood(frame):
    columns, matrix, is_categorical = fit_columns(frame, None)
    np.testing.assert_array_equal(matrix, EXPECTED)
    assert columns.names == tuple(polars_frame().columns)
    assert columns.levels == {3: ("web", "fair"), 4: ("b", "a"), 5: ("y", "x")}
    assert np.flatnonzero(is_categorical).tolist() == [3, 4, 5]


def test_arrow_backed_pandas_columns_are_understood():
    frame = polars_frame().drop("amount").to_pandas(use_pyarrow_extension_array=True)
    np.testing.assert_array_equal(fit_columns(frame, None)[1], np.delete(EXPECTED, 6, axis=1))


@pytest.mark.parametrize("later", [polars_frame, pandas_frame])
def test_later_rows_are_matched_by_column_and_level_name(later):
    columns, _, _ = fit_columns(polars_frame(), None)
    grade = (
        pd.Categorical(["a", "b", "c", None]) if later is pandas_frame else pl.Series(["a", "b", "c", None])
    )
    frame = later(grade=grade, source=["fair", "new", "fair", None])
    shuffled = frame[frame.columns[::-1]] if later is pandas_frame else frame.select(reversed(frame.columns))
    expected = EXPECTED.copy()
    expected[:, 3] = [1, NAN, 1, NAN]
    expected[:, 4] = [1, 0, NAN, NAN]
    for same in (frame, shuffled):
        np.testing.assert_array_equal(columns.matrix(same, "model"), expected)


def test_state_keeps_names_and_levels():
    columns, _, _ = fit_columns(polars_frame(), None)
    assert Columns.from_state(columns.to_state()) == columns
    with pytest.raises(ValueError, match="do not belong to 3 columns"):
        Columns.from_state({**columns.to_state(), "n_features": 3})


def test_the_64_most_frequent_levels_are_kept():
    levels = [f"level {i:03d}" for i in range(100)]
    frame = pl.DataFrame({"a": levels + levels[30:40] * 2})
    columns, matrix, _ = fit_columns(frame, None)
    assert columns.levels[0] == (*levels[30:40], *levels[:30], *levels[40:64])
    assert np.isnan(matrix[:100, 0]).sum() == 36


def test_text_in_arrays_and_lists_is_categorical_too():
    rows = [["a", 1], ["b", None], [None, 2.5]]
    expected = [[0, 1], [1, NAN], [NAN, 2.5]]
    for X in (rows, np.array(rows, dtype=object)):
        np.testing.assert_array_equal(fit_columns(X, None)[1], expected)
    np.testing.assert_array_equal(fit_columns([["a", 10], ["b", 2]], None)[1], [[0, 10], [1, 2]])
    np.testing.assert_array_equal(fit_columns(np.array([["u"], ["v"], ["v"]]), None)[1], [[1], [0], [0]])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8", "i1", "u1", "i4", ">i8", "u8", "?"])
def test_number_types_give_the_same_matrix(dtype):
    array = np.array([[0, 1], [1, 0], [1, 1]], dtype=dtype)
    _, matrix, _ = fit_columns(array, None)
    np.testing.assert_array_equal(matrix, array.astype(np.float64))
    assert matrix.dtype.isnative


def test_plain_floats_are_not_copied():
    array = np.ones((3, 2), dtype=np.float32)
    assert fit_columns(array, None)[1] is array
    assert read_columns(array[::2]).base is array


def test_masked_cells_are_missing():
    array = np.ma.MaskedArray([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    np.testing.assert_array_equal(read_columns(array), [[1, NAN], [3, 4]])


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pl.DataFrame({"day": [date(2026, 1, 1)]}), ValueError, "column 'day' holds Date .* turn dates"),
        (pd.DataFrame({"at": pd.to_datetime(["2026-01-01"])}), ValueError, "column 'at' holds datetime64"),
        (
            pd.DataFrame({"at": pd.to_datetime(["2026-01-01"], utc=True)}),
            ValueError,
            "column 'at' holds date",
        ),
        (pl.DataFrame({"tags": [["a"]]}), ValueError, r"column 'tags' holds List\(String\)"),
        (pd.DataFrame({"a": ["x", 1]}, dtype=object), ValueError, "column 'a' mixes text with int; make it"),
        (pd.DataFrame({"a": [{}]}), TypeError, "column 'a' holds dict values"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "column name 'a' appears more than once"),
        (pl.LazyFrame({"a": [1]}), TypeError, r"X is a lazy frame; pass X.collect\(\)"),
        (np.array([[1j]]), ValueError, "X: Complex data not supported"),
        (np.zeros(3), ValueError, r"X should have two dimensions \(rows, columns\), got shape \(3,\)"),
    ],
)
def test_what_cannot_be_read_is_named(X, error, message):
    with pytest.raises(error, match=message):
        fit_columns(X, None)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            polars_frame().drop("share", "grade"),
            "model is expecting 8 .*column 'share' is missing .and 1 more",
        ),
        (
            polars_frame(extra=pl.Series([1] * 4)),
            "X has 9 features.*column 'extra' was not there in fit; drop",
        ),
        (polars_frame(source=pl.Series([1] * 4)), "column 'source' holds numbers, but held text in fit"),
        (polars_frame(size=pl.Series(["1"] * 4)), "column 'size' holds text, but held numbers in fit"),
        (np.zeros((2, 7)), "X has 7 features, but model is expecting 8 features as input"),
    ],
)
def test_other_columns_than_in_fit_are_named(frame, message):
    columns, _, _ = fit_columns(polars_frame(), None)
    with pytest.raises(ValueError, match=message):
        columns.matrix(frame, "model")


def test_a_plain_array_of_numbers_is_taken_as_encoded():
    columns, matrix, _ = fit_columns(polars_frame(), None)
    assert columns.matrix(matrix, "model") is matrix


def test_a_column_of_text_that_went_missing_is_missing():
    columns, _, _ = fit_columns(polars_frame(), None)
    frame = polars_frame(source=pl.Series([None] * 4, dtype=pl.Null))
    assert np.isnan(columns.matrix(frame, "model")[:, 3]).all()
