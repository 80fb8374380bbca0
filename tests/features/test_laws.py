"""Laws that every feature group keeps, on random CRMs."""

from datetime import datetime, timedelta
from functools import partial

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from features.attrs import attrs
from features.build import GROUPS, build
from features.sources import Sources, as_of
from features.spine import KEYS, spine
from tests.features.worlds import ATTR_KINDS, DAYS, at, day, frame, worlds

ALL_GROUPS = GROUPS | {"attrs": partial(attrs, kinds=ATTR_KINDS)}
law = settings(max_examples=10, deadline=None, derandomize=True)
days = st.lists(st.integers(1, DAYS + 40), min_size=1, max_size=4, unique=True)
every_group = pytest.mark.parametrize("name", ALL_GROUPS)


def rows_at(world: Sources, *on: int) -> pl.DataFrame:
    return spine(world, [day(d) for d in on], max_age_days=150)


@every_group
@given(world=worlds(), on=days)
@law
def test_rows_are_the_spines_and_columns_carry_the_groups_name(name, world, on):
    rows = rows_at(world, *on)
    made = ALL_GROUPS[name](world, rows)
    assert_frame_equal(made.select(KEYS), rows)
    assert all(column.startswith(f"{name}_") for column in made.drop(KEYS).columns)


@every_group
@given(world=worlds(), on=days)
@law
def test_counts_are_zero_not_null_and_never_negative(name, world, on):
    made = ALL_GROUPS[name](world, rows_at(world, *on))
    for column in (c for c in made.columns if "_count_" in c or c.endswith("_count")):
        if made[column].dtype.is_integer():
            assert made[column].null_count() == 0
            assert (made[column] >= 0).all()


@every_group
@given(world=worlds(), on=days, seed=st.integers(0, 99))
@law
def test_row_order_of_the_sources_is_irrelevant(name, world, on, seed):
    shuffled = Sources(
        **{field: getattr(world, field).sample(fraction=1, shuffle=True, seed=seed) for field in vars(world)}
    )
    rows = rows_at(world, *on)
    assert_frame_equal(rows_at(shuffled, *on), rows)
    assert_frame_equal(ALL_GROUPS[name](shuffled, rows), ALL_GROUPS[name](world, rows), check_exact=True)


@every_group
@given(world=worlds(), on=days, later=st.integers(0, 60))
@law
def test_what_arrives_on_or_after_the_newest_snapshot_changes_nothing(name, world, on, later):
    past = as_of(world, day(max(on) + later))
    rows = rows_at(world, *on)
    assert_frame_equal(rows_at(past, *on), rows)
    assert_frame_equal(ALL_GROUPS[name](past, rows), ALL_GROUPS[name](world, rows), check_exact=True)


@every_group
@given(world=worlds(), on=days)
@law
def test_one_date_equals_the_same_rows_of_many_dates(name, world, on):
    many = ALL_GROUPS[name](world, rows_at(world, *on))
    one = ALL_GROUPS[name](world, rows_at(world, on[0]))
    assert_frame_equal(many.filter(pl.col("snapshot_date") == day(on[0])), one, check_exact=True)


@every_group
@given(world=worlds(), on=st.integers(40, DAYS), delay=st.sampled_from([0, 1e-6, 0.5, 30]))
@law
def test_planted_rows_of_the_future_change_nothing(name, world, on, delay):
    rows, moment = rows_at(world, on), at(on + delay)
    planted = _plant(world, moment)
    assert_frame_equal(rows_at(planted, on), rows)
    assert_frame_equal(ALL_GROUPS[name](planted, rows), ALL_GROUPS[name](world, rows), check_exact=True)


def _plant(world: Sources, moment: datetime) -> Sources:
    """Add what happens at `moment`, partly claiming to be known before, and past rows that arrive then."""
    born = dict(world.lead.select("lead_id", "created_at").iter_rows())
    both = [(lead_id, known_at) for lead_id in born for known_at in (moment, at(-10))]
    clicks = world.activity.filter(pl.col("activity_type").is_in(["email_click", "email_open"]))
    rows = {
        "activity": [
            *({"lead_id": i, "activity_type": "call", "occurred_at": moment, "known_at": k} for i, k in both),
            *(
                {"lead_id": i, "activity_type": "call", "occurred_at": born[i], "known_at": moment}
                for i in born
            ),
            # two more clicks beside each of the past make a burst of it
            *(
                c | {"known_at": max(moment, c["known_at"])}
                for c in clicks.iter_rows(named=True)
                for _ in "ab"
            ),
        ],
        "stage": [
            *({"lead_id": i, "stage": "won", "entered_at": moment, "known_at": k} for i, k in both),
            *({"lead_id": i, "stage": "won", "entered_at": born[i], "known_at": moment} for i in born),
        ],
        "outcome": [
            {"lead_id": i, "outcome_at": time, "known_at": max(moment, time), "is_conversion": is_conversion}
            for i in born
            for time in (born[i] + timedelta(days=1), moment)
            for is_conversion in (True, False)
        ],
        "field_history": [
            {"entity": "lead", "entity_id": i, "field": field, "value": "planted", "valid_from": moment}
            for i in born
            for field in ("title", "account_id", "owner_id", "lead_source", "industry")
        ],
        "lead": [
            {
                "lead_id": f"new {time}",
                "account_id": "A0",
                "created_at": time,
                "known_at": moment,
                "owner_id": "O1",
            }
            for time in (moment, at(1))
        ],
    }
    frames = {
        name: pl.concat([getattr(world, name), frame(name, rows.get(name, []))]) for name in vars(world)
    }
    return Sources(**frames)


@given(world=worlds(), on=days)
@law
def test_build_puts_all_groups_side_by_side(world, on):
    rows = rows_at(world, *on)
    built = build(world, rows, ATTR_KINDS)
    parts = [group(world, rows).drop(KEYS) for group in ALL_GROUPS.values()]
    assert_frame_equal(built, pl.concat([rows, *parts], how="horizontal"))


def test_build_refuses_a_spine_with_a_row_twice():
    rows = pl.DataFrame(
        {"lead_id": ["L1"] * 2, "snapshot_date": [day(3)] * 2, "account_id": "A", "owner_id": "O"}
    )
    with pytest.raises(ValueError, match=r"lead 'L1' appears more than once at 2025-01-04"):
        build(Sources.from_frames({}), rows)
