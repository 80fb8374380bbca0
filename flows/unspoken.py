"""Columns that no sentence may name: values overwritten in place, and what a person's dignity forbids."""

import re
from functools import cache

from features.banned import is_suspect_name

SENSITIVE_WORDS = (
    *("gender", "sex", "sexual", "orientation", "pronoun", "pronouns", "salutation", "marital", "married"),
    *("age", "born", "birth", "birthday", "birthdate", "birthplace", "dob", "maiden", "children", "pregnant"),
    *("race", "racial", "ethnic", "ethnicity", "nationality", "citizenship", "immigration", "religion"),
    *("religious", "faith", "political", "politics", "party", "union", "health", "medical", "disability"),
    *("disabled", "biometric", "genetic", "criminal", "conviction", "ssn", "passport", "iban", "mother"),
)
"""Words of a custom column's name: article 9 of the GDPR, protected traits of US law, and their proxies."""

_SENSITIVE = frozenset(SENSITIVE_WORDS)


@cache
def may_be_named(column: str) -> bool:
    """Tell whether a reason may name a feature column; our own columns, such as lead_age_days, always may."""
    if is_suspect_name(column):
        return False
    return not column.startswith("attrs_") or _SENSITIVE.isdisjoint(_words(column.removeprefix("attrs_")))


def _words(name: str) -> list[str]:
    """Lower-case words of a name in any style: `dateOfBirth`, `Date of Birth`, `date_of_birth__c`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z]+", spaced.lower())
