"""The story of a replay as one HTML page: a timeline of ranking, forecasts, evidence and decisions."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

from flows import timeline
from flows.charts import Axis, number_axis, percent_axis
from flows.page import fill
from flows.replay import ReplayedNight, Story
from flows.timeline import Panel

EVIDENCE = (("T2", "line", "harm on settled labels"), ("T3", "second", "early wins"))
HIGHEST_EVIDENCE = 6.0


def write_page(path: Path, story: Story, title: str, drift_date: date | None) -> None:
    """Write the page; its folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(story, title, drift_date), encoding="utf-8")


def render(story: Story, title: str, drift_date: date | None) -> str:
    """Return the page as HTML; `drift_date` is when the simulated world changed."""
    return fill(
        "replay_template.html",
        title=escape(title),
        subtitle=escape(
            f"{len(story.nights)} nights, {story.n_promoted} promotions, {len(story.alarms)} alarms; every"
            f" row is in SQL under model_key = '{story.model_key}'"
        ),
        chart_style=timeline.STYLE,
        panels="".join(_panels(story, drift_date)),
        events=_events(story),
    )


def _panels(story: Story, drift_date: date | None) -> Iterator[str]:
    drawings = {
        "Ranking in hindsight: PR-AUC of each night's scores, with the prevalence dashed": _ranking,
        "Forecast against truth: conversions forecast per conversion that came": _forecast,
        "Evidence of drift (powers of ten): harm on settled labels, and early wins in the second colour":
            _evidence,
        "Decisions by version: promoted, refused; point at a dot for the reason": _decisions,
    }  # fmt: skip
    for caption, draw in drawings.items():
        svg = draw(story, drift_date)
        if svg:
            yield f'<h2>{escape(caption)}</h2><div class="card">{svg}</div>'


def _ranking(story: Story, drift_date: date | None) -> str:
    judged = [night for night in story.nights if night.average_precision is not None]
    if not judged:
        return ""
    panel = _panel(story, percent_axis("", max(_values(judged, "average_precision_high"))))
    days = [night.as_of for night in judged]
    low, high = _values(judged, "average_precision_low"), _values(judged, "average_precision_high")
    return panel.draw(
        "PR-AUC by night",
        panel.band(days, low, high),
        panel.line(days, _values(judged, "average_precision")),
        panel.line(days, _values(judged, "prevalence"), "dash"),
        _changed(panel, drift_date),
    )


def _forecast(story: Story, drift_date: date | None) -> str:
    judged = [night for night in story.nights if night.calibration_ratio is not None]
    if not judged:
        return ""
    ratios = _values(judged, "calibration_ratio")
    panel = _panel(story, number_axis("", min(max(*ratios, 2.0), 10.0)))
    days = [night.as_of for night in judged]
    return panel.draw(
        "Forecast over observed conversions by night",
        panel.line([story.nights[0].as_of, story.nights[-1].as_of], [1.0, 1.0], "dash"),
        panel.line(days, [min(ratio, panel.y.high) for ratio in ratios]),
        _changed(panel, drift_date),
    )


def _evidence(story: Story, drift_date: date | None) -> str:
    series = {monitor: _strongest(story.drifts, monitor) for monitor, _, _ in EVIDENCE}
    if not any(series.values()):
        return ""
    panel = _panel(story, number_axis("", HIGHEST_EVIDENCE))
    marks = []
    for monitor, kind, name in EVIDENCE:
        rows = series[monitor]
        marks.append(panel.line(list(rows), [_bounded(row["evidence"]) for row in rows.values()], kind))
        marks += [
            panel.mark(day, _bounded(row["evidence"]), "bad", f"{day} {name}: {row['words']}")
            for day, row in rows.items()
            if row["fired"]
        ]
    return panel.draw("Evidence of drift by night", *marks, _changed(panel, drift_date))


def _decisions(story: Story, drift_date: date | None) -> str:
    versions = sorted({int(night.model_version) for night in story.nights if night.model_version})
    if not versions:
        return ""
    top = max(versions)
    ticks = [(v, str(v)) for v in range(0, top + 1, max(1, top // 4))]
    panel = _panel(story, Axis("", 0.0, top + 1.0, ticks))
    days = [night.as_of for night in story.nights]
    used = [None if night.model_version is None else float(night.model_version) for night in story.nights]
    marks = [panel.line(days, used)]
    for one in story.decisions:
        kind = "good" if one["verdict"] == "promote" else "quiet" if one["verdict"] == "shadow" else "bad"
        version = float(one["challenger"] or one["champion_after"] or 0)
        marks.append(panel.mark(_day(one["as_of"]), min(version, top + 1.0), kind, _decision_words(one)))
    return panel.draw("Model version in use and decisions", *marks, _changed(panel, drift_date))


def _events(story: Story) -> str:
    rows = [
        *((night.as_of, "night", night.outcome) for night in story.nights if night.outcome != "published"),
        *((row["as_of_date"], row["monitor"], row["words"]) for row in story.alarms),
        *_moved(story.noted),
        *((_day(one["as_of"]), one["kind"], _decision_words(one)) for one in story.decisions),
    ]
    body = "".join(
        f"<tr><td>{day}</td><td>{escape(str(what))}</td><td>{escape(words)}</td></tr>"
        for day, what, words in sorted(rows, key=lambda row: row[0])
    )
    return (
        "<table><thead><tr><th>night</th><th>what</th><th>in words</th></tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _moved(noted: Sequence[Mapping[str, Any]]) -> Iterator[tuple[date, str, str]]:
    """Yield one line a night for all columns that moved, with the clearest in words."""
    by_night: dict[date, list[Mapping[str, Any]]] = {}
    for row in noted:
        by_night.setdefault(row["as_of_date"], []).append(row)
    for night, rows in by_night.items():
        clearest = max(rows, key=lambda row: row["evidence"])
        rest = f", and {len(rows) - 1} more; nothing asks for a search" if len(rows) > 1 else ""
        yield night, clearest["monitor"], f"{clearest['words']}{rest}"


def _decision_words(one: Mapping[str, Any]) -> str:
    reasons = f": {'; '.join(one['reasons'])}" if one["reasons"] else ""
    recipe = one["recipe"].get("name") if one["recipe"] else None
    made = f" ({recipe})" if recipe else ""
    return f"{one['verdict']} version {one['challenger']}{made}, because {one['cause']}{reasons}"


def _strongest(drifts: Sequence[Mapping[str, Any]], monitor: str) -> dict[date, Mapping[str, Any]]:
    """Return each night's reading with the most evidence, in order of time."""
    found: dict[date, Mapping[str, Any]] = {}
    for row in sorted(drifts, key=lambda row: (row["as_of_date"], row["evidence"])):
        if row["monitor"] == monitor:
            found[row["as_of_date"]] = row
    return found


def _bounded(evidence: float) -> float:
    return min(max(evidence, 0.0), HIGHEST_EVIDENCE)


def _panel(story: Story, y: Axis) -> Panel:
    return Panel(story.nights[0].as_of, story.nights[-1].as_of, y)


def _changed(panel: Panel, drift_date: date | None) -> str:
    is_inside = drift_date is not None and panel.first <= drift_date <= panel.last
    return panel.event(drift_date, "the world changes") if drift_date is not None and is_inside else ""


def _values(nights: Sequence[ReplayedNight], name: str) -> list[float]:
    return [float(getattr(night, name) or 0.0) for night in nights]


def _day(text: str | date) -> date:
    return text if isinstance(text, date) else date.fromisoformat(text)
