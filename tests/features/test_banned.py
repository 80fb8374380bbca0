import inspect
import re
from pathlib import Path

import polars as pl
import pytest

from features.banned import BANNED_COLUMNS, is_suspect_name
from features.build import GROUPS, build
from features.matrix import NOT_FEATURES
from features.spine import spine
from tests.features.worlds import ATTR_KINDS, day, make_world

ROOT = Path(__file__).parents[2]
# (view, column): why the value as it stands today is right there; no feature reads any of them
ALLOWED = {
    ("account", "is_customer"): "tells sales which accounts to leave alone; features use account_won_count",
    ("outcome", "lost_reason"): "part of the outcome itself, for reports",
    ("activity", "status"): "of the task, not the lead: planned tasks are not touches",
    ("activity", "is_closed"): "of the task, not the lead: planned tasks are not touches",
    ("activity", "statecode"): "of the activity, not the lead: planned ones are not touches",
    ("outcome", "is_converted"): "how the lead ended is what the view is for",
    ("outcome", "converted_date"): "how the lead ended is what the view is for",
    ("outcome", "converted_opportunity_id"): "the deal that a conversion began",
    ("outcome", "status"): "a closing status that nobody logged, dated by the record's last change",
    ("outcome", "statecode"): "how the lead ended is what the view is for",
    ("outcome", "statuscode"): "why the lead was lost",
    ("stage_history", "statuscode"): "the first stage of leads that never moved, where moves are logged",
    ("outcome", "is_won"): "of a deal's stage at the time it was entered",
    ("deal_end", "is_won"): "of a deal's stage at the time it was entered",
    ("deal_end", "lost_reason"): "part of the outcome itself, for reports",
    ("identity_map", "is_converted"): "the contact a lead became, from its conversion on",
    ("identity_map", "converted_date"): "the contact a lead became, from its conversion on",
    ("identity_map", "converted_contact_id"): "the contact a lead became, from its conversion on",
    ("stage_history", "status"): "of dated changes",
    ("status_change", "status"): "the first status of leads that never moved, where moves are logged",
    ("lead_contact", "is_converted"): "the contact a lead became, to find its activities",
    ("lead_contact", "converted_date"): "the contact a lead became, to find its activities",
    ("lead_contact", "converted_contact_id"): "the contact a lead became, to find its activities",
    ("lead_change", "statecode"): "of versions of the record, by date",
    ("lead_change", "statuscode"): "of versions of the record, by date",
    (
        "lead",
        "last_modified_date",
    ): "becomes updated_at, by which newer copies of a lead are told from older ones",
}


@pytest.mark.parametrize(
    "name",
    [
        "status",
        "IsConverted",
        "ConvertedDate",
        "converted_opportunity_id",
        "Last Activity",
        "attrs_LastActivityDate",
        "hs_last_contacted",
        "Tags",
        "Lead Quality",
        "lead_profile",
        "Asymmetrique Activity Index",
        "attrs_tags",
        "Rating",
        "einstein_score",
        "attrs_lead_score__c",
        "close_date",
        "Lead Stage",
        "new_dealprobability",
        "attrs_leadscore__c",
        "lastactivitydate",
        "closedate",
        "wonreason",
        "opportunitystatus",
    ],
)
def test_values_overwritten_in_place_are_suspect(name):
    assert is_suspect_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "attrs_city",
        "attrs_total_visits",
        "attrs_what_is_your_current_occupation",
        "attrs_page_views_per_visit",
        "attrs_specialization",
        "attrs_lead_origin",
        "lead_source",
        "stage_current",
        "created_at",
        "attrs_company_age",
        "wonder",
        "attrs_tagline",
        "contractor",
        "scoreboard",
        "stagecoach",
        "reasonable",
        "orderly",
        "closet",
        "border",
        "attribute",
        "lastname",
        "leadtime",
        "accountid",
        "firstcontactname",
        "onsale",
    ],
)
def test_values_known_at_creation_are_not(name):
    assert not is_suspect_name(name)


def test_no_feature_of_our_own_is_suspect():
    world = make_world(1, 5, 20)
    made = build(world, spine(world, [day(150)], max_age_days=200), ATTR_KINDS)
    assert [name for name in made.columns if name not in NOT_FEATURES and is_suspect_name(name)] == []
    assert pl.Series(made.columns).is_unique().all()


def _columns_used(text: str) -> set[str]:
    code = re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", " ", text, flags=re.DOTALL)
    return set(re.findall(r"[a-z_][a-z0-9_]*", code.lower()))


def test_the_scan_sees_code_and_not_comments_or_text():
    assert _columns_used("SELECT Status, 'rating' AS x -- tags\n/* is_won */ FROM t") == {
        "select",
        "status",
        "as",
        "x",
        "from",
        "t",
    }


@pytest.mark.parametrize("folder", ["sql/source", "sql/replica", "sql/staging"])
def test_sql_does_not_read_columns_overwritten_in_place(folder):
    files = sorted((ROOT / folder).rglob("*.sql"))
    found = [
        (file.relative_to(ROOT).as_posix(), column)
        for file in files
        for column in sorted(_columns_used(file.read_text()) & BANNED_COLUMNS)
        if (file.stem.removeprefix("stg_"), column) not in ALLOWED
    ]
    assert files
    assert found == []


def test_the_groups_do_not_read_them_either():
    files = [Path(inspect.getfile(group)) for group in GROUPS.values()]
    names = {name for file in files for name in re.findall(r'"([a-z_]+)"', file.read_text())}
    assert "lead_source" in names
    assert names & BANNED_COLUMNS == set()
