"""One lead's score on a page: a waterfall from the average open lead to it, offline, on a phone or a desk."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from flows.page import fill

_NOTE = (
    "A bar to the right raises the chance, to the left lowers it; +0.69 doubles the odds, -0.69 halves them. "
    "Reasons say what the model has learnt from earlier leads, not what would happen if one were changed."
)


@dataclass(frozen=True)
class Step:
    """A bar of the waterfall, from `start` to `end` in log-odds.

    Attributes
    ----------
    kind : `level` for a chance, `up` or `down` for what moves it.
    shown : the number beside the bar.
    """

    words: str
    start: float
    end: float
    kind: str
    shown: str


def waterfall(
    probability: float, average_log_odds: float, reasons: Sequence[Mapping[str, Any]]
) -> list[Step]:
    """Return the bars from the average open lead to this lead, its reasons between them, strongest first.

    Parameters
    ----------
    probability : of this lead, in (0, 1).
    average_log_odds : mean over the open leads of the same night.
    reasons : as `scoring.lead_score` has them; what they leave unsaid is one bar, so that the bars add up.
    """
    end = math.log(probability / (1 - probability))
    low = min([average_log_odds, end, *_places(average_log_odds, reasons)]) - 0.25
    steps = [_level("An average open lead", low, average_log_odds)]
    place = average_log_odds
    for reason in reasons:
        steps.append(_move(_words(reason), place, place + reason["effect"]))
        place += reason["effect"]
    return [
        *steps,
        _move("Everything else together", place, end),
        _level("This lead", low, end),
    ]


def render(lead: Mapping[str, Any], average_log_odds: float) -> str:
    """Return the page of a scored lead, a row of `scoring.lead_score`; every text is escaped.

    Raises
    ------
    ValueError
        The lead has a status in place of a score.
    """
    if lead["probability"] is None:
        raise ValueError(
            f"lead {lead['lead_id']!r} has no score to draw, its status is {lead['status']!r}: "
            "leave out --html to see what is known"
        )
    steps = waterfall(lead["probability"], average_log_odds, lead["reasons"])
    facts = ("as_of_date", "model_version", "rank_overall", "rank_in_owner_queue")
    return fill(
        "explain_template.html",
        title=escape(f"Lead {lead['lead_id']}"),
        headline=f"Score <b>{lead['score']}</b>, grade <b>{escape(lead['grade'])}</b>: converts with a "
        f"chance of <b>{lead['probability']:.1%}</b>",
        facts=escape(
            ", ".join(
                f"{name.replace('_', ' ')} {lead[name]}" for name in facts if lead.get(name) is not None
            )
        ),
        steps="".join(_drawn(step, steps) for step in steps),
        note=escape(_NOTE),
    )


def _places(start: float, reasons: Sequence[Mapping[str, Any]]) -> list[float]:
    places = [start]
    for reason in reasons:
        places.append(places[-1] + reason["effect"])
    return places


def _words(reason: Mapping[str, Any]) -> str:
    return str(reason.get("words") or reason["label"])


def _level(words: str, low: float, log_odds: float) -> Step:
    return Step(words, low, log_odds, "level", f"{1 / (1 + math.exp(-log_odds)):.1%}")


def _move(words: str, start: float, end: float) -> Step:
    return Step(words, start, end, "up" if end >= start else "down", f"{end - start:+.2f}")


def _drawn(step: Step, steps: Sequence[Step]) -> str:
    ends = [place for one in steps for place in (one.start, one.end)]
    low, width = min(ends), (max(ends) - min(ends)) or 1.0
    left, size = (min(step.start, step.end) - low) / width, abs(step.end - step.start) / width
    return (
        f'<div class="step {step.kind}"><div class="what">{escape(step.words)}</div>'
        f'<div class="track"><i style="left:{left:.2%};width:{size:.2%}"></i></div>'
        f'<div class="number">{step.shown}</div></div>\n'
    )
