"""Feature columns in plain words: the business field each belongs to, and a sentence for its value."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

Sentence = Callable[[Any], str]


@dataclass(frozen=True)
class Measured:
    """A sentence about a number that can be compared: `quantity` shows the number alone, with its unit."""

    words: Sentence
    quantity: Callable[[float], str]

    def __call__(self, value: Any) -> str:
        """Return the sentence for a value; None is a missing one."""
        return self.words(value)


RECENT_DAYS = 14
"""A touch longer ago than this reads "no reply for 31 days", a younger one "last reply 3 days ago"."""


@dataclass(frozen=True)
class FieldText:
    """How a column reads.

    Attributes
    ----------
    field : business field that gathers related columns, `<group>.<what>`.
    label : what the column measures.
    sentence : value -> a phrase of a few words; None is a missing value.
    """

    field: str
    label: str
    sentence: Sentence

    def compared(self, value: Any, usual: float | None) -> str:
        """Return the sentence and what is usual: "4 pricing page visits in 7 days, usual is 0".

        Alone where either is missing, where the column has no quantity, or where both read the same.
        """
        words = self.sentence(value)
        numbers = isinstance(value, int | float) and not isinstance(value, bool) and usual is not None
        if not numbers or usual is None or not isinstance(self.sentence, Measured):
            return words
        shown = self.sentence.quantity(usual)
        return words if shown == self.sentence.quantity(value) else f"{words}, usual is {shown}"


@cache
def describe(column: str) -> FieldText:
    """Return the words for a column named `<group>_<what>_<window>`, foreseen or not."""
    if column in _SINGLE:
        label, sentence = _SINGLE[column]
        group = next((g for g in _GROUPS if column.startswith(f"{g}_")), "other")
        return FieldText(f"{group}.{column.removeprefix(f'{group}_')}", label, sentence)
    for pattern, build in _PATTERNS:
        match = pattern.fullmatch(column)
        if match:
            return build(*match.groups())
    return _fallback(column)


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.3g}"


def _words(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _named(label: str) -> Sentence:
    return Measured(
        lambda value: f"{label}: {_value(value)}" if value not in (None, "") else f"{label} unknown", _number
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, int | float) else str(value)


def _category(label: str) -> Sentence:
    """For our own level names, such as free_mail; values of the CRM are shown as they are."""
    return lambda value: f"{label} unknown" if value is None else f"{label}: {_words(value)}"


def _counted(one: str, many: str, where: str = "") -> Sentence:
    def sentence(value: float | None) -> str:
        if value is None:
            return f"number of {many} unknown{where}"
        return f"{'no' if value == 0 else _number(value)} {one if value == 1 else many}{where}"

    return Measured(sentence, _number)


def _days(text: str, unknown: str) -> Sentence:
    """`text` holds {} for "1 day" or "12 days"."""
    return Measured(lambda value: unknown if value is None else text.format(_duration(value)), _duration)


def _duration(days: float) -> str:
    if days < 1:
        return "less than a day"
    whole = round(days)
    return "1 day" if whole == 1 else f"{whole:,} days"


def _share(text: str, unknown: str) -> Sentence:
    return Measured(lambda value: unknown if value is None else text.format(_percent(value)), _percent)


def _percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def _flag(yes: str, no: str, unknown: str) -> Sentence:
    return lambda value: unknown if value is None else yes if value else no


def _levels(low: tuple[float, str], high: tuple[float, str], between: str, unknown: str) -> Sentence:
    def sentence(value: float | None) -> str:
        if value is None:
            return unknown
        return low[1] if value < low[0] else high[1] if value > high[0] else between

    return sentence


def _times(never: str, often: str) -> Sentence:
    return Measured(
        lambda value: (
            never if not value else often.format("once" if value == 1 else f"{_number(value)} times")
        ),
        _number,
    )


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_GROUPS = ("lead", "account", "activity", "engagement", "stage", "track_record", "calendar", "attrs")

_SINGLE: dict[str, tuple[str, Sentence]] = {
    "lead_age_days": ("age of the lead", _days("lead is {} old", "age of the lead unknown")),
    "lead_source": ("source", _named("source")),
    "lead_seniority": ("seniority", _category("seniority")),
    "lead_department": ("department", _category("department")),
    "lead_industry": ("industry", _named("industry")),
    "lead_country": ("country", _named("country")),
    "lead_employee_count": ("employees", _counted("employee", "employees")),
    "lead_annual_revenue": ("annual revenue", _named("annual revenue")),
    "lead_email_domain_kind": ("e-mail domain", _category("e-mail domain")),
    "lead_completeness": ("filled fields", _share("{} of the lead's fields filled", "filled fields unknown")),
    "account_industry": ("industry of the account", _named("industry of the account")),
    "account_country": ("country of the account", _named("country of the account")),
    "account_employee_count": (
        "employees of the account",
        _counted("employee", "employees", " at the account"),
    ),
    "account_annual_revenue": ("revenue of the account", _named("annual revenue of the account")),
    "account_is_competitor": (
        "competitor",
        _flag("account is a competitor", "account is no competitor", "no account, or unknown if it competes"),
    ),
    "account_has_parent": (
        "parent company",
        _flag("account belongs to a larger company", "account has no parent company", "no account"),
    ),
    "account_other_lead_count": ("other leads", _counted("other lead", "other leads", " at the account")),
    "account_won_count": ("won leads", _counted("other lead", "other leads", " of the account won")),
    "account_lost_count": ("lost leads", _counted("other lead", "other leads", " of the account lost")),
    "account_family_other_lead_count": (
        "leads of the company group",
        _counted("other lead", "other leads", " in the company group"),
    ),
    "account_family_won_count": (
        "won leads of the company group",
        _counted("lead", "leads", " of the company group won"),
    ),
    "activity_reply_gap_days": ("reply gap", _days("replies within {}", "has not replied to us")),
    "activity_unanswered_count_all": (
        "unanswered touches",
        _counted("touch of ours", "touches of ours", " unanswered"),
    ),
    "engagement_bot_share_90d": (
        "automated opens and clicks",
        _share("{} of opens and clicks are automated", "no opens or clicks in 90 days"),
    ),
    "engagement_trend_3d_45d": (
        "trend of interest",
        _levels(
            (0.03, "interest is fading"),
            (0.12, "interest is rising"),
            "interest is steady",
            "no interest shown yet",
        ),
    ),
    "stage_current": ("stage", _named("stage")),
    "stage_days_in_current": ("time in the stage", _days("{} in the current stage", "no stage on record")),
    "stage_days_since_first": (
        "time since the first stage",
        _days("{} since the first stage", "no stage on record"),
    ),
    "stage_entry_count": ("stage changes", _counted("stage entered", "stages entered")),
    "stage_distinct_count": ("different stages", _counted("stage seen", "different stages seen")),
    "stage_return_count": (
        "returns",
        _times("never went back to an earlier stage", "went back to an earlier stage {}"),
    ),
    "calendar_month": (
        "month",
        lambda value: "month unknown" if value is None else f"it is {_MONTHS[int(value) - 1]}",
    ),
    "calendar_days_to_quarter_end": (
        "end of the quarter",
        _days("{} to the end of the quarter", "end of the quarter unknown"),
    ),
    "calendar_created_weekday": (
        "weekday of creation",
        lambda value: (
            "weekday of creation unknown" if value is None else f"created on a {_WEEKDAYS[int(value) - 1]}"
        ),
    ),
    "calendar_created_hour": (
        "hour of creation",
        lambda value: "hour of creation unknown" if value is None else f"created at {int(value):02d}:00 UTC",
    ),
    "calendar_created_is_weekend": (
        "weekend",
        _flag("created at a weekend", "created on a working day", "day of creation unknown"),
    ),
}

_TOUCHES: dict[str, tuple[str, str]] = {
    "": ("activity", "activities"),
    "email_sent": ("e-mail sent", "e-mails sent"),
    "email_open": ("e-mail opened", "e-mails opened"),
    "email_click": ("e-mail link clicked", "e-mail links clicked"),
    "email_reply": ("reply", "replies"),
    "web_visit": ("website visit", "website visits"),
    "pricing_visit": ("pricing page visit", "pricing page visits"),
    "form_submit": ("form submitted", "forms submitted"),
    "webinar": ("webinar attended", "webinars attended"),
    "call": ("call", "calls"),
    "meeting": ("meeting", "meetings"),
    "document_view": ("document viewed", "documents viewed"),
    "chat": ("chat", "chats"),
    "other": ("other activity", "other activities"),
    "inbound": ("touch by the lead", "touches by the lead"),
    "outbound": ("touch by us", "touches by us"),
    "bot": ("automated open or click", "automated opens and clicks"),
    "day": ("day with activity", "days with activity"),
}


def _touch(kind: str | None) -> tuple[str, str]:
    words = _words(kind or "")
    return _TOUCHES.get(kind or "", (words, words))


def _touch_count(kind: str | None, days: str) -> FieldText:
    one, many = _touch(kind)
    return FieldText(
        f"activity.{kind or 'any'}", f"{many}, {days} days", _counted(one, many, f" in {days} days")
    )


def _touch_recency(kind: str | None) -> FieldText:
    one, _ = _touch(kind)

    def sentence(value: float | None) -> str:
        if value is None:
            return f"no {one} yet"
        if value > RECENT_DAYS:
            return f"no {one} for {_duration(value)}"
        return f"last {one} yesterday" if value == 1 else f"last {one} {_duration(value)} ago"

    return FieldText(f"activity.{kind or 'any'}", f"days since the last {one}", Measured(sentence, _duration))


def _touch_decay(kind: str, half_life: str) -> FieldText:
    one, many = _touch(kind)

    def sentence(value: float | None) -> str:
        if value is None or value < 0.05:
            return f"no {many} lately"
        if value < 0.5:
            return f"hardly any recent {many}"
        return f"about {value:.0f} recent {one if value < 1.5 else many}"

    label = f"{many}, halved every {half_life} days"
    return FieldText(f"activity.{kind}", label, Measured(sentence, lambda value: f"{value:.0f}"))


def _account_touches(days: str) -> FieldText:
    sentence = _counted("touch", "touches", f" with the account's other leads in {days} days")
    return FieldText("account.other_touch", f"touches with other leads, {days} days", sentence)


def _balance(days: str) -> FieldText:
    sentence = _levels(
        (-0.2, f"mostly we get in touch ({days} days)"),
        (0.2, f"mostly the lead gets in touch ({days} days)"),
        f"both sides get in touch ({days} days)",
        f"no contact in {days} days",
    )
    return FieldText("activity.balance", f"who gets in touch, {days} days", sentence)


def _rate(whose: str, days: str) -> FieldText:
    rate = f"of earlier leads of this {_words(whose)} converted within {days} days"
    sentence = _share(f"{{}} {rate}", f"no track record of this {_words(whose)}")
    return FieldText(f"track_record.{whose}", f"conversion rate of the {_words(whose)}", sentence)


def _rate_base(whose: str, _: str) -> FieldText:
    label = f"earlier leads of this {_words(whose)}"
    return FieldText(f"track_record.{whose}", label, _counted(f"earlier lead of this {_words(whose)}", label))


def _custom(key: str) -> FieldText:
    return FieldText(f"attrs.{key}", _words(key), _named(_words(key)))


_PATTERNS: tuple[tuple[re.Pattern[str], Callable[..., FieldText]], ...] = (
    (re.compile(r"activity_(?:(\w+?)_)?count_(\d+)d"), _touch_count),
    (re.compile(r"activity_(?:(\w+?)_)?recency_days"), _touch_recency),
    (re.compile(r"activity_inbound_balance_(\d+)d"), _balance),
    (re.compile(r"engagement_(\w+?)_decay_(\d+)d"), _touch_decay),
    (re.compile(r"account_other_touch_count_(\d+)d"), _account_touches),
    (re.compile(r"track_record_(\w+?)_rate_(\d+)d"), _rate),
    (re.compile(r"track_record_(\w+?)_lead_count_(\d+)d"), _rate_base),
    (re.compile(r"attrs_(.+)", re.DOTALL), _custom),
)


def _fallback(column: str) -> FieldText:
    """Read group, what and window off the name: account_visit_count_30d is "account visit count, 30 days"."""
    group = next((g for g in _GROUPS if column.startswith(f"{g}_")), "other")
    rest = column.removeprefix(f"{group}_")
    match = re.fullmatch(r"(.+?)_(\d+)d", rest)
    what, window = (match[1], f", {match[2]} days") if match else (rest, "")
    label = (
        f"{_words(what)}{window}" if group in ("lead", "other") else f"{_words(group)} {_words(what)}{window}"
    )
    return FieldText(f"{group}.{what}", label, _named(label))
