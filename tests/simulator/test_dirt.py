"""The dirt that a pipeline has to survive is really there."""

from datetime import timedelta

import polars as pl

from tests.simulator.worlds import tables


def test_sizes_follow_a_power_law_and_hierarchies_have_no_cycles():
    accounts = tables()["crm.account"].with_row_index()
    size = accounts["number_of_employees"].drop_nulls().sort(descending=True)
    assert size.head(len(size) // 100).sum() > 0.2 * size.sum()
    parent = dict(accounts.filter(pl.col("parent_id").is_not_null()).select("id", "parent_id").iter_rows())
    assert len(parent) > 0.05 * len(accounts)
    for start in parent:
        seen, here = set(), start
        while here in parent:
            assert here not in seen
            seen.add(here)
            here = parent[here]


def test_merged_leads_point_to_a_lead_that_was_not_merged_away():
    leads = tables()["crm.lead"]
    merged = leads.filter(pl.col("master_record_id").is_not_null())
    assert len(merged) > 10
    assert merged["is_deleted"].all()
    masters = leads.filter(pl.col("id").is_in(merged["master_record_id"].implode()))
    assert masters["master_record_id"].null_count() == len(masters)
    same_person = merged.join(leads, left_on="master_record_id", right_on="id", suffix="_kept")
    assert (same_person["email"].fill_null("") == same_person["email_kept"].fill_null("")).all()


def test_some_rows_land_twice_and_some_days_late():
    for name in ("crm.web_event", "crm.email_event", "crm.task"):
        events = tables()[name]
        repeats = len(events) - events["id"].n_unique()
        assert 0 < repeats < 0.02 * len(events), name
    gap = tables()["crm.web_event"].select(pl.col("_synced") - pl.col("occurred_at")).to_series()
    late = (gap > timedelta(hours=12)).mean()
    assert 0.02 < late < 0.08
    assert (gap >= timedelta(0)).all()


def test_gateways_click_every_link_within_seconds_and_are_not_always_flagged():
    mail = tables()["crm.email_event"].unique("id", keep="first").sort("lead_id", "occurred_at")
    clicks = mail.filter(event_type="click")
    window = timedelta(seconds=15)
    bursts = (
        clicks.with_columns(previous=pl.col("occurred_at").shift(4).over("lead_id"))
        .filter(pl.col("occurred_at") - pl.col("previous") <= window)
        .select("lead_id", "is_machine")
    )
    assert bursts["lead_id"].n_unique() > 100
    assert 0.4 < bursts["is_machine"].mean() < 0.8


def test_values_are_missing_and_values_are_corrected():
    leads = tables()["crm.lead"]
    for column in ("title", "industry", "country", "number_of_employees", "email", "matched_account_c"):
        assert 0.01 < leads[column].null_count() / len(leads) < 0.5, column
    changes = tables()["crm.lead_history"]
    assert set(changes["field"]) == {"Status", "Title", "NumberOfEmployees"}
    now = changes.filter(field="Title").join(leads, left_on="lead_id", right_on="id")
    assert (now["new_value"] == now["title"]).all()


def test_stages_go_back_as_well_as_forward():
    rank = {"New": 0, "Nurturing": 1, "Working": 2, "Engaged": 3, "Qualified": 4, "Negotiation": 5}
    moves = tables()["crm.lead_history"].filter(
        pl.col("field") == "Status", pl.col("old_value").is_not_null(), pl.col("new_value").is_in(list(rank))
    )
    step = moves.select(
        pl.col("new_value").replace_strict(rank, return_dtype=pl.Int64)
        - pl.col("old_value").replace_strict(rank, return_dtype=pl.Int64)
    ).to_series()
    assert (step < 0).mean() > 0.05
    assert (step > 0).mean() > 0.05


def test_weekends_are_quiet():
    web = tables()["crm.web_event"]["occurred_at"].dt.weekday()
    assert (web >= 6).mean() < 0.12


def test_plans_and_date_only_tasks_are_among_the_tasks():
    tasks = tables()["crm.task"]
    assert tasks.filter(pl.col("status") != "Completed")["completed_date_time"].null_count() > 5
    assert tasks.filter(pl.col("status") == "Completed", pl.col("completed_date_time").is_null()).height > 5
