"""The report's section on what calling by the score brings, for people who plan calls."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from flows.evidence import NEWEST, POOLED

Row = Mapping[str, Any]
Measures = Mapping[str, Mapping[str, Row]]

_NEEDED = {"conversion_of_called", "decile_conversion"}

_VERDICTS = {
    "better": "the score is better",
    "tie": "a tie: too close to tell",
    "worse": "the score is worse",
}
_WAYS = {
    "score": "by score",
    "at random": "at random",
    "source only": "by source alone",
    "recency only": "last active first",
    "logistic regression": "by a logistic regression",
}


def render_evidence(rows: Sequence[Row]) -> str:
    """Return the section as HTML of rows of `scoring.evidence`; nothing where nothing was measured."""
    by_origin: dict[str, dict[str, dict[str, Row]]] = {}
    for row in rows:
        measures = by_origin.setdefault(row.get("origin", NEWEST), {})
        measures.setdefault(row["measure"], {})[row["subject"]] = row
    newest, rolling = by_origin.pop(NEWEST, {}), by_origin.pop(POOLED, {})
    parts = []
    if newest.keys() >= _NEEDED:
        parts = [f"<p>{headline(newest)}</p>{_columns(_ways(newest), _deciles(newest), _segments(newest))}"]
    if rolling.keys() >= _NEEDED:
        parts += [
            '<h3 style="margin-top: 24px">Week after week</h3>',
            f"<p>{headline(rolling)} {_steadiness(by_origin)}</p>",
            _columns(_ways(rolling), _origins(by_origin)),
            "<details><summary>All weeks by tenths and by source</summary>",
            _columns(_deciles(rolling), _segments(rolling)),
            "</details>",
        ]
    return f"<h2>What calling by score brings</h2>{''.join(parts)}" if parts else ""


def headline(measures: Measures) -> str:
    """Say in two sentences how many of 100 calls convert with the score and without it; HTML."""
    called = measures["conversion_of_called"]
    score, chance = called["score"], called["at random"]
    verdict = measures["gain_over"]["at random"]["verdict"]
    share = score["n_rows"] / measures["forecast_to_observed"]["all"]["n_rows"]
    told = (
        f"Of 100 calls to the leads with the best scores, <b>{100 * score['value']:.1f}</b> convert"
        f"{_between(score, 100, '')}; of 100 to leads picked at random, {100 * chance['value']:.1f}."
    )
    if verdict == "tie":
        return f"{told} That is a tie: there are too few conversions to tell the two apart."
    times = measures["times_as_many"]["at random"]
    return (
        f"{told} That is <b>{times['value']:.1f} times</b> as many{_between(times, 1, '')}, when the best "
        f"{share:.0%} of the open leads are called each day."
    )


def _columns(*cards: str) -> str:
    return f'<div class="columns">{"".join(cards)}</div>'


def _steadiness(origins: Mapping[str, Measures]) -> str:
    """On how many weekly origins the score was ahead; each model knew only what was known on its day."""
    days = sorted(origins)
    if not days:
        return ""
    gains = [origins[day]["gain_over"]["at random"]["value"] for day in days]
    ahead = sum(gain > 0 for gain in gains)
    return (
        f"Measured on {len(days)} weeks from {days[0]} to {days[-1]}, each with a model that knew only what"
        f" was known on that day: calling by score was ahead of calling at random on {ahead} of them."
    )


def _origins(origins: Mapping[str, Measures]) -> str:
    """One line a week: what calls by score and at random brought, and the forecast beside it."""
    body = []
    for day in sorted(origins):
        called, times = origins[day]["conversion_of_called"], origins[day].get("times_as_many", {})
        forecast = origins[day].get("forecast_to_observed", {}).get("all")
        body.append(
            [
                f'<span style="white-space: nowrap">{escape(day)}</span>',
                f"{called['score']['value']:.1%}",
                f"{called['at random']['value']:.1%}",
                f"{times['at random']['value']:.1f}x" if "at random" in times else "",
                "" if forecast is None else f"{forecast['value']:.2f}",
            ]
        )
    head = ["open on", "by score", "at random", "times", "forecast : observed"]
    return _table("The same number of calls, week by week", head, body) if body else ""


def _between(row: Row, factor: float, unit: str) -> str:
    if row["low"] is None or row["high"] is None:
        return ""
    return f" ({factor * row['low']:.1f}{unit} to {factor * row['high']:.1f}{unit})"


def _ways(measures: Measures) -> str:
    body = []
    for name, row in measures["conversion_of_called"].items():
        gain = measures.get("gain_over", {}).get(name)
        verdict = "" if gain is None else _VERDICTS[gain["verdict"]]
        tied = measures.get("tied_at_capacity", {}).get(name)
        if tied is not None and tied["value"] > 0:
            verdict += f"{'; ' if verdict else ''}{tied['value']:,.0f} leads tied at the last place share it"
        body.append([escape(_WAYS.get(name, name)), _share(row), escape(verdict)])
    caption = "Calls chosen in different ways, same number of calls"
    return _table(caption, ["leads called", "converted", "beside the score"], body)


def _deciles(measures: Measures) -> str:
    body = []
    for subject, row in measures["decile_conversion"].items():
        forecast, lift = measures["decile_forecast"].get(subject), measures["decile_lift"].get(subject)
        gains = measures["gains"].get(subject)
        body.append(
            [
                _tenth(int(subject)),
                _share(row),
                "" if forecast is None else f"{forecast['value']:.1%}",
                "" if lift is None else f"{lift['value']:.1f}x",
                "" if gains is None else f"{gains['value']:.0%}",
            ]
        )
    head = ["leads", "converted", "forecast", "lift", "of all so far"]
    return _table("Tenths of the list, best first", head, body)


def _segments(measures: Measures) -> str:
    body = [
        [escape(name), _share(row), f"{forecast['value']:.1%}", escape(str(forecast["verdict"]))]
        for name, row in measures.get("segment_conversion", {}).items()
        if (forecast := measures["segment_forecast"].get(name)) is not None
    ]
    return _table("By source", ["source", "converted", "forecast", "verdict"], body) if body else ""


def _tenth(number: int) -> str:
    return {1: "best tenth", 10: "last tenth"}.get(number, f"{number}.")


def _share(row: Row) -> str:
    """Show a share with its interval below; HTML."""
    if row["low"] is None:
        return f"{row['value']:.1%}"
    return f'{row["value"]:.1%}<div class="quiet">{row["low"]:.1%} to {row["high"]:.1%}</div>'


def _table(title: str, head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Cells are HTML."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in body)
    return (
        f'<div class="card"><h3>{escape(title)}</h3><table class="evidence"><thead><tr>{names}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )
