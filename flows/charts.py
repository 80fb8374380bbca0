"""Small line, point and bar charts as SVG text.

Colours are classes that the page's style sheet fills in, so that one chart serves light and dark pages;
`standalone` carries the style along. Written by hand because a plotting library takes two seconds and 150 MB
for five charts, and its output knows one colour scheme only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 12, 40

STYLE = """
svg.chart text { font: 11px system-ui, sans-serif; fill: var(--muted, #5b6472); }
svg.chart .note { fill: var(--ink, #1b222c); font-weight: 600; }
svg.chart .grid { stroke: var(--rule, #dde2e8); stroke-width: 1; }
svg.chart .line { fill: none; stroke: var(--accent, #1f6feb); stroke-width: 2; stroke-linejoin: round; }
svg.chart .dash { fill: none; stroke: var(--muted, #5b6472); stroke-width: 1.2; stroke-dasharray: 4 4; }
svg.chart .bar { fill: var(--accent, #1f6feb); }
svg.chart .dot { fill: var(--accent, #1f6feb); }
svg.chart .whisker { stroke: var(--accent, #1f6feb); stroke-width: 1.5; opacity: .55; }
"""


def _identity(values: np.ndarray) -> np.ndarray:
    return values


def log_odds(p: np.ndarray) -> np.ndarray:
    """Scale for probabilities in (0, 1)."""
    return np.log(p / (1 - p))


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, with labelled ticks; `scale` bends it."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    scale: Callable[[np.ndarray], np.ndarray] = _identity

    def position(self, values: ArrayLike, start: float, stop: float) -> np.ndarray:
        """Pixels of `values` on an axis drawn from `start` to `stop`."""
        low, high, v = (self.scale(np.asarray(x, dtype=np.float64)) for x in (self.low, self.high, values))
        return start + (stop - start) * (v - low) / (high - low)


def percent_axis(
    title: str, high: float = 1.0, scale: Callable[[np.ndarray], np.ndarray] = _identity
) -> Axis:
    """Axis of shares from 0 to `high`, with ticks at round percentages."""
    if scale is _identity:
        step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.25) if high / s <= 5 or s == 0.25)
        values = np.arange(0, high + 1e-9, step)
    else:
        values = np.array([v for v in (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if v <= high])
    return Axis(title, 0.0, high, [(v, f"{v:.0%}") for v in values], scale)


def number_axis(title: str, high: float) -> Axis:
    """Axis from 0 to a round number at or above `high`."""
    raw = max(high, 1e-9) / 4
    magnitude = 10.0 ** np.floor(np.log10(raw))
    step = magnitude * next(s for s in (1, 2, 2.5, 5, 10) if s * magnitude >= raw * (1 - 1e-9))
    top = step * np.ceil(high / step - 1e-9)
    return Axis(title, 0.0, float(top), [(v, f"{v:,.10g}") for v in np.arange(0, top + step / 2, step)])


@dataclass(frozen=True)
class Plot:
    """A pair of axes; each method returns marks to hand to `draw`."""

    x: Axis
    y: Axis

    def line(self, xs: ArrayLike, ys: ArrayLike, kind: str = "line") -> str:
        """A line through the points; kind `line` or `dash`."""
        px, py = self._pixels(xs, ys)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
        return f'<polyline class="{kind}" points="{points}"/>'

    def points(self, xs: ArrayLike, ys: ArrayLike, low: ArrayLike, high: ArrayLike) -> str:
        """Dots with a whisker from `low` to `high`."""
        px, py = self._pixels(xs, ys)
        (_, bottom), (_, top) = self._pixels(xs, low), self._pixels(xs, high)
        return "".join(
            f'<line class="whisker" x1="{a:.1f}" x2="{a:.1f}" y1="{lo:.1f}" y2="{hi:.1f}"/>'
            f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="3.2"/>'
            for a, b, lo, hi in zip(px, py, bottom, top, strict=True)
        )

    def dot(self, x: float, y: float) -> str:
        """One dot."""
        px, py = self._pixels([x], [y])
        return f'<circle class="dot" cx="{px[0]:.1f}" cy="{py[0]:.1f}" r="3.5"/>'

    def bars(self, low: ArrayLike, high: ArrayLike, heights: Sequence[float]) -> str:
        """Bars from x `low` to `high`, standing on y = 0."""
        left, tops = self._pixels(low, heights)
        right, floor = self._pixels(high, np.zeros(len(heights)))
        return "".join(
            f'<rect class="bar" x="{a:.1f}" y="{t:.1f}" '
            f'width="{max(b - a - 1, 0.5):.1f}" height="{f - t:.1f}"/>'
            for a, b, t, f, h in zip(left, right, tops, floor, heights, strict=True)
            if h > 0
        )

    def note(
        self, x: float, y: float, text: str, anchor: str = "start", dx: float = 6, dy: float = -6
    ) -> str:
        """Text beside a point."""
        px, py = self._pixels([x], [y])
        return (
            f'<text class="note" text-anchor="{anchor}" x="{px[0] + dx:.1f}" y="{py[0] + dy:.1f}">'
            f"{escape(text)}</text>"
        )

    def draw(self, description: str, *marks: str) -> str:
        """Return the SVG: grid, ticks, axis titles, then the marks."""
        return (
            f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'role="img" aria-label="{escape(description)}">{self._grid()}{"".join(marks)}</svg>'
        )

    def _pixels(self, xs: ArrayLike, ys: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        return self.x.position(xs, LEFT, WIDTH - RIGHT), self.y.position(ys, HEIGHT - BOTTOM, TOP)

    def _grid(self) -> str:
        parts = []
        for value, label in self.x.ticks:
            a = float(self.x.position(value, LEFT, WIDTH - RIGHT))
            parts.append(
                f'<text text-anchor="middle" x="{a:.1f}" y="{HEIGHT - BOTTOM + 15}">{escape(label)}</text>'
            )
        for value, label in self.y.ticks:
            b = float(self.y.position(value, HEIGHT - BOTTOM, TOP))
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{b:.1f}" y2="{b:.1f}"/>')
            parts.append(f'<text text-anchor="end" x="{LEFT - 6}" y="{b + 4:.1f}">{escape(label)}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(
            f'<text text-anchor="middle" x="{middle}" y="{HEIGHT - 6}">{escape(self.x.title)}</text>'
        )
        height = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            f'<text text-anchor="middle" transform="translate(11 {height}) rotate(-90)">'
            f"{escape(self.y.title)}</text>"
        )
        return "".join(parts)


def standalone(svg: str) -> str:
    """Put the style sheet into a chart, for viewers that show the file alone."""
    return svg.replace(">", f"><style>{STYLE}</style>", 1)
