"""Columns about what a person is, not about what they do: denied unless somebody who may says otherwise.

Special categories of data (GDPR, article 9), what discrimination law protects, and what stands in for these.
The names are all there is to go by, so that a person's ruling overrides them: docs/guides/privacy.md.
"""

import re

from features.banned import words_of

SENSITIVE_PATTERNS: dict[str, str] = {
    "gender": r"gender|\b(sex|salutation|honorific|pronouns?|maiden ?name)\b",
    "age": (
        r"birth|^(\w+ )?dob$"
        r"|^((customer|person|contact|client|applicant|user) )?age( (group|band|range|years))?$"
    ),
    "religion or belief": r"religio|\b(faith|denomination)\b",
    "ethnic or national origin": (
        r"ethnic|nationality|skin ?colou?r|immigra"
        r"|\b(race|racial|citizenship|native language|mother tongue)\b"
    ),
    "health or disability": (
        r"disabilit|\b(illness|diagnosis|pregnan\w+|biometric\w*|genetic\w*)\b"
        r"|\b(health|medical) (status|condition|history|records?|data)\b"
    ),
    "union membership": r"\b(trade|labou?r) ?union\b|^union( (member|membership|status))?$",
    "political opinion": r"\bpolitical|\bparty (member|membership|affiliation)\b",
    "sexual orientation": r"\bsexual",
    "family status": r"marital|\b(married|spouse|dependents)\b|\b(number of|num) (children|kids)\b",
    "criminal record": r"\bcriminal|\bconvictions?\b",
    "a postal code stands in for origin and income": (
        r"postal ?code|postcode|zip ?code|\b(zip|plz|(street|home) address)\b|^street$"
    ),
    "a name or number of the person's own": (
        r"\b(first|last|middle|given|family|full) ?name\b|social ?security"
        r"|\b(surname|ssn|passport|iban|ip address|national id)\b"
        r"|^((work|business|private|personal) )?(e ?mail|phone|mobile|fax)( (address|number))?$"
    ),
}
"""What a column would tell, and the words that give it away."""

_PATTERNS = {reason: re.compile(pattern) for reason, pattern in SENSITIVE_PATTERNS.items()}


def sensitive_reason(name: str) -> str | None:
    """Return what a column named so tells about a person, or None where it is not denied.

    Only custom columns (`attrs_`) are judged: the others have meanings of their own.
    """
    custom = name.removeprefix("attrs_")
    if custom == name:
        return None
    words = words_of(custom)
    return next((reason for reason, pattern in _PATTERNS.items() if pattern.search(words)), None)
