"""Line charts as inline SVG: colours come from the page's style, texts are escaped, nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from geo.sphere import Floats

WIDTH, HEIGHT = 460.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 22.0, 12.0, 40.0
COLOURS = 8


class Axis(NamedTuple):
    """One axis: its words, its ends, whether it is logarithmic, and where to put figures."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    is_log: bool = False

    def share(self, values: Floats) -> Floats:
        """Where values lie between the ends, 0 to 1, held within them."""
        low, high = np.log10([self.low, self.high]) if self.is_log else (self.low, self.high)
        bounded = np.clip(values, self.low, self.high)
        return np.asarray(((np.log10(bounded) if self.is_log else bounded) - low) / (high - low))


class Line(NamedTuple):
    """A line of a chart, or its dots; the colour is that of its system everywhere."""

    label: str
    colour: int
    x: Sequence[float]
    y: Sequence[float]
    dots: Sequence[str] = ()
    """What each dot says; none: a plain line."""


PERCENT = [(share / 100.0, f"{share} %") for share in (0, 25, 50, 75, 100)]


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line], diagonal: bool = False) -> str:
    """A chart with its caption."""
    parts = [*_grid(x, y), *(_diagonal(x, y) if diagonal else ())]
    parts += [part for line in lines for part in _line(x, y, line)]
    size = f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}"'
    drawing = f'<svg {size} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{drawing}</figure>'


def _x_px(axis: Axis, values: Sequence[float]) -> Floats:
    return LEFT + axis.share(np.asarray(values, dtype=np.float64)) * (WIDTH - LEFT - RIGHT)


def _y_px(axis: Axis, values: Sequence[float]) -> Floats:
    return HEIGHT - BOTTOM - axis.share(np.asarray(values, dtype=np.float64)) * (HEIGHT - TOP - BOTTOM)


def _grid(x: Axis, y: Axis) -> list[str]:
    base = HEIGHT - BOTTOM
    rows = zip(_y_px(y, [value for value, _ in y.ticks]), y.ticks, strict=True)
    columns = zip(_x_px(x, [value for value, _ in x.ticks]), x.ticks, strict=True)
    parts = [
        f'<line class="rule" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text class="tick" x="{LEFT - 6:g}" y="{at + 3.5:.1f}" text-anchor="end">{escape(said)}</text>'
        for at, (_, said) in rows
    ]
    parts += [
        f'<line class="notch" x1="{at:.1f}" x2="{at:.1f}" y1="{base:g}" y2="{base + 4:g}"/>'
        f'<text class="tick" x="{at:.1f}" y="{base + 16:g}" text-anchor="middle">{escape(said)}</text>'
        for at, (_, said) in columns
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle:g}" y="{HEIGHT - 5:g}" text-anchor="middle">{escape(x.label)}</text>')
    return parts


def _diagonal(x: Axis, y: Axis) -> list[str]:
    (x1, x2), (y1, y2) = _x_px(x, [x.low, x.high]), _y_px(y, [y.low, y.high])
    return [f'<line class="ideal" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>']


def _line(x: Axis, y: Axis, line: Line) -> list[str]:
    if not len(line.x):
        return []
    spots = list(zip(_x_px(x, line.x), _y_px(y, line.y), strict=True))
    colour = f"s{line.colour % COLOURS}"
    corners = " ".join(f"{px:.1f},{py:.1f}" for px, py in spots)
    title = f"<title>{escape(line.label)}</title>"
    parts = [f'<polyline class="line {colour}" points="{corners}">{title}</polyline>']
    parts += [
        f'<circle class="dot {colour}" cx="{px:.1f}" cy="{py:.1f}" r="3.5"><title>{escape(said)}</title></circle>'
        for (px, py), said in zip(spots, line.dots, strict=False)
    ]
    return parts
