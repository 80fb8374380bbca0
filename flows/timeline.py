"""Wide charts over dates, one above the other, as SVG text in the style of `flows.charts`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape

from flows.charts import Axis

WIDTH, HEIGHT = 1080, 190
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 14, 26
MAX_TICKS = 12

STYLE = """
svg.timeline text { font: 12px system-ui, sans-serif; fill: var(--muted); }
svg.timeline .grid { stroke: var(--rule); stroke-width: 1; }
svg.timeline .line { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
svg.timeline .second { fill: none; stroke: var(--warn-rule); stroke-width: 2; stroke-linejoin: round; }
svg.timeline .dash { fill: none; stroke: var(--muted); stroke-width: 1.2; stroke-dasharray: 4 4; }
svg.timeline .band { fill: var(--accent); opacity: .15; }
svg.timeline .good { fill: var(--good); stroke: var(--good); }
svg.timeline .bad { fill: var(--bad); stroke: var(--bad); }
svg.timeline .quiet { fill: var(--muted); stroke: var(--muted); }
svg.timeline .event { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 2 3; }
"""


@dataclass(frozen=True)
class Panel:
    """A chart over the days from `first` to `last`; each method returns marks to hand to `draw`."""

    first: date
    last: date
    y: Axis

    def line(self, days: Sequence[date], values: Sequence[float | None], kind: str = "line") -> str:
        """Lines of a kind (line, second or dash) through the values; a None interrupts them."""
        runs: list[list[str]] = [[]]
        for day, value in zip(days, values, strict=True):
            if value is None:
                runs.append([])
            else:
                runs[-1].append(f"{self._x(day):.1f},{self._y(value):.1f}")
        return "".join(f'<polyline class="{kind}" points="{" ".join(run)}"/>' for run in runs if run)

    def band(self, days: Sequence[date], low: Sequence[float], high: Sequence[float]) -> str:
        """A shaded area between two lines."""
        there = [f"{self._x(day):.1f},{self._y(value):.1f}" for day, value in zip(days, high, strict=True)]
        back = [f"{self._x(day):.1f},{self._y(value):.1f}" for day, value in zip(days, low, strict=True)]
        return f'<polygon class="band" points="{" ".join(there + back[::-1])}"/>'

    def mark(self, day: date, value: float, kind: str, title: str) -> str:
        """A dot of a kind (good, bad or quiet) that says its title when pointed at."""
        return (
            f'<circle class="{kind}" cx="{self._x(day):.1f}" cy="{self._y(value):.1f}" r="4">'
            f"<title>{escape(title)}</title></circle>"
        )

    def event(self, day: date, text: str) -> str:
        """A vertical line with a word on it."""
        x = self._x(day)
        return (
            f'<line class="event" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text x="{x + 5:.1f}" y="{TOP + 10}">{escape(text)}</text>'
        )

    def draw(self, description: str, *marks: str) -> str:
        """Return the SVG: grid, ticks, then the marks."""
        return (
            f'<svg class="timeline" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'role="img" aria-label="{escape(description)}">{self._grid()}{"".join(marks)}</svg>'
        )

    def _x(self, day: date) -> float:
        span = max((self.last - self.first).days, 1)
        return LEFT + (WIDTH - RIGHT - LEFT) * (day - self.first).days / span

    def _y(self, value: float) -> float:
        return float(self.y.position(value, HEIGHT - BOTTOM, TOP))

    def _grid(self) -> str:
        parts = []
        for value, label in self.y.ticks:
            at = self._y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(f'<text text-anchor="end" x="{LEFT - 8}" y="{at + 4:.1f}">{escape(label)}</text>')
        for day in month_starts(self.first, self.last):
            parts.append(
                f'<text text-anchor="middle" x="{self._x(day):.1f}" y="{HEIGHT - 6}">{day:%Y-%m}</text>'
            )
        return "".join(parts)


def month_starts(first: date, last: date) -> list[date]:
    """Return the first days of months from `first` to `last`, thinned to at most `MAX_TICKS`."""
    days = [first + timedelta(days=k) for k in range((last - first).days + 1)]
    starts = [day for day in days if day.day == 1]
    return starts[:: -(-len(starts) // MAX_TICKS)] if starts else [first]
