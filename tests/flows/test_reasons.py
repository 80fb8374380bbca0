"""Reasons gather columns into fields, say what is true, and come out the same every time."""

import json
import time

import numpy as np
import polars as pl
import pytest

from flows.reason_scale import ReasonScale, usual_values
from flows.reason_texts import describe
from flows.reasons import MIN_EFFECT, may_be_named, reason_frame

COLUMNS = {
    "activity_pricing_visit_count_7d": [4, 0],
    "activity_pricing_visit_count_30d": [9, 0],
    "activity_email_reply_recency_days": [31, None],
    "lead_source": ["Referral", None],
    "lead_completeness": [0.5, 0.5],
}


def frame() -> pl.DataFrame:
    return pl.DataFrame(COLUMNS)


def reasons(contributions: list[list[float]]) -> pl.DataFrame:
    return reason_frame(frame(), np.array(contributions))


def test_sentences_are_plain_and_ordered_by_strength() -> None:
    explained = reasons([[0.5, 0.3, -0.4, 0.6, 0.0], [-0.5, 0.0, -0.2, -0.1, 0.0]])
    assert explained.columns == ["reasons", "reason_1", "reason_2", "reason_3"]
    assert explained.row(0)[1:] == (
        "4 pricing page visits in 7 days",
        "source: Referral",
        "no reply for 31 days",
    )
    assert explained.row(1)[1:] == ("no pricing page visits in 7 days", "no reply yet", "source unknown")


def test_windows_of_one_field_are_one_reason_with_their_summed_effect() -> None:
    first = json.loads(reasons([[0.5, 0.3, 0, 0, 0], [0, 0, 0, 0, 0]])["reasons"][0])
    assert first == [
        {
            "field": "activity.pricing_visit",
            "label": "pricing page visits, 7 days",
            "value": 4,
            "usual": None,
            "effect": 0.8,
            "uncertainty": None,
            "sign": "+",
            "words": "4 pricing page visits in 7 days",
        }
    ]


def test_the_sentence_states_the_column_that_pulls_in_the_direction_of_the_field() -> None:
    explained = reasons([[-0.9, 1.0, 0, 0, 0], [-0.9, 0.5, 0, 0, 0]])
    assert explained["reason_1"].to_list() == [
        "9 pricing page visits in 30 days",
        "no pricing page visits in 7 days",
    ]
    assert [json.loads(text)[0]["sign"] for text in explained["reasons"]] == ["+", "-"]


def test_effects_too_small_to_matter_give_no_reason() -> None:
    tiny = 0.9 * MIN_EFFECT
    explained = reasons([[0, 0, tiny, -tiny, tiny], [0, 0, 0.5, 0, 0]])
    assert explained.row(0) == ("[]", None, None, None)
    assert explained.row(1)[1:] == ("no reply yet", None, None)


def test_at_most_three_reasons_for_and_three_against() -> None:
    wide = pl.DataFrame({f"attrs_field{i}": [float(i)] for i in range(9)})
    effects = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, -0.1, 0.4, -0.2, 0.0]])
    found = json.loads(reason_frame(wide, effects)["reasons"][0])
    assert [reason["effect"] for reason in found] == [0.9, 0.8, 0.7, -0.2, -0.1]
    against = json.loads(reason_frame(wide, -effects)["reasons"][0])
    assert [reason["effect"] for reason in against] == [-0.9, -0.8, -0.7, 0.2, 0.1]


def test_a_number_is_held_against_what_is_usual() -> None:
    usual = {"activity_pricing_visit_count_7d": 0.0, "activity_email_reply_recency_days": 12.0}
    scale = ReasonScale({**usual, "lead_completeness": 0.5})
    explained = reason_frame(frame(), np.array([[0.9, 0, -0.5, 0, 0.1]] * 2), scale)
    assert explained.row(0)[1:] == (
        "4 pricing page visits in 7 days, usual is 0",
        "no reply for 31 days, usual is 12 days",
        "50% of the lead's fields filled",
    )
    assert explained.row(1)[1:3] == ("no pricing page visits in 7 days", "no reply yet")
    assert [reason["usual"] for reason in json.loads(explained["reasons"][0])] == [0.0, 12.0, 0.5]


def test_an_effect_smaller_than_its_uncertainty_gives_no_reason() -> None:
    scale = ReasonScale(uncertainty={"activity.email_reply": 0.4, "lead.source": 0.1})
    explained = reason_frame(frame(), np.array([[0, 0, 0.39, 0.2, 0], [0, 0, -0.41, 0.05, 0]]), scale)
    assert explained["reason_1"].to_list() == ["source: Referral", "no reply yet"]
    assert explained["reason_2"].to_list() == [None, None]
    assert json.loads(explained["reasons"][1])[0]["uncertainty"] == 0.4


@pytest.mark.parametrize(
    ("column", "allowed"),
    [
        ("attrs_Date of Birth", False),
        ("attrs_gender__c", False),
        ("attrs_maritalStatus", False),
        ("attrs_lead_quality", False),
        ("attrs_message_length", True),
        ("attrs_Essex office", True),
        ("lead_age_days", True),
    ],
)
def test_sensitive_and_banned_columns_are_never_named(column: str, allowed: bool) -> None:
    assert may_be_named(column) is allowed
    explained = reason_frame(pl.DataFrame({column: [3.0]}), np.array([[2.0]]))
    assert (explained["reason_1"][0] is not None) is allowed


def test_the_usual_value_is_the_median_where_most_rows_have_one() -> None:
    rows = pl.DataFrame(
        {"a": [1.0, 3.0, np.nan], "b": [None, None, 4.0], "c": ["x", "y", "z"], "d": [0, 0, 9]}
    )
    assert usual_values(rows) == {"a": 2.0, "d": 0.0}


def test_missing_values_are_null_in_the_json() -> None:
    values = [json.loads(text)[0]["value"] for text in reasons([[0, 0, 1, 0, 0]] * 2)["reasons"]]
    assert values == [31, None]


def test_not_a_number_is_missing_and_the_json_stays_valid() -> None:
    odd = pl.DataFrame({"lead_completeness": [np.nan, np.inf], "attrs_x": ['say "hi"', "é"]})
    explained = reason_frame(odd, np.array([[1.0, 0.5], [1.0, 0.5]]))
    assert [json.loads(text)[0]["value"] for text in explained["reasons"]] == [None, None]
    assert explained["reason_1"][0] == "filled fields unknown"
    assert [json.loads(text)[1]["value"] for text in explained["reasons"]] == ['say "hi"', "é"]


def test_ties_keep_the_order_of_the_columns() -> None:
    explained = reasons([[0, 0, 0.3, -0.3, 0.3]] * 2)
    assert explained.row(0)[1:] == (
        "no reply for 31 days",
        "source: Referral",
        "50% of the lead's fields filled",
    )


def test_no_rows_give_an_empty_frame_of_the_same_columns() -> None:
    empty = reason_frame(frame().clear(), np.empty((0, 5)))
    assert empty.schema == reasons([[0.0] * 5] * 2).schema
    assert empty.height == 0


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("activity_email_click_count_30d", 1, "1 e-mail link clicked in 30 days"),
        ("activity_count_90d", 1204, "1,204 activities in 90 days"),
        ("activity_recency_days", 1, "last activity yesterday"),
        ("activity_web_visit_recency_days", 3, "last website visit 3 days ago"),
        ("activity_meeting_recency_days", None, "no meeting yet"),
        ("activity_inbound_balance_30d", 0.8, "mostly the lead gets in touch (30 days)"),
        ("activity_inbound_balance_30d", None, "no contact in 30 days"),
        ("activity_unanswered_count_all", 3, "3 touches of ours unanswered"),
        ("activity_reply_gap_days", 0.4, "replies within less than a day"),
        ("engagement_inbound_decay_14d", 6.4, "about 6 recent touches by the lead"),
        ("engagement_pricing_visit_decay_3d", 0.0, "no pricing page visits lately"),
        ("engagement_trend_3d_45d", 0.5, "interest is rising"),
        ("stage_current", "Working - Contacted", "stage: Working - Contacted"),
        ("stage_return_count", 2, "went back to an earlier stage 2 times"),
        ("lead_age_days", 31.2, "lead is 31 days old"),
        ("lead_email_domain_kind", "free_mail", "e-mail domain: free mail"),
        ("lead_employee_count", 250.0, "250 employees"),
        ("account_is_competitor", True, "account is a competitor"),
        ("account_won_count", 2, "2 other leads of the account won"),
        ("account_other_touch_count_30d", 5, "5 touches with the account's other leads in 30 days"),
        (
            "track_record_source_rate_90d",
            0.083,
            "8.3% of earlier leads of this source converted within 90 days",
        ),
        ("track_record_owner_lead_count_30d", 214, "214 earlier leads of this owner"),
        ("calendar_month", 3, "it is March"),
        ("calendar_created_weekday", 7, "created on a Sunday"),
        ("attrs_lead_quality", "Might be", "lead quality: Might be"),
        ("attrs_Total Visits", 12.0, "Total Visits: 12"),
        ("account_site_visit_share_30d", 0.25, "account site visit share, 30 days: 0.25"),
        ("nobody_foresaw_this", None, "nobody foresaw this unknown"),
    ],
)
def test_wording(column: str, value: object, sentence: str) -> None:
    assert describe(column).sentence(value) == sentence


def test_every_feature_of_a_model_has_words_for_a_missing_value_and_a_zero() -> None:
    names = [
        "activity_bot_count_7d",
        "engagement_bot_share_90d",
        "stage_days_in_current",
        "calendar_created_hour",
    ]
    for name in names:
        text = describe(name)
        assert text.sentence(None)
        assert text.sentence(0)
        assert "_" not in text.sentence(0) + text.label


def test_ten_thousand_leads_take_well_under_two_seconds() -> None:
    rng = np.random.default_rng(0)
    wide = pl.DataFrame(
        {f"activity_kind{i}_count_{w}d": rng.poisson(1, 10_000) for i in range(40) for w in (7, 30, 90)}
    )
    contributions = rng.normal(0, 0.3, (10_000, wide.width))
    started = time.process_time()
    explained = reason_frame(wide, contributions)
    assert time.process_time() - started < 2
    assert explained["reason_3"].null_count() == 0
