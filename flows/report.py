"""The report of one night: a single HTML file that opens offline, on a phone or a desk, light or dark."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from features.delay import DelayCurve
from flows import charts, report_charts
from flows.drift_section import Drift, render_drift
from flows.evidence_section import render_evidence
from flows.page import fill


@dataclass(frozen=True)
class ReasonLine:
    """A reason in plain words and whether it raises (`+`) or lowers (`-`) the probability."""

    text: str
    sign: str


@dataclass(frozen=True)
class TopLead:
    """A row of the list of best leads; `name` is whatever people know the lead by, None is no probability."""

    rank: int
    lead_id: str
    name: str
    probability: float | None
    reasons: Sequence[ReasonLine] = ()


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows.

    Attributes
    ----------
    title, protocol : what was scored, and one line on how the metrics were measured.
    metrics : flat, intervals as `<metric>_low` and `<metric>_high`; None where undefined.
    y, p : float64 (m,), labels and probabilities of the evaluation cohort; may be empty.
    scores : float64 (n,), probabilities of the open leads.
    top_leads : best first.
    facts : data and model, name -> value, shown in this order.
    set_aside : what was left out -> number of rows.
    seconds : stage -> wall seconds, in order.
    warnings : sentences shown on top.
    drift : what the monitors say, and have said.
    delay_curve : the model's; None where it has none.
    evidence : rows of `scoring.evidence` on the model.
    """

    title: str
    protocol: str
    metrics: Mapping[str, float | None]
    y: np.ndarray
    p: np.ndarray
    scores: np.ndarray
    top_leads: Sequence[TopLead] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    set_aside: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    drift: Drift = field(default_factory=Drift)
    delay_curve: DelayCurve | None = None
    evidence: Sequence[Mapping[str, Any]] = ()


def write_report(path: Path, data: ReportData) -> None:
    """Write the page; its folder is made when missing. Every text is escaped: lead titles may hold HTML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(data), encoding="utf-8")


def render(data: ReportData) -> str:
    """Return the page as HTML."""
    return fill(
        "report_template.html",
        title=escape(data.title),
        subtitle=escape(data.protocol),
        chart_style=charts.STYLE,
        warnings="".join(f'<p class="warning" role="alert">{escape(text)}</p>' for text in data.warnings),
        tiles="".join(_tiles(data.metrics)),
        evidence=render_evidence(data.evidence),
        charts=_charts(data),
        leads=_leads(data.top_leads),
        drift=render_drift(data.drift),
        tables="".join(_tables(data)),
    )


def _share(value: float) -> str:
    return f"{value:.1%}"


def _decimal(value: float) -> str:
    return f"{value:.3f}"


def _times(value: float) -> str:
    return f"{value:.1f}x"


_TILES: dict[str, tuple[str, Callable[[float], str]]] = {
    "average_precision": ("PR-AUC", _decimal),
    "prevalence": ("prevalence", _share),
    "roc_auc": ("ROC-AUC", _decimal),
    "lift_at_10pct": ("lift in the best 10%", _times),
    "precision_at_2pct": ("precision in the best 2%", _share),
    "log_loss": ("log loss", _decimal),
    "calibration_ratio": ("forecast : observed", _decimal),
}


def _tiles(metrics: Mapping[str, float | None]) -> list[str]:
    return [_tile(name, *_TILES[name], metrics) for name in _TILES if metrics.get(name) is not None]


def _tile(key: str, name: str, show: Callable[[float], str], metrics: Mapping[str, float | None]) -> str:
    value, low, high = metrics[key], metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
    lines = [] if low is None or high is None else [f"{show(low)} to {show(high)} (95%)"]
    prevalence = metrics.get("prevalence")
    if key == "average_precision" and value is not None and prevalence:
        lines.append(f"{value / prevalence:.1f}x the prevalence")
    shown = "" if value is None else show(value)
    return (
        f'<div class="tile"><div class="name">{escape(name)}</div><div class="value">{shown}</div>'
        f'<div class="interval">{"<br>".join(lines)}</div></div>'
    )


_CAPTIONS = {
    "gains": ("Gains", "Work the list from the top: how many of all conversions are reached."),
    "lift": ("Lift", "How much better than leads picked at random."),
    "precision_recall": ("Precision and recall", "Of the leads above a threshold, how many convert."),
    "calibration": (
        "Calibration",
        "Do leads forecast at 10% convert 10 times in 100? Bars are 95% intervals.",
    ),
    "delay": (
        "How late conversions arrive",
        "Of the conversions within the horizon, the share that is known so many days after a score; dashed:"
        " the youngest and the oldest leads.",
    ),
    "scores": ("Tonight's scores", "Open leads by probability of converting."),
}


def _charts(data: ReportData) -> str:
    drawn = report_charts.evaluation_charts(data.y, data.p)
    if len(data.scores):
        drawn["scores"] = report_charts.score_chart(data.scores)
    if data.delay_curve is not None:
        drawn["delay"] = report_charts.delay_chart(data.delay_curve)
    figures = [_figure(*_CAPTIONS[name], svg) for name, svg in drawn.items()]
    return f'<h2>How good the scores are</h2><div class="charts">{"".join(figures)}</div>' if figures else ""


def _figure(title: str, caption: str, svg: str) -> str:
    return f'<div class="card"><h3>{escape(title)}</h3>{svg}<p class="quiet">{escape(caption)}</p></div>'


def _leads(leads: Sequence[TopLead]) -> str:
    if not leads:
        return ""
    head = '<th>rank</th><th class="who">lead</th><th class="chance">probability</th><th>why</th>'
    rows = "".join(_lead(lead) for lead in leads)
    return (
        f'<h2>Best open leads</h2><div class="card"><table class="leads"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


_DIRECTIONS = {"+": "up", "-": "down"}


def _lead(lead: TopLead) -> str:
    reasons = "".join(
        f'<li class="{_DIRECTIONS.get(reason.sign, "quiet")}">{escape(reason.text)}</li>'
        for reason in lead.reasons
    )
    return (
        f"<tr><td>{lead.rank}</td>"
        f'<td class="who">{escape(lead.name)}<div class="quiet">{escape(lead.lead_id)}</div></td>'
        f'<td class="chance">{_chance(lead.probability)}</td>'
        f'<td class="why"><ul class="reasons">{reasons}</ul></td></tr>'
    )


def _chance(probability: float | None) -> str:
    if probability is None:
        return '<span class="quiet">none</span>'
    return f'{_share(probability)}<div class="meter"><i style="width:{probability:.1%}"></i></div>'


def _tables(data: ReportData) -> list[str]:
    return [
        _pairs("Data and model", data.facts),
        _pairs("Set aside", {name: f"{count:,}" for name, count in data.set_aside.items()}),
        _pairs("Time by stage", {name: f"{value:.2f} s" for name, value in data.seconds.items()}),
    ]


def _pairs(title: str, pairs: Mapping[str, Any]) -> str:
    if not pairs:
        return ""
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(_text(v))}</td></tr>" for k, v in pairs.items())
    return (
        f'<div class="card"><h3>{escape(title)}</h3><table class="pairs"><tbody>{rows}</tbody></table></div>'
    )


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:,.4g}"
        if isinstance(value, float)
        else str(value)
    )
