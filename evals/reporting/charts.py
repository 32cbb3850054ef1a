"""Line charts as inline SVG: colours come from the page's style, texts are escaped, nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from evals.scores.arrays import System
from evals.scores.reliability import EARTH_AREA_KM2
from evals.scores.scoring import Score
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
    """The title of each dot; none: a plain line."""


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
        f'<text class="tick" x="{LEFT - 6:g}" y="{at + 3.5:.1f}" text-anchor="end">{escape(text)}</text>'
        for at, (_, text) in rows
    ]
    parts += [
        f'<line class="notch" x1="{at:.1f}" x2="{at:.1f}" y1="{base:g}" y2="{base + 4:g}"/>'
        f'<text class="tick" x="{at:.1f}" y="{base + 16:g}" text-anchor="middle">{escape(text)}</text>'
        for at, (_, text) in columns
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
        f'<circle class="dot {colour}" cx="{px:.1f}" cy="{py:.1f}" r="3.5"><title>{escape(text)}</title></circle>'
        for (px, py), text in zip(spots, line.dots, strict=False)
    ]
    return parts


ERROR_STEPS_KM = np.geomspace(0.1, 20_015.0, 120)
_SHARE = Axis("", 0.0, 1.0, PERCENT)


def curves(systems: Sequence[System], scores: Sequence[Score]) -> list[str]:
    """Every chart, as SVG."""
    return [
        _errors(systems),
        _reliability(scores),
        *(_risk(scores, km) for km in (25.0, 750.0)),
        _recall_area(scores),
    ]


def _errors(systems: Sequence[System]) -> str:
    ticks = [(km, f"{km:g}") for km in (0.1, 1.0, 25.0, 200.0, 750.0, 2500.0, 20000.0)]
    x = Axis("error in km", 0.1, 20_015.0, ticks, is_log=True)
    lines = [Line(s.label, i, ERROR_STEPS_KM.tolist(), _within(s)) for i, s in enumerate(systems)]
    return chart("Share of all photos answered within a distance", x, _SHARE, lines)


def _within(system: System) -> list[float]:
    # NaN, a photo without an answer, sorts last and is within no distance.
    order = np.sort(system.arrays.distance_km)
    return list(np.searchsorted(order, ERROR_STEPS_KM, side="right") / len(order))


def _reliability(scores: Sequence[Score]) -> str:
    x = Axis("confidence", 0.0, 1.0, PERCENT)
    lines = [
        Line(s.label, i, [b.confidence for b in s.reliability], [b.right for b in s.reliability], _dots(s))
        for i, s in enumerate(scores)
    ]
    return chart("Confidence against the share that is right; the diagonal is ideal", x, _SHARE, lines, diagonal=True)


def _dots(s: Score) -> list[str]:
    return [f"{s.label}: {b.photos} photos, confidence {b.confidence:.0%}, right {b.right:.0%}" for b in s.reliability]


def _risk(scores: Sequence[Score], km: float) -> str:
    x = Axis("share of photos answered, most confident first", 0.0, 1.0, PERCENT)
    lines = [Line(s.label, i, s.risk_curve[km].x, s.risk_curve[km].y) for i, s in enumerate(scores)]
    return chart(f"Share of those that are not within {km:g} km: lower is better", x, _SHARE, lines)


def _recall_area(scores: Sequence[Score]) -> str:
    ticks = [(10.0**power, label) for power, label in ((0, "1"), (2, "100"), (4, "10⁴"), (6, "10⁶"), (8, "10⁸"))]
    x = Axis("area searched in km², in the answer's order", 1.0, EARTH_AREA_KM2, ticks, is_log=True)
    lines = [Line(s.label, i, s.recall_area.x, s.recall_area.y) for i, s in enumerate(scores)]
    return chart("Share of photos found within an area (Recall-vs-Area)", x, _SHARE, lines)
