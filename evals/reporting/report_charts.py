"""The curves of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.reporting.charts import PERCENT, Axis, Line, chart
from evals.scores.arrays import System
from evals.scores.reliability import EARTH_AREA_KM2
from evals.scores.scoring import Score

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
    order = np.sort(system.columns.distance_km)
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
