"""Columns denied by their names because of what they tell about a person."""

import pytest

from features.sensitive import sensitive_reason


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("attrs_gender__c", "gender"),
        ("attrs_Salutation", "gender"),
        ("attrs_age", "age"),
        ("attrs_customer_age", "age"),
        ("attrs_BirthDate", "age"),
        ("attrs_dateofbirth", "age"),
        ("attrs_religion", "religion"),
        ("attrs_ethnicity", "ethnic"),
        ("attrs_Nationality", "ethnic"),
        ("attrs_disability_status", "disability"),
        ("attrs_health_condition", "health"),
        ("attrs_trade_union_member", "union"),
        ("attrs_political_party", "political"),
        ("attrs_sexual_orientation", "sexual"),
        ("attrs_marital_status", "family"),
        ("attrs_criminal_record", "criminal"),
        ("attrs_PostalCode", "stands in for"),
        ("attrs_zip", "stands in for"),
        ("attrs_first_name", "own"),
        ("attrs_email", "own"),
        ("attrs_work_phone", "own"),
    ],
)
def test_what_a_person_is_is_denied(name, told):
    assert told in sensitive_reason(name)


@pytest.mark.parametrize(
    "name",
    [
        "attrs_company_age", "attrs_page", "attrs_package", "attrs_trace", "attrs_do_not_email",
        "attrs_email_opens", "attrs_company_name", "attrs_city", "attrs_union_pacific",
        "attrs_health_tech", "attrs_party_size", "attrs_zipped_files", "attrs_phone_calls",
        "attrs_budget_c", "attrs_essex_branch", "attrs_orientation_call", "lead_age_days", "title",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_not(name):
    assert sensitive_reason(name) is None
