"""What a file's column can become: the columns of the contract, by table."""

import difflib
from collections.abc import Iterable
from typing import Literal, NamedTuple

Kind = Literal["text", "number", "bool", "timestamp", "date"]
Role = Literal["leads", "outcomes", "activities"]

TARGETS: dict[str, dict[str, Kind]] = {
    "lead": {
        **dict.fromkeys(("lead_id", "owner_id", "account_id", "contact_id", "lead_source", "title"), "text"),
        **dict.fromkeys(("industry", "country", "email_domain", "notes", "merged_into_id"), "text"),
        **dict.fromkeys(("created_at", "updated_at", "deleted_at"), "timestamp"),
        **dict.fromkeys(("employee_count", "annual_revenue"), "number"),
        "is_deleted": "bool",
    },
    "outcome": {
        **dict.fromkeys(("lead_id", "outcome", "opportunity_id", "currency", "lost_reason"), "text"),
        **dict.fromkeys(("outcome_at", "ingested_at"), "timestamp"),
        "amount": "number",
    },
    "activity": {
        **dict.fromkeys(
            ("activity_id", "lead_id", "activity_type", "direction", "channel", "outcome"), "text"
        ),
        **dict.fromkeys(("actor_id", "campaign_id", "url_class"), "text"),
        **dict.fromkeys(("occurred_at", "ingested_at"), "timestamp"),
        "duration_seconds": "number",
        "is_bot": "bool",
    },
    "consent": {
        **dict.fromkeys(("opted_out_email", "opted_out_profiling", "opted_out_processing"), "bool"),
        "erase_requested_at": "timestamp",
    },
}
# Without these a row says nothing; a value that cannot be read there costs the row.
REQUIRED = {
    "leads": ("lead.lead_id", "lead.created_at"),
    "outcomes": ("outcome.lead_id", "outcome.outcome", "outcome.outcome_at"),
    "activities": ("activity.lead_id", "activity.occurred_at", "activity.activity_type"),
}
MAIN_TABLE = {"leads": "lead", "outcomes": "outcome", "activities": "activity"}
ATTRS = "attrs"


class MappingError(ValueError):
    """A mapping that cannot be used; the message says where it is wrong and what would be right."""


class Target(NamedTuple):
    """A column of a contract table; `column` is 'attrs' for custom columns."""

    table: str
    column: str
    kind: Kind

    @property
    def name(self) -> str:
        """`table.column`."""
        return f"{self.table}.{self.column}"


def target_of(role: Role, word: str) -> Target:
    """Resolve a word of the mapping: `lead_source`, `outcome.amount`, `attrs`.

    Raises
    ------
    MappingError : no such column for this role; near matches are named.
    """
    if word == ATTRS and role == "leads":
        return Target("lead", ATTRS, "text")
    table, _, column = word.rpartition(".")
    table = table or MAIN_TABLE[role]
    own = {MAIN_TABLE[role]} | ({"outcome", "consent"} if role == "leads" else set())
    if table in own and column in TARGETS[table]:
        return Target(table, column, TARGETS[table][column])
    known = list(TARGETS[MAIN_TABLE[role]]) + ([ATTRS] if role == "leads" else [])
    known += [f"{t}.{c}" for t in sorted(own - {MAIN_TABLE[role]}) for c in TARGETS[t]]
    raise MappingError(f"{word!r} is no column for role {role}{did_you_mean(word, known)}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """End of an error message: the nearest known words, or all of them when none is near."""
    known = list(known)
    folded = {name.lower().replace(" ", "").replace("_", ""): name for name in known}
    near = difflib.get_close_matches(word.lower().replace(" ", "").replace("_", ""), folded, n=3, cutoff=0.6)
    if near:
        return "; did you mean " + " or ".join(repr(folded[name]) for name in near) + "?"
    return f"; there are {', '.join(map(repr, known))}"
