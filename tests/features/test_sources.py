from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.sources import SCHEMAS, Sources, as_of, conform, empty, empty_frame
from tests.features.worlds import DAYS, at, day, sources, worlds


def test_empty_sources_have_every_column():
    nothing = empty()
    for name, schema in SCHEMAS.items():
        assert dict(getattr(nothing, name).schema) == schema


@pytest.mark.parametrize("name", ["lead", "activity", "stage", "outcome"])
def test_as_of_shows_what_had_arrived_before_midnight(name):
    rows = [{"lead_id": f"L{i}", "known_at": at(moment)} for i, moment in enumerate((9.999, 10, 11))]
    assert getattr(as_of(sources(**{name: rows}), day(10)), name)["lead_id"].to_list() == ["L0"]


def test_as_of_takes_back_removals_and_ends_that_had_not_happened():
    row = {"entity": "lead", "field": "title"}
    world = sources(
        lead=[{"lead_id": f"L{i}", "known_at": at(1), "removed_at": at(d)} for i, d in enumerate((9, 10))],
        field_history=[
            row | {"valid_from": at(f), "valid_to": at(t)} for f, t in ((1, 9), (2, 10), (10, 12))
        ],
    )
    past = as_of(world, day(10))
    assert past.lead["removed_at"].to_list() == [at(9), None]
    assert past.field_history["valid_to"].to_list() == [at(9), None]


@given(world=worlds(), early=st.integers(0, DAYS), later=st.integers(0, 99))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_the_past_of_the_past_is_the_past(world, early, later):
    twice, once = as_of(as_of(world, day(early + later)), day(early)), as_of(world, day(early))
    for name in SCHEMAS:
        assert_frame_equal(getattr(twice, name), getattr(once, name))


def test_a_missing_column_is_named_with_its_frame_and_file():
    with pytest.raises(
        ValueError, match=r"lead\.owner_id is missing; sql/staging/stg_lead\.sql must return it"
    ):
        conform("lead", empty_frame("lead").drop("owner_id"))
    with pytest.raises(ValueError, match=r"stage\.known_at is missing"):
        Sources(**{**vars(empty()), "stage": empty_frame("stage").drop("known_at")})


def test_a_mistyped_column_is_named_with_both_types():
    text = empty_frame("lead").with_columns(employee_count=pl.Series(["many"]).clear())
    with pytest.raises(TypeError, match=r"lead\.employee_count is String, expected Float64"):
        Sources(**{**vars(empty()), "lead": text})
    with pytest.raises(TypeError, match=r"account\.employee_count is String and cannot become Float64"):
        conform("account", pl.DataFrame([dict.fromkeys(SCHEMAS["account"]) | {"employee_count": "many"}]))


def test_naive_times_are_refused_and_other_zones_converted():
    moment = datetime(2025, 6, 1, 12, tzinfo=UTC)
    frame = pl.DataFrame([dict.fromkeys(SCHEMAS["stage"]) | {"entered_at": moment}])
    vienna = frame.with_columns(pl.col("entered_at").dt.convert_time_zone("Europe/Vienna"))
    assert conform("stage", vienna)["entered_at"].to_list() == [moment]
    with pytest.raises(ValueError, match=r"stage\.entered_at holds naive times"):
        conform("stage", frame.with_columns(pl.col("entered_at").dt.replace_time_zone(None)))


def test_an_unknown_frame_is_refused():
    with pytest.raises(ValueError, match="unknown source frame 'leads'"):
        Sources.from_frames({"leads": pl.DataFrame()})
