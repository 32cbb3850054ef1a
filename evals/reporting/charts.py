"""Charts as inline SVG: colours come from the page's style, texts are escaped, nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from evals.scores.distance import Interval
from geo.sphere import Floats

LEFT, RIGHT, TOP, BOTTOM = 46.0, 22.0, 12.0, 40.0
ROW_PX = 26.0
COLOURS = 16
"""Colours of the page's style; the second half of them draws dashed lines."""
BAR_PX, BAR_GAP_PX, NAME_PX, VALUE_PX, BARS_WIDTH = 11.0, 10.0, 96.0, 60.0, 1160.0


class Size(NamedTuple):
    """Of a drawing, in its own units: about pixels."""

    width: float
    height: float


LARGE, SMALL = Size(460.0, 300.0), Size(228.0, 216.0)


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


def code(number: int) -> str:
    """The short label of a system by its place in the legend.

    >>> code(0), code(25), code(26)
    ('A', 'Z', 'AA')
    """
    rest, letter = divmod(number, 26)
    return (code(rest - 1) if rest else "") + chr(ord("A") + letter)


class Dot(NamedTuple):
    """A dot of a scatter chart: its short label, its colour, where it is, and the interval of its height."""

    code: str
    title: str
    colour: int
    x: float
    y: Interval


PERCENT = [(share / 100.0, f"{share} %") for share in (0, 25, 50, 75, 100)]


class Bar(NamedTuple):
    """A bar of a chart, from zero to an estimate, with its interval."""

    title: str
    colour: int
    interval: Interval


class Frame(NamedTuple):
    """Two axes on a drawing of some size."""

    x: Axis
    y: Axis
    size: Size = LARGE

    def x_px(self, values: Sequence[float]) -> Floats:
        """Where values of x are drawn."""
        return LEFT + self.x.share(np.asarray(values, dtype=np.float64)) * (self.size.width - LEFT - RIGHT)

    def y_px(self, values: Sequence[float]) -> Floats:
        """Where values of y are drawn."""
        base = self.size.height - BOTTOM
        return base - self.y.share(np.asarray(values, dtype=np.float64)) * (base - TOP)


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line], *, diagonal: bool = False, size: Size = LARGE) -> str:
    """A line chart with its caption."""
    frame = Frame(x, y, size)
    parts = [*_grid(frame), *(_diagonal(frame) if diagonal else ())]
    parts += [part for line in lines for part in _line(frame, line)]
    return _figure(title, size, parts)


def scatter(title: str, x: Axis, y: Axis, dots: Sequence[Dot]) -> str:
    """Dots with their short labels and intervals, and the caption."""
    frame, named, parts = Frame(x, y), list[tuple[float, float]](), []
    for dot in dots:
        (px,), (middle, low, high) = frame.x_px([dot.x]), frame.y_px(dot.y)
        at = (float(px) + 8.0, float(middle) - 5.0)
        # Labels of dots in one place stand side by side.
        while any(abs(at[0] - other[0]) < 9.0 and abs(at[1] - other[1]) < 11.0 for other in named):
            at = (at[0] + 10.0, at[1])
        named.append(at)
        parts += _dot_parts(dot, at, (float(px), float(middle), float(low), float(high)))
    return _figure(title, frame.size, [*_grid(frame), *parts])


def _dot_parts(dot: Dot, label_px: tuple[float, float], place_px: tuple[float, float, float, float]) -> list[str]:
    """A dot at x and y, the interval between low and high, and its short label."""
    px, middle, low, high = place_px
    name = f"s{dot.colour % COLOURS}"
    return [
        f'<line class="line thin {name}" x1="{px:.1f}" x2="{px:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>',
        f'<circle class="dot {name}" cx="{px:.1f}" cy="{middle:.1f}" r="5"><title>{escape(dot.title)}</title></circle>',
        f'<text class="code" x="{label_px[0]:.1f}" y="{label_px[1]:.1f}">{escape(dot.code)}</text>',
    ]


def ranges(title: str, marks: Sequence[float], rows: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Rows of shares with their intervals, dashed lines where they should lie, and the caption."""
    height = TOP + len(rows) * ROW_PX + BOTTOM
    frame = Frame(Axis("", 0.0, 1.0, PERCENT), Axis("", 0.0, 1.0, []), Size(LARGE.width, height))
    parts = _grid(frame)
    for at in frame.x_px(marks):
        parts.append(f'<line class="ideal" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP:g}" y2="{height - BOTTOM:g}"/>')
    for number, (name, shares) in enumerate(rows):
        top = TOP + (number + 0.5) * ROW_PX
        parts.append(f'<text class="tick" x="{LEFT - 8:g}" y="{top + 4:g}" text-anchor="end">{escape(name)}</text>')
        for place, bar in enumerate(shares):
            parts += _range_parts(frame, bar, top + (place - (len(shares) - 1) / 2) * 8.0)
    return _figure(title, frame.size, parts, "chart narrow")


def _range_parts(frame: Frame, bar: Bar, at: float) -> list[str]:
    middle, low, high = frame.x_px(bar.interval)
    name = f"s{bar.colour % COLOURS}"
    return [
        f'<line class="line thin {name}" x1="{low:.1f}" x2="{high:.1f}" y1="{at:g}" y2="{at:g}"/>',
        f'<circle class="dot {name}" cx="{middle:.1f}" cy="{at:g}" r="4.5"><title>{escape(bar.title)}</title></circle>',
    ]


def bars(title: str, rows: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Groups of horizontal bars with their intervals, each group with its name, and its caption."""
    highest = max(bar.interval.high for _, group in rows for bar in group) or 1.0
    parts, top = [], TOP
    for name, group in rows:
        middle = top + len(group) * BAR_PX / 2
        parts.append(
            f'<text class="tick" x="{NAME_PX - 8:g}" y="{middle + 3.5:g}" text-anchor="end">{escape(name)}</text>'
        )
        for bar in group:
            parts += _bar_parts(bar, top, (BARS_WIDTH - NAME_PX - VALUE_PX) / highest)
            top += BAR_PX
        top += BAR_GAP_PX
    return _figure(title, Size(BARS_WIDTH, top), parts, "chart wide")


def _bar_parts(bar: Bar, top: float, scale: float) -> list[str]:
    length, low, high = (NAME_PX + max(0.0, value) * scale for value in bar.interval)
    middle = top + BAR_PX / 2
    title = f"<title>{escape(bar.title)}</title>"
    width = max(1.0, length - NAME_PX)
    return [
        f'<rect class="bar s{bar.colour % COLOURS}" x="{NAME_PX:g}" y="{top + 1:g}" width="{width:.1f}"'
        f' height="{BAR_PX - 2:g}">{title}</rect>',
        f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:g}" y2="{middle:g}"/>',
        f'<text class="tick" x="{high + 7:.1f}" y="{middle + 4:g}">{bar.interval.estimate:.2f}</text>',
    ]


def _figure(title: str, size: Size, parts: Sequence[str], kind: str = "chart") -> str:
    box = f'viewBox="0 0 {size.width:g} {size.height:g}"'
    drawing = f'<svg {box} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return f'<figure class="{kind}"><figcaption>{escape(title)}</figcaption>{drawing}</figure>'


def _grid(frame: Frame) -> list[str]:
    x, y, (width, height) = frame
    base = height - BOTTOM
    rows = zip(frame.y_px([value for value, _ in y.ticks]), y.ticks, strict=True)
    columns = zip(frame.x_px([value for value, _ in x.ticks]), x.ticks, strict=True)
    parts = [
        f'<line class="rule" x1="{LEFT:g}" x2="{width - RIGHT:g}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text class="tick" x="{LEFT - 6:g}" y="{at + 3.5:.1f}" text-anchor="end">{escape(text)}</text>'
        for at, (_, text) in rows
    ]
    parts += [
        f'<line class="notch" x1="{at:.1f}" x2="{at:.1f}" y1="{base:g}" y2="{base + 4:g}"/>'
        f'<text class="tick" x="{at:.1f}" y="{base + 16:g}" text-anchor="middle">{escape(text)}</text>'
        for at, (_, text) in columns
    ]
    middle = (LEFT + width - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle:g}" y="{height - 5:g}" text-anchor="middle">{escape(x.label)}</text>')
    return parts


def _diagonal(frame: Frame) -> list[str]:
    (x1, x2), (y1, y2) = frame.x_px([frame.x.low, frame.x.high]), frame.y_px([frame.y.low, frame.y.high])
    return [f'<line class="ideal" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>']


def _line(frame: Frame, line: Line) -> list[str]:
    if not len(line.x):
        return []
    spots = list(zip(frame.x_px(line.x), frame.y_px(line.y), strict=True))
    colour = f"s{line.colour % COLOURS}"
    corners = " ".join(f"{px:.1f},{py:.1f}" for px, py in spots)
    title = f"<title>{escape(line.label)}</title>"
    parts = [f'<polyline class="line {colour}" points="{corners}">{title}</polyline>']
    parts += [
        f'<circle class="dot {colour}" cx="{px:.1f}" cy="{py:.1f}" r="3.5"><title>{escape(text)}</title></circle>'
        for (px, py), text in zip(spots, line.dots, strict=False)
    ]
    return parts
