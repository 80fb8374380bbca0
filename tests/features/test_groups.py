"""What each group says, on cases small enough to work out by hand, and against a naive count."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings

from features.account import account
from features.activity import activity
from features.attrs import attrs, discover
from features.calendar import calendar
from features.email_domains import domain_kind
from features.engagement import engagement
from features.fields import spells, value_at
from features.lead import lead
from features.sources import Sources
from features.spine import spine
from features.stage import stage
from features.titles import department, seniority
from features.track_record import track_record
from tests.features.worlds import at, day, sources, worlds

naive = settings(max_examples=15, deadline=None, derandomize=True)


def a_lead(lead_id: str = "L1", created: float = 0, **fields) -> dict:
    return {"lead_id": lead_id, "created_at": at(created), "known_at": at(created), **fields}


def a_touch(kind: str, when: float, known: float | None = None, lead_id: str = "L1", **fields) -> dict:
    known_at = at(when if known is None else known)
    touch = {
        "activity_id": f"{kind}{when}",
        "lead_id": lead_id,
        "activity_type": kind,
        "occurred_at": at(when),
    }
    return touch | {"known_at": known_at} | fields


def at_day(world: Sources, on: int, lead_id: str = "L1") -> pl.DataFrame:
    return spine(world, [day(on)], max_age_days=400).filter(pl.col("lead_id") == lead_id)


def test_a_window_holds_its_first_midnight_and_not_its_last():
    world = sources(
        lead=[a_lead()], activity=[a_touch("call", 93), a_touch("call", 100), a_touch("call", 92.999)]
    )
    made = activity(world, at_day(world, 100))
    assert made["activity_call_count_7d"].to_list() == [1]
    assert made["activity_call_count_30d"].to_list() == [2]
    assert made["activity_call_recency_days"].to_list() == [7]


def test_a_late_activity_counts_from_the_day_after_it_arrives():
    world = sources(lead=[a_lead()], activity=[a_touch("web_visit", 50, known=55.5)])
    rows = spine(world, [day(55), day(56)], max_age_days=400)
    assert activity(world, rows)["activity_web_visit_count_30d"].to_list() == [0, 1]


def test_a_burst_is_no_person_once_its_third_click_has_arrived():
    second = 1 / 86_400
    clicks = [a_touch("email_click", 50 + i * 5 * second, known=k) for i, k in enumerate((50.1, 50.1, 60.5))]
    world = sources(lead=[a_lead()], activity=clicks)
    rows = spine(world, [day(60), day(61)], max_age_days=400)
    made, decayed = activity(world, rows), engagement(world, rows)
    assert made["activity_email_click_count_30d"].to_list() == [2, 0]
    assert made["activity_bot_count_30d"].to_list() == [0, 3]
    assert decayed["engagement_email_click_decay_14d"].to_list() == [pytest.approx(2 * 2 ** (-10 / 14)), 0]
    assert decayed["engagement_bot_share_90d"].to_list() == [0, 1]


def test_clicks_eleven_seconds_apart_are_people():
    second = 1 / 86_400
    clicks = [a_touch("email_open", 50 + seconds * second) for seconds in (0, 6, 11)]
    world = sources(lead=[a_lead()], activity=clicks)
    assert activity(world, at_day(world, 60))["activity_email_open_count_30d"].to_list() == [3]


def test_trend_tells_fresh_interest_from_old():
    world = sources(
        lead=[a_lead("L1"), a_lead("L2")],
        activity=[a_touch("web_visit", 99.5), a_touch("web_visit", 60.5, lead_id="L2")],
    )
    made = engagement(world, spine(world, [day(100)], max_age_days=400))
    fresh, old = made["engagement_trend_3d_45d"]
    assert fresh > 0.8
    assert old < 0.01


def test_stage_reads_history_and_counts_returns():
    entered = [("new", 1), ("working", 5), ("working", 6), ("new", 9), ("qualified", 30)]
    history = [{"lead_id": "L1", "stage": s, "entered_at": at(d), "known_at": at(d)} for s, d in entered]
    world = sources(lead=[a_lead()], stage=history)
    made = stage(world, at_day(world, 20)).drop("lead_id", "snapshot_date", "account_id", "owner_id")
    assert made.to_dicts() == [
        {
            "stage_current": "new",
            "stage_entry_count": 3,
            "stage_distinct_count": 2,
            "stage_days_in_current": 11.0,
            "stage_days_since_first": 19.0,
            "stage_return_count": 1,
        }
    ]


def test_lead_fields_are_those_of_the_snapshot():
    renamed = {
        "entity": "lead",
        "entity_id": "L1",
        "field": "title",
        "valid_from": at(10),
        "valid_to": at(40),
    }
    later = {"entity": "lead", "entity_id": "L1", "field": "title", "valid_from": at(40), "value": "CEO"}
    world = sources(
        lead=[a_lead(title="CEO", email_domain="mail.uni-graz.at")],
        field_history=[renamed | {"value": "Sales Manager"}, later],
    )
    rows = spine(world, [day(20), day(40), day(41)], max_age_days=400)
    made = lead(world, rows)
    assert made["lead_seniority"].to_list() == ["manager", "manager", "c_level"]
    assert made["lead_department"].to_list() == ["sales", "sales", "management"]
    assert made["lead_age_days"].to_list() == [20, 40, 41]
    assert made["lead_email_domain_kind"].to_list() == ["education"] * 3
    assert made["lead_completeness"].to_list() == [pytest.approx(2 / 7)] * 3


@pytest.mark.parametrize(
    ("title", "level", "part"),
    [
        ("Vice President of Engineering", "vp", "engineering"),
        ("Assistant to the CEO", "junior", "management"),
        ("Head of Human Resources", "director", "people"),
        ("Senior Accountant", "senior", "finance"),
        ("Geschäftsführer", "c_level", "management"),
        ("Beekeeper", "individual", "other"),
        ("  ", None, None),
        (None, None, None),
    ],
)
def test_titles(title, level, part):
    titles = pl.Series([title], dtype=pl.String)
    assert (seniority(titles)[0], department(titles)[0]) == (level, part)


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        ("GMAIL.com", "free_mail"),
        ("yahoo.co.uk", "free_mail"),
        ("cs.mit.edu", "education"),
        ("ox.ac.uk", "education"),
        ("treasury.gov.au", "government"),
        ("acme.com", "corporate"),
        ("", None),
        (None, None),
    ],
)
def test_domains(domain, kind):
    assert pl.select(domain_kind(pl.lit(domain, dtype=pl.String))).item() == kind


def test_calendar_counts_to_the_end_of_the_quarter():
    world = sources(lead=[a_lead(created=3.75)])
    made = calendar(world, at_day(world, 88))
    assert made["calendar_days_to_quarter_end"].to_list() == [2]
    assert made["calendar_created_hour"].to_list() == [18]
    assert made["calendar_created_is_weekend"].to_list() == [True]


@given(world=worlds(n_leads=12))
@naive
def test_account_counts_agree_with_a_naive_count(world):
    rows = spine(world, [day(60), day(120), day(180)], max_age_days=200)
    made = account(world, rows)
    for row in made.iter_rows(named=True):
        mates = _mates(world, row)
        known = world.outcome.filter(pl.col("known_at") < _start(row))
        won, lost = (set(known.filter(is_conversion=kind)["lead_id"]) for kind in (True, False))
        assert row["account_other_lead_count"] == len(mates)
        assert row["account_won_count"] == len(won & set(mates))
        assert row["account_lost_count"] == len(lost & set(mates))


def _start(row: dict):
    return at((row["snapshot_date"] - day(0)).days)


def _mates(world: Sources, row: dict) -> list[str]:
    """Other leads that were known, not removed, and of the same account at the row's snapshot."""
    known = world.lead.filter(pl.col("known_at") < _start(row))
    here = known.filter(
        ~(pl.col("removed_at") < _start(row)).fill_null(False), pl.col("lead_id") != row["lead_id"]
    )
    of_account = value_at(
        world, "lead", "account_id", here.with_columns(snapshot_date=pl.lit(row["snapshot_date"]))
    )
    return [
        i
        for i, a in zip(here["lead_id"], of_account, strict=True)
        if a == row["account_id"] and a is not None
    ]


@given(world=worlds(n_leads=12, n_activities=80))
@naive
def test_touches_of_other_leads_agree_with_their_own_counts(world):
    rows = spine(world, [day(60), day(120), day(180)], max_age_days=200)
    for row in account(world, rows).iter_rows(named=True):
        mates = pl.DataFrame({"lead_id": _mates(world, row)}, schema={"lead_id": pl.String}).with_columns(
            snapshot_date=pl.lit(row["snapshot_date"]), account_id=pl.lit("A"), owner_id=pl.lit("O")
        )
        assert row["account_other_touch_count_30d"] == activity(world, mates)["activity_count_30d"].sum()


@given(world=worlds())
@naive
def test_spells_show_what_value_at_looks_up(world):
    shown = spells(world, "lead", "owner_id")
    on = [day(d) for d in (1, 50, 51, 120, 199, 300)]
    keys = world.lead.select("lead_id").join(pl.DataFrame({"snapshot_date": on}), how="cross")
    covers = (pl.col("start") <= pl.col("snapshot_date")).fill_null(True) & (
        pl.col("snapshot_date") < pl.col("end")
    ).fill_null(True)
    found = keys.join(shown, on="lead_id").filter(covers).select("lead_id", "snapshot_date", "value")
    looked_up = keys.with_columns(value=value_at(world, "lead", "owner_id", keys)).drop_nulls("value")
    assert found.drop_nulls("value").sort(pl.all()).equals(looked_up.sort(pl.all()))


def test_family_spans_all_accounts_under_one_top_parent_and_circles_end():
    accounts = [("top", None), ("left", "top"), ("right", "top"), ("a", "b"), ("b", "a")]
    world = sources(
        lead=[
            a_lead("L1", account_id="left"),
            a_lead("L2", account_id="right"),
            a_lead("L3", account_id="a"),
        ],
        account=[{"account_id": i, "parent_id": p} for i, p in accounts],
    )
    made = account(world, spine(world, [day(9)], max_age_days=99))
    assert made["account_family_other_lead_count"].to_list() == [1, 1, 0]
    assert made["account_other_lead_count"].to_list() == [0, 0, 0]
    assert made["account_has_parent"].to_list() == [True, True, True]


@given(world=worlds(n_leads=15))
@naive
def test_track_record_agrees_with_a_naive_count(world):
    rows = spine(world, [day(60), day(130), day(180)], max_age_days=200)
    outcomes = {i["lead_id"]: i for i in world.outcome.filter("is_conversion").iter_rows(named=True)}
    for row in track_record(world, rows).iter_rows(named=True):
        start, own = (
            _start(row),
            value_at(world, "lead", "lead_source", rows.filter(lead_id=row["lead_id"]))[0],
        )
        cohort = [i for i in world.lead.iter_rows(named=True) if _in_cohort(i, start)]
        won = [i for i in cohort if _won_in_time(i, outcomes.get(i["lead_id"]), start)]
        mine = [i for i in cohort if i["lead_source"] == own]
        assert row["track_record_source_lead_count_30d"] == len(mine)
        rate = None
        if cohort:
            rate = (len([i for i in won if i in mine]) + 20 * len(won) / len(cohort)) / (len(mine) + 20)
        assert row["track_record_source_rate_30d"] == (None if rate is None else pytest.approx(rate))


def _in_cohort(row: dict, start) -> bool:
    born = row["created_at"].replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=31)
    is_removed = row["removed_at"] is not None and row["removed_at"] < start
    return born <= start < born + timedelta(days=180) and row["known_at"] < start and not is_removed


def _won_in_time(row: dict, outcome: dict | None, start) -> bool:
    if outcome is None or outcome["known_at"] >= start:
        return False
    return row["created_at"] <= outcome["outcome_at"] < row["created_at"] + timedelta(days=30)


def test_attrs_types_a_key_by_all_of_its_values():
    texts = [
        '{"n": 1, "s": "1.5e3", "c": "x", "mixed": 1, "flag": true}',
        '{"n": null, "s": " 7 ", "mixed": "a"}',
        None,
    ]
    world = sources(lead=[a_lead(f"L{i}", attrs=text) for i, text in enumerate(texts)])
    assert discover(world.lead) == {
        "c": "category", "flag": "category", "mixed": "category", "n": "numeric", "s": "numeric"
    }  # fmt: skip
    made = attrs(world, spine(world, [day(5)], max_age_days=9))
    assert made["attrs_s"].to_list() == [1500.0, 7.0, None]
    assert made["attrs_mixed"].to_list() == ["1", "a", None]
    assert made["attrs_flag"].to_list() == ["true", None, None]


def test_attrs_makes_the_columns_it_is_told_to():
    world = sources(lead=[a_lead(attrs='{"new": 1, "size": "many"}')])
    made = attrs(world, at_day(world, 5), kinds={"size": "numeric", "gone": "category"})
    assert made.columns[4:] == ["attrs_size", "attrs_gone"]
    assert made.select("attrs_size", "attrs_gone").row(0) == (None, None)


@pytest.mark.parametrize(("text", "complaint"), [("{", "is not JSON"), ("[1]", "is a list")])
def test_attrs_names_the_lead_whose_json_is_broken(text, complaint):
    world = sources(lead=[a_lead("L7", attrs=text)])
    with pytest.raises(ValueError, match=f"attrs of lead 'L7' {complaint}"):
        attrs(world, at_day(world, 5, "L7"))
