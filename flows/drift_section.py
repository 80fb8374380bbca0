"""The report's section on drift: what each monitor says, and its evidence against the limit over time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from typing import Any

import numpy as np

from flows.charts import Axis, Plot
from flows.monitors.reading import day_words

DRAWN = ("T2", "T3", "T5")
_NAMES = {
    "T1": "data",
    "T2": "loss on settled labels",
    "T3": "early wins",
    "T4": "features",
    "T5": "delays",
}
_CAPTIONS = {
    "T2": "Loss of settled weeks of leads against what it was: evidence that it has become worse.",
    "T3": "Early wins against what the model expects: evidence of a fall or a rise.",
    "T5": "Days from lead to win: evidence that wins come sooner or later than they used to.",
}
_SEARCHED = ("T2", "T3")
"""Monitors whose alarms ask for a search."""
KEPT_DAYS = 28
"""So long their alarms stay in the table, which says what became of them; `flows.alarms` searches as long."""
WORTH_SAYING = 0.3
"""Share of the limit from which a row without an alarm says what it sees."""
_NO_EVIDENCE = 0.02
"""Statistics below this are drawn here: how little evidence there is says nothing."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Drift:
    """What the section shows.

    Attributes
    ----------
    course : rows of `scoring.report_drift` up to tonight: as_of_date, monitor, subject, statistic, threshold,
        fired, action, words; in order of monitor, subject and date.
    pages : open rows of `scoring.page`: cause, words, first_seen, last_seen, times_seen.
    notes : what cannot be watched yet, and why.
    """

    course: Sequence[Row] = ()
    pages: Sequence[Row] = ()
    notes: Sequence[str] = ()


def render_drift(drift: Drift) -> str:
    """Return the section as HTML; nothing where nothing was watched."""
    if not drift.course and not drift.notes:
        return ""
    figures = "".join(_figure(monitor, drift.course) for monitor in DRAWN)
    drawn = f'<div class="charts" style="margin-top: 12px">{figures}</div>' if figures else ""
    notes = "".join(f'<p class="quiet">Not watched yet: {escape(note)}</p>' for note in drift.notes)
    pages = "".join(_page(page) for page in drift.pages)
    return f"<h2>Drift</h2>{pages}{_table(_shown(drift.course))}{notes}{drawn}"


def _page(page: Row) -> str:
    times = f"raised {page['times_seen']} times since {page['first_seen']}, last on {page['last_seen']}"
    if page["times_seen"] == 1:
        times = f"raised on {page['first_seen']}"
    return f'<p class="warning">{escape(_sentence(page))} <span class="quiet">({escape(times)})</span></p>'


def _shown(course: Sequence[Row]) -> list[Row]:
    """What each monitor says now, and the alarms of the last weeks that asked for a search.

    T2 says its last word on each age, since ages settle on different weekdays; the others speak of all they
    watch in one night, and what counts are its alarms and the row nearest to one.
    """
    since = max((row["as_of_date"] for row in course), default=date.max) - timedelta(days=KEPT_DAYS)
    recent = [row for row in course if row["as_of_date"] > since]
    shown = [row for row in recent if row["fired"] and row["monitor"] in _SEARCHED]
    for monitor in dict.fromkeys(row["monitor"] for row in course):
        if monitor == "T2":
            now = list({row["subject"]: row for row in recent if row["monitor"] == "T2"}.values())
        else:
            now = _last_night([row for row in course if row["monitor"] == monitor])
        shown += [row for row in now if row not in shown]
    return sorted(shown, key=_place)


def _last_night(rows: Sequence[Row]) -> list[Row]:
    """The alarms of a monitor's last night, and the row nearest to one."""
    last = max(row["as_of_date"] for row in rows)
    rows = [row for row in rows if row["as_of_date"] == last]
    nearest = max(rows, key=_share)
    return [row for row in rows if row["fired"] or row is nearest]


def _place(row: Row) -> tuple[Any, ...]:
    """Alarms come first, an age of 7 days before one of 30."""
    return not row["fired"], row["monitor"], len(row["subject"]), row["subject"], row["as_of_date"]


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    head = '<th>watched</th><th>what it says</th><th>what it did</th><th class="number">of its limit</th>'
    body = "".join(
        f"<tr><td>{escape(_watched(row))}</td><td>{escape(_says(row))}</td>"
        f'<td>{escape(_did(row))}</td><td class="number">{_share_words(row)}</td></tr>'
        for row in rows
    )
    return f'<div class="card"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _watched(row: Row) -> str:
    return str(row["subject"]) if row["monitor"] == "T2" else _NAMES[row["monitor"]]


def _says(row: Row) -> str:
    """Its words, or that there is nothing to say: chance alone goes some way towards every limit."""
    if row["fired"]:
        return f"{_sentence(row)} (on {day_words(row['as_of_date'].isoformat())})"
    return _sentence(row) if _share(row) >= WORTH_SAYING else "Nothing out of the ordinary"


def _sentence(row: Row) -> str:
    words = str(row["words"])
    return words[:1].upper() + words[1:]


def _did(row: Row) -> str:
    return "nothing" if row["action"] == "none" else str(row["action"])


def _share_words(row: Row) -> str:
    return "reached" if row["fired"] else f"{min(_share(row), 0.99):.0%}"


def _share(row: Row) -> float:
    """How far the evidence has come, on the scale on which it grows: in powers of ten."""
    statistic, threshold = float(row["statistic"]), float(row["threshold"])
    if row["monitor"] == "T1":  # a p-value: the smaller the surer
        statistic, threshold = 1 / max(statistic, 1e-300), 1 / max(threshold, 1e-300)
    return math.log10(max(statistic, 1.0)) / math.log10(max(threshold, 1.0 + 1e-9))


def _figure(monitor: str, course: Sequence[Row]) -> str:
    rows = [row for row in course if row["monitor"] == monitor]
    if len({row["as_of_date"] for row in rows}) < 2:
        return ""
    svg = evidence_chart(rows)
    return (
        f'<div class="card"><h3>{escape(_NAMES[monitor].capitalize())}</h3>{svg}'
        f'<p class="quiet">{escape(_CAPTIONS[monitor])}</p></div>'
    )


def evidence_chart(rows: Sequence[Row]) -> str:
    """Draw the statistic of each subject over time, and the limit, on a logarithmic axis."""
    days = [row["as_of_date"] for row in rows]
    first, last, limit = min(days), max(days), float(rows[0]["threshold"])
    top = max(10 * limit, *(float(row["statistic"]) for row in rows))
    ticks = [(v, f"{v:,.4g}") for v in (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e6, 1e9) if v <= top]
    x = _date_axis(first, last)
    plot = Plot(x, Axis("evidence", _NO_EVIDENCE, top, ticks, np.log10))
    marks = [
        plot.line([0, (last - first).days], [limit, limit], "dash"),
        plot.note(0, limit, f"alarm at {limit:,.0f}"),
    ]
    subjects = dict.fromkeys(row["subject"] for row in rows)
    for subject in subjects:
        own = [row for row in rows if row["subject"] == subject]
        xs = [(row["as_of_date"] - first).days for row in own]
        ys = [max(float(row["statistic"]), _NO_EVIDENCE) for row in own]
        marks.append(plot.line(xs, ys))
        marks += [plot.dot(a, b) for a, b, row in zip(xs, ys, own, strict=True) if row["fired"]]
    highest = max(rows, key=lambda row: float(row["statistic"]))
    place = (highest["as_of_date"] - first).days
    anchor = "end" if place > (last - first).days / 2 else "start"
    height = max(float(highest["statistic"]), _NO_EVIDENCE)
    marks.append(plot.note(place, height, str(highest["subject"]), anchor))
    described = f"Evidence of {', '.join(subjects)} from {first} to {last}; the alarm is at {limit:,.0f}"
    return plot.draw(described, *marks)


def _date_axis(first: date, last: date) -> Axis:
    n = (last - first).days
    middle = first.fromordinal(first.toordinal() + n // 2)
    ticks = [(0.0, f"{first:%d %b}"), (float(n // 2), f"{middle:%d %b}"), (float(n), f"{last:%d %b}")]
    return Axis("", 0.0, float(n), ticks)
