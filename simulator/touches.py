"""Touches of a block of leads: visits, forms, calls, meetings, and what e-mails bring about."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator import drift
from simulator.config import SimulationConfig
from simulator.dimensions import Dimensions
from simulator.intent import AGE_STEPS, intent
from simulator.lifecycle import Fate
from simulator.population import Leads
from simulator.seasons import office_hours, to_seconds, touch_weights

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# E-mail kinds come last.
KINDS = (
    "web_visit",
    "pricing_visit",
    "form_submit",
    "webinar",
    "document_view",
    "chat",
    "call",
    "meeting",
    "email_sent",
    "email_open",
    "email_click",
    "email_reply",
)
CODE = {kind: code for code, kind in enumerate(KINDS)}
# Per kind: touches a day at reference intent, exponent of intent, whether a lead's chattiness matters.
RATES: dict[str, tuple[float, float, bool]] = {
    "web_visit": (0.42, 0.92, True),
    "pricing_visit": (0.08, 1.3, True),
    "form_submit": (0.026, 1.0, True),
    "webinar": (0.018, 0.65, True),
    "document_view": (0.065, 1.1, True),
    "chat": (0.024, 1.1, True),
    "call": (0.15, 0.65, False),
    "meeting": (0.026, 1.1, False),
    "email_sent": (0.21, 0.15, False),
}
TELLING = ("pricing_visit", "form_submit", "document_view", "meeting")
CHATTINESS_SD = 0.15
EARLY_MAILS = 2.0
EARLY_DAYS = 14.0
GATEWAY_LINKS = 5
GATEWAY_FLAGGED = 0.6
AFTERMATH_SHARE = 0.3
SECOND = 1.0 / 86_400.0


@dataclass(frozen=True)
class Touches:
    """Touches in no particular order.

    `lead` is a position within the block, `at` days since the start, `kind` an index into KINDS, `level` the
    intent behind it, `is_bot` marks a mail gateway and `is_flagged` whether the mail tool noticed.
    """

    lead: IntArray
    at: FloatArray
    kind: IntArray
    level: FloatArray
    is_bot: BoolArray
    is_flagged: BoolArray

    def __len__(self) -> int:
        return len(self.lead)

    def where(self, keep: BoolArray) -> "Touches":
        """The touches marked by `keep`."""
        return Touches(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def ordered(self) -> "Touches":
        """The touches by lead, time and kind."""
        order = np.lexsort((self.kind, self.at, self.lead))
        return Touches(*(getattr(self, name)[order] for name in self.__dataclass_fields__))

    @staticmethod
    def concat(parts: list["Touches"]) -> "Touches":
        """All touches of several parts."""
        names = Touches.__dataclass_fields__
        return Touches(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def draw_touches(
    rng: np.random.Generator, config: SimulationConfig, world: Dimensions, leads: Leads, fate: Fate
) -> Touches:
    """Draw every touch from creation to closing, and a few after it, up to the clock."""
    direct = _direct(rng, config, world, leads, fate)
    sent = direct.where(direct.kind == CODE["email_sent"])
    parts = [direct, _answers(rng, leads, sent), _gateway_bursts(rng, leads, sent)]
    before = Touches.concat(parts)
    before = before.where(before.at < fate.closed_at[before.lead])
    every = Touches.concat([before, _aftermath(rng, fate)])
    return every.where(every.at < config.n_days)


def _direct(
    rng: np.random.Generator, config: SimulationConfig, world: Dimensions, leads: Leads, fate: Fate
) -> Touches:
    """Poisson touches whose rate follows intent, thinned on weekends and in quiet months."""
    low, high = AGE_STEPS[:-1], AGE_STEPS[1:]
    until = np.minimum(fate.closed_at, config.n_days) - leads.created
    n_steps = int(np.searchsorted(low, until.max(), side="left"))
    low, high = low[:n_steps], high[:n_steps]
    exposure = np.clip(until[:, None] - low, 0.0, high - low)
    level = intent(leads, 0.5 * (low + high))
    meaning = drift.meaning(config, leads.created[:, None] + low)
    counts = np.stack(
        [rng.poisson(exposure * _rate(kind, world, leads, level, meaning, low)) for kind in RATES], axis=2
    )
    flat = np.repeat(np.arange(counts.size), counts.ravel())
    lead, step, column = np.unravel_index(flat, counts.shape)
    drawn = leads.created[lead] + low[step] + rng.random(len(flat)) * exposure[lead, step]
    weight = touch_weights(config.start, config.n_days)[np.minimum(drawn.astype(np.int64), config.n_days - 1)]
    keep = rng.random(len(flat)) < weight
    lead, step, column, drawn = lead[keep], step[keep], column[keep], drawn[keep]
    by_day = office_hours(rng, drawn)
    outside = (by_day <= leads.created[lead]) | (by_day >= fate.closed_at[lead])
    at = to_seconds(np.where(outside, drawn, by_day))
    at = np.maximum(at, leads.created[lead] + SECOND)
    codes = np.array([CODE[kind] for kind in RATES])
    return _touches(lead, at, codes[column], level[lead, step])


def _rate(
    kind: str, world: Dimensions, leads: Leads, level: FloatArray, meaning: FloatArray, age: FloatArray
) -> FloatArray:
    """Touches a day (n_leads, n_steps)."""
    base, exponent, follows_habit = RATES[kind]
    exponents = exponent * meaning if kind in TELLING else exponent
    log_rate = np.log(base) + exponents * level
    if follows_habit:
        log_rate = log_rate + CHATTINESS_SD * leads.chattiness[:, None]
    if kind == "call":
        log_rate = log_rate + np.log(world.owners.diligence[leads.owner])[:, None]
    if kind == "email_sent":
        log_rate = log_rate + np.where(age < EARLY_DAYS, np.log(EARLY_MAILS), 0.0)
    return np.exp(log_rate)


def _answers(rng: np.random.Generator, leads: Leads, sent: Touches) -> Touches:
    """Opens, clicks and replies that follow sent e-mails, likelier with intent."""
    habit = CHATTINESS_SD * leads.chattiness[sent.lead]
    opened = rng.random(len(sent)) < _sigmoid(-0.6 + 0.45 * sent.level + habit)
    clicked = opened & (rng.random(len(sent)) < _sigmoid(-1.2 + 0.5 * sent.level))
    replied = rng.random(len(sent)) < _sigmoid(-3.0 + 0.8 * sent.level)
    open_at = sent.at + rng.lognormal(np.log(0.2), 1.3, len(sent))
    click_at = open_at + rng.lognormal(np.log(0.003), 1.0, len(sent))
    reply_at = sent.at + rng.lognormal(np.log(0.6), 1.0, len(sent))
    answers = (
        (opened, open_at, "email_open"),
        (clicked, click_at, "email_click"),
        (replied, reply_at, "email_reply"),
    )
    return Touches.concat(
        [
            _touches(sent.lead[yes], to_seconds(at[yes]), CODE[kind], sent.level[yes])
            for yes, at, kind in answers
        ]
    )


def _gateway_bursts(rng: np.random.Generator, leads: Leads, sent: Touches) -> Touches:
    """A mail gateway opens each message and clicks every link within seconds; the mail tool notices some."""
    scanned = sent.where(leads.gateway[sent.lead])
    flagged = rng.random(len(scanned)) < GATEWAY_FLAGGED
    start = scanned.at + rng.uniform(5.0, 60.0, len(scanned)) * SECOND
    parts = []
    for link in range(GATEWAY_LINKS + 1):
        kind = CODE["email_click"] if link else CODE["email_open"]
        at = to_seconds(start + link * rng.uniform(0.3, 1.5, len(scanned)) * SECOND)
        burst = _touches(scanned.lead, at, kind, scanned.level)
        parts.append(Touches(burst.lead, burst.at, burst.kind, burst.level, np.ones_like(flagged), flagged))
    return Touches.concat(parts)


def _aftermath(rng: np.random.Generator, fate: Fate) -> Touches:
    """Outbound calls and e-mails after a conversion: onboarding. They come after the outcome is known."""
    lead = np.flatnonzero(
        fate.has_outcome & fate.converts & (rng.random(len(fate.converts)) < AFTERMATH_SHARE)
    )
    lead = np.repeat(lead, 3)
    at = to_seconds(fate.outcome_at[lead] + rng.uniform(8.0, 40.0, len(lead)))
    kind = np.where(rng.random(len(lead)) < 0.5, CODE["email_sent"], CODE["call"])
    return _touches(lead, at, kind, np.zeros(len(lead)))


def _touches(lead: IntArray, at: FloatArray, kind: IntArray | int, level: FloatArray) -> Touches:
    no = np.zeros(len(lead), dtype=bool)
    return Touches(lead, at, np.broadcast_to(np.asarray(kind), lead.shape), level, no, no)


def _sigmoid(x: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-x))
