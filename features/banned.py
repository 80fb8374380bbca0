"""Columns that a CRM overwrites in place: today's value says what happened after the snapshot.

No feature and no SQL of the source views may use them. What they tell is rebuilt from history: the stage from
stage history, the last activity from activities, the outcome from the one definition of conversion.
"""

import re

BANNED_COLUMNS = frozenset(
    (
        "status", "statecode", "statuscode", "lead_status", "lead_stage", "lifecycle_stage", "hs_lead_status",
        "is_converted", "converted_date", "converted_at", "converted_account_id", "converted_contact_id",
        "converted_opportunity_id", "qualifying_opportunity_id", "is_won", "is_closed", "close_date",
        "last_activity", "last_activity_at", "last_activity_date", "last_contacted_at", "last_contacted_date",
        "last_notable_activity", "last_modified_date", "last_viewed_date", "last_referenced_date",
        "num_associated_deals", "recent_deal_amount", "days_to_close", "total_revenue", "is_customer",
        "became_customer_date",
        "rating", "lead_rating", "lead_quality", "lead_profile", "lead_score", "lead_grade", "score",
        "hubspot_score",
        "predictive_score", "tags", "unread_by_owner", "lost_reason", "disqualification_reason",
    )
)  # fmt: skip
SUSPECT_PATTERNS = (
    r"convert", r"\blast\b.*\b(activity|contact|modified|touch|engage|viewed|notable)",
    r"\b(closed?|won|lost|churned)\b",
    r"\b(score|grade|rating|quality|likelihood|propensity|probability)\b", r"\basymm?etri", r"\bbecame\b",
    r"\bdays to\b",
    r"\b(deal|opportunity|contract|invoice|order|purchase)s?\b", r"\b(status|statecode|stage)\b",
    r"\btags?\b",
    r"\blead profile\b", r"\bis customer\b", r"\b(reason)\b",
)  # fmt: skip
# Our own groups are built from history, whatever they are called.
SAFE_PREFIXES = ("activity_", "engagement_", "stage_", "account_", "track_record_", "calendar_", "lead_")
# Words that names are run together from. A run of letters is taken apart only where it is made of these
# alone, so that wonder, tagline and contractor stay whole.
_VOCABULARY = (
    "account", "activity", "amount", "asymmetric", "at", "became", "by", "churned", "client", "close",
    "closed", "code", "company", "contact", "contacted", "contract", "conversion", "converted", "count",
    "crm", "current", "customer", "date", "day", "days", "deal", "deals", "engagement", "final", "first",
    "grade", "id", "in", "invoice", "invoices", "is", "last", "lead", "leads", "likelihood", "lost",
    "manual", "modified", "name", "new", "notable", "number", "of", "old", "opportunities", "opportunity",
    "order", "orders", "owner", "predicted", "predictive", "probability", "profile", "propensity",
    "purchase", "purchases", "quality", "rating", "reason", "sales", "score", "stage", "statecode",
    "status", "sum", "tag", "tags", "time", "to", "total", "touch", "type", "value", "viewed", "won",
)  # fmt: skip
_RUN_TOGETHER = re.compile(rf"(?:{'|'.join(sorted(_VOCABULARY, key=len, reverse=True))})+")
_BANNED_KEYS = frozenset(name.replace("_", "") for name in BANNED_COLUMNS)
_SUSPECT = re.compile("|".join(SUSPECT_PATTERNS))


def is_suspect_name(name: str) -> bool:
    """Tell whether a column is named like a value that is overwritten in place.

    Case, spaces and underscores do not matter. Of feature columns only custom ones (`attrs_`) can be suspect:
    the others are built from history.
    """
    custom = name.removeprefix("attrs_")
    if custom == name and name.startswith(SAFE_PREFIXES) and name not in BANNED_COLUMNS:
        return False
    words = words_of(custom)
    return words.replace(" ", "") in _BANNED_KEYS or _SUSPECT.search(_taken_apart(words)) is not None


def words_of(name: str) -> str:
    """Lower-case words of a name in any style: `LastActivityDate`, `Last Activity`, `hs_last_activity__c`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.sub(r"[^a-z0-9]+", " ", spaced.lower()).strip().removesuffix(" c")


def _taken_apart(words: str) -> str:
    """Put spaces into words that were run together: `new dealprobability` becomes `new deal probability`."""
    return " ".join(_split(word) for word in words.split())


def _split(word: str) -> str:
    """Split a run of letters into the fewest words of the vocabulary; whole where that leaves a rest."""
    if _RUN_TOGETHER.fullmatch(word) is None:
        return word
    best: list[list[str] | None] = [[]]
    for end in range(1, len(word) + 1):
        found = (
            [*before, part]
            for part in _VOCABULARY
            if word.endswith(part, 0, end) and (before := best[end - len(part)]) is not None
        )
        best.append(min(found, key=len, default=None))
    return " ".join(best[-1] or [word])
