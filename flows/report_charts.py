"""The charts of the nightly report, by name."""

import numpy as np

from features.delay import DelayCurve
from flows import charts, curves
from flows.charts import Plot
from flows.curves import Table

WORKED_SHARE = 0.10
FIRST_SHARE = 0.01
"""Lift is drawn from here on: the lift of a handful of leads is chance, and would set the scale."""


def evaluation_charts(y: np.ndarray, p: np.ndarray) -> dict[str, str]:
    """Charts of labels `y` and probabilities `p` of the evaluation cohort; none with one class only."""
    tables = curves.tables(y, p)
    if not tables:
        return {}
    return {
        "gains": _gains(tables["gains"]),
        "lift": _lift(tables["gains"]),
        "precision_recall": _precision_recall(tables["precision_recall"], float(y.mean())),
        "calibration": _calibration(tables["calibration"]),
    }


def score_chart(p: np.ndarray) -> str:
    """Distribution of probabilities `p` of open leads, on a log-odds axis."""
    table = curves.score_histogram(p)
    ticks = [
        (v, f"{100 * v:g}%")
        for v in (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
        if table["low"][0] - 1e-6 <= v <= table["high"][-1] + 1e-6
    ]
    x = charts.Axis("probability of converting", table["low"][0], table["high"][-1], ticks, charts.log_odds)
    plot = Plot(x, charts.number_axis("open leads", max(table["n"])))
    return plot.draw(
        "How many open leads have which probability", plot.bars(table["low"], table["high"], table["n"])
    )


def delay_chart(curve: DelayCurve) -> str:
    """Share of conversions known so many days after a snapshot; dashed: the youngest and the oldest leads."""
    ages, pooled = np.asarray(curve.ages), np.asarray(curve.pooled)
    shown = ages <= ages[int(np.searchsorted(pooled, 0.999 * pooled[-1]))]
    median = curve.quantile(0.5 * pooled[-1])
    plot = Plot(
        charts.number_axis("days since the score was made", float(ages[shown][-1])),
        charts.percent_axis("share of conversions known"),
    )
    bands = sorted(curve.segments, key=lambda name: int(name.partition("-")[0].partition("+")[0]))
    ends = dict.fromkeys([*bands[:1], *bands[-1:]])
    return plot.draw(
        f"Delay: half of the horizon's conversions are known after {median:.0f} days",
        *(plot.line(ages[shown], np.asarray(curve.segments[name])[shown], "dash") for name in ends),
        plot.line(ages[shown], pooled[shown]),
        plot.dot(median, 0.5 * pooled[-1]),
        plot.note(median, 0.5 * pooled[-1], f"half after {median:.0f} days", dx=8, dy=14),
    )


def _gains(table: Table) -> str:
    captured = float(np.interp(WORKED_SHARE, table["share"], table["capture"]))
    plot = Plot(
        charts.percent_axis("share of leads, best first"), charts.percent_axis("share of conversions")
    )
    return plot.draw(
        f"Gains: the best {WORKED_SHARE:.0%} of leads hold {captured:.0%} of conversions",
        plot.line([0, 1], [0, 1], "dash"),
        plot.line(table["share"], table["capture"]),
        plot.dot(WORKED_SHARE, captured),
        plot.note(WORKED_SHARE, captured, f"best {WORKED_SHARE:.0%} hold {captured:.0%}", dx=8, dy=14),
    )


def _lift(table: Table) -> str:
    lift = float(np.interp(WORKED_SHARE, table["share"], table["lift"]))
    first = int(np.searchsorted(table["share"], FIRST_SHARE))
    shares, lifts = table["share"][first:], table["lift"][first:]
    highest = max(*lifts, lift, 1.0)
    plot = Plot(
        charts.percent_axis("share of leads, best first"), charts.number_axis("lift over prevalence", highest)
    )
    return plot.draw(
        f"Lift: the best {WORKED_SHARE:.0%} of leads convert {lift:.1f} times as often as all",
        plot.line([0, 1], [1, 1], "dash"),
        plot.line(shares, lifts),
        plot.dot(WORKED_SHARE, lift),
        plot.note(WORKED_SHARE, lift, f"{lift:.1f}x at {WORKED_SHARE:.0%}", dx=8, dy=-6),
    )


def _precision_recall(table: Table, prevalence: float) -> str:
    recall, precision = [0.0, *table["recall"]], [table["precision"][0], *table["precision"]]
    plot = Plot(charts.percent_axis("recall"), charts.percent_axis("precision"))
    return plot.draw(
        f"Precision by recall; without a model it is {prevalence:.1%} everywhere",
        plot.line([0, 1], [prevalence, prevalence], "dash"),
        plot.line(recall, precision),
        plot.note(0.0, prevalence, f"prevalence {prevalence:.1%}"),
    )


def _calibration(table: Table) -> str:
    highest = min(1.0, 1.05 * max(*table["forecast"], *table["observed_high"]))
    x = charts.percent_axis("forecast, ten equal groups", highest, np.sqrt)
    plot = Plot(x, charts.percent_axis("converted", highest, np.sqrt))
    return plot.draw(
        "Calibration: share converted, with 95% intervals, by forecast; on the diagonal they agree",
        plot.line([0, highest], [0, highest], "dash"),
        plot.points(table["forecast"], table["observed"], table["observed_low"], table["observed_high"]),
    )
