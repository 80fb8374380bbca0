import json

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from numpy.testing import assert_array_equal

from features.matrix import MAX_LEVELS, OTHER, Encoding, count_infinite, fit_encoding, to_matrix

FRAME = pl.DataFrame(
    {
        "lead_id": ["a", "b", "c"],
        "lead_age_days": [1.5, None, 3.0],
        "lead_source": ["web", None, "web"],
        "stage_entry_count": pl.Series([0, 1, 2], dtype=pl.UInt32),
        "calendar_is_weekend": [True, False, None],
        "label": [0, 1, 0],
    }
)


def test_numbers_codes_and_missing_values():
    encoding = fit_encoding(FRAME)
    matrix = to_matrix(FRAME, encoding)
    assert encoding.names == ("lead_age_days", "lead_source", "stage_entry_count", "calendar_is_weekend")
    assert encoding.categorical_indices == (1,)
    assert_array_equal(matrix, [[1.5, 0, 0, 1], [np.nan, np.nan, 1, 0], [3, 0, 2, np.nan]])
    assert matrix.dtype == np.float32
    assert matrix.flags.f_contiguous


def test_keys_and_labels_may_be_there_or_not():
    encoding = fit_encoding(FRAME)
    assert_array_equal(to_matrix(FRAME.drop("lead_id", "label"), encoding), to_matrix(FRAME, encoding))


def test_an_encoding_survives_json():
    encoding = fit_encoding(FRAME)
    assert Encoding.from_dict(json.loads(json.dumps(encoding.to_dict()))) == encoding


def test_levels_are_the_most_frequent_ties_by_name_the_rest_is_other():
    levels = [f"l{i:03}" for i in range(80)]
    frame = pl.DataFrame({"x": [*levels[::-1], "l070", "l070", "l079", None]})
    encoding = fit_encoding(frame)
    assert encoding.levels["x"][:3] == ("l070", "l079", "l000")
    assert len(encoding.levels["x"]) == MAX_LEVELS
    codes = to_matrix(pl.DataFrame({"x": ["l070", "l069", "unseen", None]}), encoding)[:, 0]
    assert_array_equal(codes, [0, OTHER, OTHER, np.nan])


@given(st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=200), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_codes_do_not_depend_on_row_order_and_missing_is_missing(values, random):
    frame, shuffled = pl.DataFrame({"x": values}, {"x": pl.String}), list(values)
    random.shuffle(shuffled)
    encoding = fit_encoding(frame)
    assert encoding == fit_encoding(pl.DataFrame({"x": shuffled}, {"x": pl.String}))
    assert_array_equal(np.isnan(to_matrix(frame, encoding)[:, 0]), [value is None for value in values])


def test_a_million_categories_fit():
    frame = pl.DataFrame({"x": pl.int_range(1_000_000, eager=True).cast(pl.String)})
    encoding = fit_encoding(frame)
    assert len(encoding.levels["x"]) == MAX_LEVELS
    assert np.unique(to_matrix(frame, encoding)).size == MAX_LEVELS + 1


def test_constant_and_all_null_columns_keep_their_place_and_are_reported():
    frame = pl.DataFrame(
        {
            "none": [None, None],
            "text": pl.Series([None, None], dtype=pl.String),
            "one": [1, 1],
            "two": [1, None],
        }
    )
    encoding = fit_encoding(frame)
    assert encoding.constant == ("none", "text", "one")
    assert_array_equal(to_matrix(frame, encoding), [[np.nan, np.nan, 1, 1], [np.nan, np.nan, 1, np.nan]])


def test_infinities_are_missing_and_counted_beyond_float32_too():
    frame = pl.DataFrame({"x": [np.inf, -np.inf, 1e300, np.nan, 1.0], "y": [1.0] * 5, "z": ["a"] * 5})
    assert_array_equal(to_matrix(frame, fit_encoding(frame))[:, 0], [np.nan] * 4 + [1])
    assert count_infinite(frame) == {"x": 3}
    assert count_infinite(frame.select("z")) == {}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["b", "a"], r"expected a at 0, got b; rebuild the dataset"),
        (["a"], r"expected b at 1, got no column; rebuild"),
        (["a", "b", "c"], r"feature c is unknown to the model, which has 2 features; .*attr_kinds"),
    ],
)
def test_other_names_or_order_are_refused_saying_which(columns, message):
    encoding = fit_encoding(pl.DataFrame({"a": [1], "b": [2]}))
    with pytest.raises(ValueError, match=message):
        to_matrix(pl.DataFrame({column: [1] for column in columns}), encoding)


def test_a_column_that_changed_its_kind_is_refused():
    number, text = pl.DataFrame({"a": [1]}), pl.DataFrame({"a": ["1"]})
    with pytest.raises(TypeError, match="column a is String, the model was trained on a number"):
        to_matrix(text, fit_encoding(number))
    with pytest.raises(TypeError, match="column a is Int64, the model was trained on text"):
        to_matrix(number, fit_encoding(text))


def test_a_column_that_is_no_feature_is_refused():
    with pytest.raises(TypeError, match="column a is List"):
        fit_encoding(pl.DataFrame({"a": [[1]]}))


def test_custom_columns_are_remembered_with_their_kind():
    frame = pl.DataFrame({"attrs_city": ["Graz"], "lead_age_days": [1], "attrs_visits": [2.0]})
    assert fit_encoding(frame).attr_kinds == {"city": "category", "visits": "numeric"}
