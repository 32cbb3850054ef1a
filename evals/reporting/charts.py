"""Charts as inline SVG: colours come from the page's style, texts are escaped, nothing is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from evals.scores.arrays import System
from evals.scores.distance import THRESHOLDS_KM, Interval
from evals.scores.reliability import EARTH_AREA_KM2, ChanceReliability
from evals.scores.scoring import Score
from evals.scores.tables import decimals
from geo.sphere import Floats

LEFT, RIGHT, TOP, BOTTOM = 46.0, 22.0, 12.0, 40.0
COLOURS = 8
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


ERROR_STEPS_KM = np.geomspace(0.1, 20_015.0, 120)
_SHARE = Axis("", 0.0, 1.0, PERCENT)


def curves(systems: Sequence[System], scores: Sequence[Score]) -> list[str]:
    """Charts of errors and of what ranks answers, as SVG."""
    confidence = [] if all(s.chances for s in scores) else [_confidence(scores)]
    selective = [_selective(scores, km) for km in (25.0, 750.0)]
    return [_errors(systems), *selective, *confidence, _recall_area(scores)]


def reliability_curves(scores: Sequence[Score]) -> list[str]:
    """A small chart for each distance: the chances stated against the share that held; none if none is stated."""
    return [_reliability(scores, km) for km in THRESHOLDS_KM if any(km in s.chances for s in scores)]


def information_chart(scores: Sequence[Score]) -> list[str]:
    """What each kind of evidence told, most first, as bars; none if no system says it."""
    total = {
        kind: sum(s.information[kind].nats.estimate for s in scores if kind in s.information) for kind in _kinds(scores)
    }
    rows = [
        (kind.replace("_", " "), [_bar(s, i, kind) for i, s in enumerate(scores) if kind in s.information])
        for kind in sorted(total, key=lambda kind: -total[kind])
    ]
    return [bars("Nats a photo by kind of evidence, with 95 % intervals over photographers", rows)] if rows else []


def _kinds(scores: Sequence[Score]) -> set[str]:
    return {kind for s in scores for kind in s.information}


def _bar(s: Score, colour: int, kind: str) -> Bar:
    found = s.information[kind]
    title = f"{s.label}: {kind} told {decimals(found.nats)} nats a photo; {found.told.estimate:.0%} of photos something"
    return Bar(title, colour, found.nats)


def _errors(systems: Sequence[System]) -> str:
    ticks = [(km, f"{km:g}") for km in (0.1, 1.0, 25.0, 200.0, 750.0, 2500.0, 20000.0)]
    x = Axis("error in km", 0.1, 20_015.0, ticks, is_log=True)
    lines = [Line(s.label, i, ERROR_STEPS_KM.tolist(), _within(s)) for i, s in enumerate(systems)]
    return chart("Share of all photos answered within a distance", x, _SHARE, lines)


def _within(system: System) -> list[float]:
    # NaN, a photo without an answer, sorts last and is within no distance.
    order = np.sort(system.arrays.distance_km)
    return list(np.searchsorted(order, ERROR_STEPS_KM, side="right") / len(order))


def _confidence(scores: Sequence[Score]) -> str:
    x = Axis("confidence", 0.0, 1.0, PERCENT)
    lines = [_bins(s.label, i, s.confidence) for i, s in enumerate(scores) if not s.chances]
    return chart("Confidence against the share that is right", x, _SHARE, lines, diagonal=True)


def _reliability(scores: Sequence[Score], km: float) -> str:
    x, y = Axis("chance stated", 0.0, 1.0, PERCENT[::2]), Axis("", 0.0, 1.0, PERCENT[::2])
    lines = [_bins(s.label, i, s.chances.get(km)) for i, s in enumerate(scores)]
    return chart(f"Within {km:g} km", x, y, lines, diagonal=True, size=SMALL)


def _bins(label: str, colour: int, found: ChanceReliability | None) -> Line:
    bins = found.bins if found else ()
    dots = [f"{label}: {b.photos} photos, stated {b.confidence:.0%}, held {b.right:.0%}" for b in bins]
    return Line(label, colour, [b.confidence for b in bins], [b.right for b in bins], dots)


def _selective(scores: Sequence[Score], km: float) -> str:
    x = Axis("share of photos answered, surest first", 0.0, 1.0, PERCENT)
    lines = [Line(s.label, i, s.selective_curve[km].x, s.selective_curve[km].y) for i, s in enumerate(scores)]
    return chart(f"Share within {km:g} km of those answered", x, _SHARE, lines)


def _recall_area(scores: Sequence[Score]) -> str:
    ticks = [(10.0**power, label) for power, label in ((0, "1"), (2, "100"), (4, "10⁴"), (6, "10⁶"), (8, "10⁸"))]
    x = Axis("area searched in km², in the answer's order", 1.0, EARTH_AREA_KM2, ticks, is_log=True)
    lines = [Line(s.label, i, s.recall_area.x, s.recall_area.y) for i, s in enumerate(scores)]
    return chart("Share of photos found within an area (Recall-vs-Area)", x, _SHARE, lines)
