"""Mappings: what is accepted, how a mistake is answered, how values are read, how times are laid out."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.derived_time import DerivedTime
from flows.import_mapping import ColumnRule, MappingError, load_mapping, shipped_mappings
from flows.import_values import clean, parse, unreadable

LEADS = """
[[tables]]
role = "leads"
columns = { id = "lead_id", at = "created_at", rank = "ignore" %s }
"""
LABEL = "clock = 2020-01-06\n[label]\nhorizon_days = 60\nreporting_lag_days = 7\nsnapshot_every_days = 14\n"
LAYOUT = {"cohort_days": 14, "outcome_after_days": 14, "cohort_ends_days_before_clock": (151, 137, 67, 0)}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["olist", "x_education"])
def test_the_shipped_mappings_are_sound(name: str) -> None:
    assert shipped_mappings() == ["olist", "x_education"]
    mapping = load_mapping(name)
    assert mapping.name == name
    assert mapping.clock is not None
    assert all(
        rule.targets == () for table in mapping.tables for rule in table.columns.values() if rule.banned
    )


def test_short_and_long_forms_of_a_column_mean_the_same(tmp_path: Path) -> None:
    text = 'name = "mine"' + LEADS % ', a = "title", b = { to = ["country"] }, c = ["industry", "attrs"]'
    columns = load_mapping(write(tmp_path, text)).leads.columns
    assert [columns[name].targets for name in ("a", "b", "c", "rank")] == [
        ("title",),
        ("country",),
        ("industry", "attrs"),
        (),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", r"mine\.toml: Invalid value"),
        ('name = "x"\ntables = []', "exactly one table with role 'leads', this one has 0"),
        (
            'name = "x"' + LEADS % ', t = "titel"',
            r"'titel' is no column for role leads; did you mean 'title'",
        ),
        ('name = "x"' + LEADS % ', t = "outcome.amnt"', r"did you mean 'outcome.amount'"),
        (
            'name = "x"' + LEADS % ', t = "activity.channel"',
            r"'activity.channel' is no column for role leads",
        ),
        ('name = "x"' + LEADS % ', t = "lead_id"', r"'id' and 't' both become lead\.lead_id; keep one"),
        (
            'name = "x"' + LEADS % ', t = { too = "title" }',
            r"tables\.0\.columns\.t\.too: there is no such setting",
        ),
        ('name = "x"' + LEADS % ', t = { to = "title", timezone = "Berlin" }', r"'Berlin' is no time zone"),
        ('name = "x"' + LEADS % ', t = "outcome.outcome"', r"nothing becomes outcome\.outcome_at"),
        (
            'name = "x"'
            + LEADS % ""
            + '[[tables]]\nrole = "outcomes"\ncolumns = { at = "outcome_at", o = "outcome" }',
            r"nothing becomes outcome\.lead_id in the table with role 'outcomes'",
        ),
        (
            'name = "x"'
            + LEADS % ""
            + '[[tables]]\nrole = "activities"\ncolumns = { at = "occurred_at", o = "activity_type" }\n'
            + 'lead_key = { column = "o", matches = "ranks" }',
            r"lead_key matches 'ranks', which the leads do not list; did you mean 'rank'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(MappingError, match=message):
        load_mapping(write(tmp_path, text))


def test_an_unknown_name_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="no mapping 'x_educaton'; did you mean 'x_education'"):
        load_mapping("x_educaton")
    with pytest.raises(MappingError, match=r"nothing\.toml cannot be read"):
        load_mapping(tmp_path / "nothing.toml")


def test_derived_time_needs_a_clock_and_a_listed_column(tmp_path: Path) -> None:
    layout = "[derived_time]\norder_by = '%s'\ncohort_days = 14\noutcome_after_days = 14\n"
    layout += "cohort_ends_days_before_clock = [151, 137, 67, 0]\n"
    with pytest.raises(MappingError, match="derived_time needs a clock"):
        load_mapping(write(tmp_path, 'name = "x"\n' + layout % "rank" + LEADS % ""))
    with pytest.raises(MappingError, match="order_by names 'rnk'"):
        load_mapping(write(tmp_path, 'name = "x"\n' + LABEL + layout % "rnk" + LEADS % ""))
    assert load_mapping(write(tmp_path, 'name = "x"\n' + LABEL + layout % "rank" + LEADS % "")).derived_time


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cohort_ends_days_before_clock": (151, 137, 67, 1)}, "last cohort must end at the clock"),
        ({"outcome_after_days": 13}, "outcomes precede their snapshot"),
        ({"outcome_after_days": 15}, "leads are seen twice"),
        (
            {"cohort_ends_days_before_clock": (151, 137, 60, 0)},
            "60 days before the clock is at no training snapshot",
        ),
        (
            {"cohort_ends_days_before_clock": (151, 140, 67, 0)},
            "140 days before the clock is at no training snapshot",
        ),
        ({"cohort_ends_days_before_clock": (137, 151, 67, 0)}, "at least 14 days apart, oldest first"),
        ({"cohort_ends_days_before_clock": (151, 81, 67, 0)}, "at least 67 days before the last but one"),
    ],
)
def test_a_layout_that_would_leak_or_teach_nothing_is_refused(change: dict[str, Any], message: str) -> None:
    layout = DerivedTime.model_validate({"order_by": "rank"} | LAYOUT | change)
    with pytest.raises(ValueError, match=message):
        layout.check(horizon_days=60, reporting_lag_days=7, snapshot_every_days=14)


@given(st.lists(st.integers(-50, 50), min_size=4, max_size=60))
def test_laid_out_times_follow_the_order_and_lie_strictly_inside_their_cohort(order: list[int]) -> None:
    layout = DerivedTime.model_validate({"order_by": "rank"} | LAYOUT)
    clock = date(2020, 1, 6)
    times = layout.times(pl.Series(order, dtype=pl.Float64), clock)
    created = times["created_at"].to_list()
    by_order = [created[i] for i in sorted(range(len(order)), key=lambda i: (order[i], i))]
    assert by_order == sorted(set(created))
    midnight = datetime(2020, 1, 6, tzinfo=UTC)
    ends = [midnight - timedelta(days=days) for days in (151, 137, 67, 0)]
    sizes = [sum(end - timedelta(days=14) < at < end for at in created) for end in ends]
    assert sum(sizes) == len(order)
    assert max(sizes) - min(sizes) <= 1
    assert (times["outcome_at"] - times["created_at"]).unique().to_list() == [timedelta(days=14)]


def read(kind: Any, rule: dict[str, Any], *texts: Any) -> tuple[list[Any], list[bool]]:
    values = clean(pl.Series(list(texts)), ("n/a",))
    column = ColumnRule.model_validate(rule)
    parsed = parse(values, kind, column)
    return parsed.to_list(), unreadable(values, parsed, column).to_list()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        ({}, "1,234.5", 1234.5),
        ({}, "-1e3", -1000.0),
        ({}, "1,23", None),
        ({}, "1,5", None),
        ({}, "inf", None),
        ({}, "NaN", None),
        ({}, "12 km", None),
        ({"decimal": ","}, "1.234,5", 1234.5),
        ({"decimal": ","}, "1,5", 1.5),
        ({"decimal": ","}, "1.5", None),
    ],
)
def test_numbers_are_read_with_their_mark_or_not_at_all(
    rule: dict[str, Any], text: str, value: float | None
) -> None:
    assert read("number", rule, text) == ([value], [value is None])


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        ({}, "2024-01-02T03:04:05Z", at("2024-01-02 03:04:05")),
        ({}, "2024-01-02 03:04:05.25+01:00", at("2024-01-02 02:04:05.25")),
        ({}, "2024-01-02T03:04:05", at("2024-01-02 03:04:05")),
        ({}, "2024-01-02 03:04", at("2024-01-02 03:04")),
        ({}, "2024-01-02", None),
        ({}, "0001-01-01 00:00:00", None),
        ({}, "9999-12-31 00:00:00", None),
        ({"timezone": "Europe/Berlin"}, "2024-07-01 12:00:00", at("2024-07-01 10:00")),
        ({"timezone": "Europe/Berlin"}, "2024-10-27 02:30:00", at("2024-10-27 00:30")),
        ({"timezone": "Europe/Berlin"}, "2024-03-31 02:30:00", None),
        ({"format": ["%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p"]}, "12/31/2023 11:59 PM", at("2023-12-31 23:59")),
    ],
)
def test_times_are_read_in_their_format_and_zone(
    rule: dict[str, Any], text: str, value: datetime | None
) -> None:
    assert read("timestamp", rule, text) == ([value], [value is None])


def test_dates_are_midnights_in_utc_whatever_the_zone() -> None:
    rule = {"format": "%d/%m/%Y", "timezone": "America/Sao_Paulo"}
    assert read("date", rule, "31/12/2023", "30/02/2023", "n/a") == (
        [at("2023-12-31"), None, None],
        [False, True, False],
    )


def test_recoded_words_null_tokens_and_booleans() -> None:
    assert read("text", {"values": {"1": "won", "?": ""}}, "1", "?", " n/a ", "2") == (
        ["won", None, None, "2"],
        [False] * 4,
    )
    assert read("bool", {}, "Yes", "no", "maybe") == ([True, False, None], [False, False, True])
    assert read("bool", {"values": {"X": "yes"}}, "X", None) == ([True, None], [False, False])


def test_typed_columns_of_a_parquet_file_are_taken_as_they_are() -> None:
    assert read("timestamp", {"timezone": "Europe/Berlin"}, datetime(2024, 7, 1, 12)) == (
        [at("2024-07-01 10:00")],
        [False],
    )
    assert read("timestamp", {}, datetime(2024, 7, 1, 12, tzinfo=UTC)) == ([at("2024-07-01 12:00")], [False])
    assert read("date", {}, date(2024, 7, 1)) == ([at("2024-07-01")], [False])
    assert read("timestamp", {}, 7) == ([None], [True])
    assert read("number", {}, 7) == ([7.0], [False])
    assert read("text", {}, 7) == (["7"], [False])
