"""T1 on small daily tables: silent on quiet ones, loud once per fault, blind to holidays."""

import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from flows.monitors.arrivals import watch_arrivals
from flows.monitors.integrity import check_integrity
from flows.monitors.integrity_state import ACCEPT_AFTER_DAYS, KEPT_DAYS, Incident, IntegrityState, Standing
from flows.monitors.profile import Profile, bin_value, count_only, merge, profile, quantile_bin

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


def nights(tables, first, holidays=frozenset(), left_out=()):
    """Run T1 from the index `first` on; returns all readings that are alarms, by day.

    Of days without a night of their own, `left_out`, rows were counted later.
    """
    profiles = [profile(frame, day) for day, frame in tables.items()]
    profiles = [count_only(one) if date.fromisoformat(one.day) in left_out else one for one in profiles]
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
    nightly = [subject in {reading.subject for reading in found} for found in alarms.values()]
    assert nightly[5:] == [True] * len(nightly[5:]), "a Sunday with few rows is no repair"


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


NULL = "null_share lead.industry"


def all_null(frame):
    return frame.with_columns(industry=pl.lit(None, pl.String))


@pytest.mark.parametrize("left_out", [[1], [3], [5, 6], [1, 3, 5, 7, 9, 11]])
def test_days_that_cannot_be_checked_neither_end_nor_confirm_an_alarm(left_out):
    tables = world(57, mean=200)
    days = list(tables)
    for day in days[43:]:
        tables[day] = all_null(tables[day])
    unchecked = [days[43 + k] for k in left_out]
    alarms = nights(tables, 38, left_out=unchecked)
    assert pages(alarms) == [NULL]
    third = [day for day in days[43:] if day not in unchecked][2]
    assert [reading.subject for reading in alarms[third] if reading.is_page] == [NULL]
    for day in days[43:]:
        (one,) = alarms[day]
        assert one.details["since"] == str(days[43])
        assert one.statistic <= one.threshold
        assert ("could not be checked" in one.words) == (day in unchecked)
        assert one.words.startswith("lead: industry is missing in 100 % of rows")


def test_a_feed_that_stops_before_holidays_is_one_page():
    tables = world(56)
    days = list(tables)
    for day in days[43:]:
        tables[day] = tables[day].clear()
    alarms = nights(tables, 38, holidays=frozenset(days[45:49]))
    assert pages(alarms) == ["volume lead"]
    assert all(alarms[day] for day in days[43:])


def test_a_table_that_cannot_be_judged_keeps_its_alarms_for_a_month():
    profiles = {day: profile(frame, day) for day, frame in world(10).items()}
    day = max(profiles)
    for age, stands in ((ACCEPT_AFTER_DAYS - 1, True), (ACCEPT_AFTER_DAYS, False)):
        since = (day - timedelta(days=age)).isoformat()
        old = {"standing": {NULL: {"since": since, "sets": 3, "counted_on": since, "is_paged": True}}}
        state = IntegrityState.from_dict(old)  # as nights wrote it that knew of no incidents
        found = watch_arrivals({"lead": state}, {"lead": profiles}, {"lead": {}}, [day], ())
        assert "are too few" in found.notes[0]
        assert [(one.subject, one.is_alarm, one.is_page) for one in found.readings] == [
            (NULL, True, False)
        ] * stands
        assert list(found.states["lead"].standing) == [NULL] * stands


def test_rows_that_vanished_are_not_back_because_a_night_was_left_out():
    tables = world(45)
    profiles = {day: profile(frame, day) for day, frame in tables.items()}
    days, halved = list(profiles), {day: frame.height // 2 for day, frame in tables.items()}
    first = watch_arrivals({}, {"lead": profiles}, {"lead": halved}, [days[42]], ())
    second = watch_arrivals(first.states, {"lead": profiles}, {"lead": halved}, days[43:], ())
    paged = [[one.subject for one in found.readings if one.is_page] for found in (first, second)]
    assert paged == [["vanished lead"], []]
    assert second.states["lead"].standing["vanished lead"].since == str(days[42])


@pytest.mark.parametrize(
    ("subject", "fault", "length"),
    [
        (
            "null_share lead.lead_source",
            lambda f: f.with_columns(lead_source=pl.lit(None, pl.String)),
            3,
        ),
        (
            "new_levels lead.lead_source",
            lambda f: f.with_columns(pl.col("lead_source").str.to_uppercase()),
            4,
        ),
        ("volume lead", lambda f: f.clear(), 4),
    ],
)
@pytest.mark.parametrize("gap", [14, 28])
def test_a_fault_that_was_repaired_is_seen_again(subject, fault, length, gap):
    tables = world(63 + gap + length)
    days = list(tables)
    for start in (63, 63 + gap):  # Mondays
        for day in days[start : start + length]:
            tables[day] = fault(tables[day])
    alarms = nights(tables, 58)
    assert pages(alarms) == [subject] * 2
    for start in (63, 63 + gap):  # Mondays
        assert all(subject in {one.subject for one in alarms[d]} for d in days[start : start + length])


def test_only_what_was_paged_and_repaired_is_an_incident_and_for_as_long_as_it_matters():
    since = START.isoformat()
    alarms = {name: Standing(since, 3, since, name == "paged") for name in ("paged", "odd")}
    repaired = START + timedelta(days=4)
    state = IntegrityState(alarms).after({}, alarms, repaired)
    assert state == IntegrityState({}, (Incident("paged", since, "2025-01-09"),))
    assert state.incident_days == {START + timedelta(days=k) for k in range(4)}
    assert state.after({}, (), repaired + timedelta(days=KEPT_DAYS - 2)) == state
    assert state.after({}, (), repaired + timedelta(days=KEPT_DAYS - 1)) == IntegrityState()
    accepted = START + timedelta(days=ACCEPT_AFTER_DAYS)
    assert IntegrityState(alarms).after({}, alarms, accepted) == IntegrityState()


def test_an_alarm_that_nobody_was_told_of_waits_a_week_for_its_confirmation():
    since = START.isoformat()
    state = IntegrityState({"volume lead": Standing(since, 1, since, is_paged=False)})
    stands = [len(state.unchecked((), START + timedelta(days=k))) for k in (1, 7, 8)]
    assert stands == [1, 1, 0]


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
