"""T1 on small daily tables: silent on quiet ones, loud once per fault, blind to holidays."""

import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from flows.monitors.integrity import IntegrityState, check_integrity
from flows.monitors.profile import Profile, bin_value, merge, profile, quantile_bin

START = date(2025, 1, 6)
WEEKDAYS = np.array([1.15, 1.2, 1.2, 1.1, 0.95, 0.35, 0.3])


def table(rng, rows):
    return pl.DataFrame(
        {
            "lead_source": rng.choice(["web", "fair", "list"], rows, p=[0.6, 0.3, 0.1]),
            "industry": [None if c == "z" else str(c) for c in rng.choice([*"abcdz"], rows)],
            "revenue": np.where(rng.random(rows) < 0.1, np.nan, np.exp(rng.normal(13, 1.5, rows))),
            "title": [f"title {k}" for k in rng.integers(0, 10_000, rows)],
        },
        schema_overrides=dict.fromkeys(["industry", "lead_source", "title"], pl.String),
    )


def world(n_days, seed=0, mean=80):
    """Daily tables with weekdays and with volume that varies by a fifth more than Poisson."""
    rng = np.random.default_rng(seed)
    days = [START + timedelta(days=k) for k in range(n_days)]
    rates = [mean * WEEKDAYS[day.weekday()] * rng.gamma(25, 1 / 25) for day in days]
    return {day: table(rng, int(rng.poisson(rate))) for day, rate in zip(days, rates, strict=True)}


def nights(tables, first, holidays=frozenset()):
    """Run every night from the index `first` on; returns all readings that are alarms, by day."""
    profiles = [profile(frame, day) for day, frame in tables.items()]
    state, alarms = IntegrityState(), {}
    for index in range(first, len(profiles)):
        day = date.fromisoformat(profiles[index].day)
        state, readings = check_integrity(
            state, "lead", profiles[max(0, index - 126) : index + 1], day, holidays
        )
        state = IntegrityState.from_dict(json.loads(json.dumps(state.to_dict())))
        json.dumps([reading.to_dict() for reading in readings])
        alarms[day] = [reading for reading in readings if reading.is_alarm]
    return alarms


def pages(alarms):
    return [reading.subject for found in alarms.values() for reading in found if reading.is_page]


def broken(fault, first_bad=43, n_days=51, **options):
    tables = world(n_days, **options)
    for day in list(tables)[first_bad:]:
        tables[day] = fault(tables[day])
    return nights(tables, first_bad - 5), list(tables)[first_bad]


def test_quiet_weeks_do_not_page_and_hardly_block():
    found = [nights(world(110, seed), 30) for seed in range(3)]
    assert sum(len(pages(alarms)) for alarms in found) == 0
    assert sum(bool(listed) for alarms in found for listed in alarms.values()) <= 3


@pytest.mark.parametrize(
    ("subject", "fault", "words"),
    [
        ("schema lead", lambda f: f.drop("revenue"), "column revenue is gone"),
        (
            "schema lead",
            lambda f: f.with_columns(pl.col("revenue").cast(pl.String)),
            "is now String, was Float64",
        ),
        (
            "null_share lead.industry",
            lambda f: f.with_columns(industry=pl.lit(None, pl.String)),
            "industry is missing in 100 % of rows, usually",
        ),
        (
            "null_share lead.industry",
            lambda f: f.with_columns(
                pl.when(pl.int_range(pl.len()) % 2 == 0).then("industry").alias("industry")
            ),
            "industry is missing in",
        ),
        (
            "new_levels lead.lead_source",
            lambda f: f.with_columns(pl.col("lead_source").str.to_uppercase()),
            "100 % of rows have a new lead_source: 'FAIR'",
        ),
        ("median lead.revenue", lambda f: f.with_columns(pl.col("revenue") * 100), "revenue is typically"),
        (
            "range lead.revenue",
            lambda f: f.with_columns(
                pl.when(pl.int_range(pl.len()) % 4 == 0)
                .then(-pl.col("revenue"))
                .otherwise("revenue")
                .alias("revenue")
            ),
            "more values of revenue than usual are outside",
        ),
        ("volume lead", lambda f: f.head(f.height // 8), "are usual on this weekday"),
        ("volume lead", lambda f: pl.concat([f] * 4), "are usual on this weekday"),
    ],
)
def test_a_fault_is_an_alarm_the_first_night_and_one_page(subject, fault, words):
    alarms, first = broken(fault)
    listed = {reading.subject: reading for reading in alarms[first]}
    assert subject in listed
    assert words in listed[subject].words
    assert listed[subject].words.startswith("lead: ")
    assert listed[subject].words.endswith("since 18 February 2025")
    assert pages(alarms).count(subject) == 1


def test_schema_pages_at_once_and_noise_is_confirmed_first():
    alarms, first = broken(lambda f: f.drop("revenue"))
    assert [r.subject for r in alarms[first] if r.is_page] == ["schema lead"]
    alarms, first = broken(lambda f: f.with_columns(industry=pl.lit(None, pl.String)))
    paged = [[r.subject for r in alarms[first + timedelta(days=k)] if r.is_page] for k in range(4)]
    assert paged == [[], [], ["null_share lead.industry"], []]


def test_one_odd_upload_blocks_a_night_but_pages_nobody():
    tables = world(46)
    day = list(tables)[40]
    tables[day] = tables[day].with_columns(industry=pl.lit(None, pl.String))
    alarms = nights(tables, 38)
    assert [r.subject for r in alarms[day]] == ["null_share lead.industry"]
    assert pages(alarms) == []


def test_nothing_arriving_is_seen_even_without_a_profile():
    tables = world(44)
    days = list(tables)
    profiles = [profile(tables[day], day) for day in days[:42]]
    state, readings = check_integrity(IntegrityState(), "lead", profiles, days[42])
    assert next(r.words for r in readings if r.is_alarm).startswith("lead: 0 rows where")
    _, readings = check_integrity(state, "lead", profiles, days[43])
    assert any(r.is_page for r in readings)


def test_half_the_past_gone_is_seen_at_once():
    tables = world(43)
    profiles = [profile(frame, day) for day, frame in tables.items()]
    day = list(tables)[-1]
    whole = {when: frame.height for when, frame in tables.items()}
    nearly = {when: n - (k % 9 == 0) for k, (when, n) in enumerate(whole.items())}
    half = {when: n // 2 for when, n in whole.items()}
    for counted, is_alarm in ((whole, False), (nearly, False), (half, True)):
        _, readings = check_integrity(IntegrityState(), "lead", profiles, day, recounted=counted)
        found = [r for r in readings if r.subject == "vanished lead"]
        assert [(r.is_alarm, r.is_page) for r in found] == [(is_alarm, is_alarm)]
    assert "51 % of the rows" in found[0].words or "50 % of the rows" in found[0].words


def test_holidays_say_nothing_about_volume():
    tables = world(46)
    quiet = list(tables)[35:38]
    for day in quiet:
        tables[day] = tables[day].head(2)
    assert "volume lead" in pages(nights(tables, 33))
    assert pages(nights(tables, 33, frozenset(quiet))) == []


def test_small_tables_are_watched_by_the_week():
    alarms, _ = broken(lambda f: f.with_columns(industry=pl.lit(None, pl.String)), n_days=75, mean=8)

    assert "null_share lead.industry" in pages(alarms)
    quiet = nights(world(100, 5, mean=8), 40)
    assert pages(quiet) == []
    silent, _ = broken(lambda f: f.clear(), n_days=56, mean=8)
    assert pages(silent) == ["volume lead"]


def test_an_accepted_change_falls_silent():
    alarms, first = broken(lambda f: f.with_columns(pl.col("revenue") * 100), n_days=90)
    assert pages(alarms).count("median lead.revenue") == 1
    assert all(not listed for day, listed in alarms.items() if (day - first).days >= 45)


def test_order_of_profiles_and_rows_is_irrelevant():
    tables = world(42)
    day = list(tables)[-1]
    profiles = [profile(frame, when) for when, frame in tables.items()]
    shuffled = [
        profile(frame.sample(fraction=1, shuffle=True, seed=1), when) for when, frame in tables.items()
    ][::-1]
    assert check_integrity(IntegrityState(), "lead", profiles, day) == check_integrity(
        IntegrityState(), "lead", shuffled, day
    )


def test_profile_counts_and_survives_json():
    frame = pl.DataFrame(
        {"x": [1.0, 10.0, -3.0, 0.0, None, float("nan")], "s": ["a", "a", None, "b", "b", "b"]}
    )
    one = profile(frame, START)
    assert (one.rows, dict(one.nulls), dict(one.levels["s"])) == (6, {"x": 2, "s": 1}, {"a": 2, "b": 3})
    assert sum(one.sizes["x"].values()) == 4
    assert list(one.sizes["x"]) == sorted(one.sizes["x"])
    assert Profile.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    both = merge([one, one])
    assert (both.rows, both.levels["s"]["b"]) == (12, 6)


@pytest.mark.parametrize("value", [0.003, 1.0, 5.5, 1e9, -20.0])
def test_bins_hold_their_values_to_a_seventh(value):
    bins = profile(pl.DataFrame({"x": [value] * 3}), START).sizes["x"]
    assert bin_value(quantile_bin(bins, 0.5)) == pytest.approx(value, rel=0.16)


def test_too_short_a_past_is_refused():
    tables = world(10)
    profiles = [profile(frame, day) for day, frame in tables.items()]
    with pytest.raises(ValueError, match=r"lead: 9 days before .* are too few"):
        check_integrity(IntegrityState(), "lead", profiles, list(tables)[-1])
    with pytest.raises(ValueError, match="no profiles"):
        merge([])
