"""The report's charts of errors, of stated chances and of what evidence told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.reporting.charts import PERCENT, SMALL, Axis, Bar, Line, bars, chart
from evals.scores.arrays import System
from evals.scores.distance import THRESHOLDS_KM
from evals.scores.reliability import EARTH_AREA_KM2, ChanceReliability
from evals.scores.scoring import Score
from evals.scores.tables import decimals

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
