"""How well stated uncertainty holds: coverage of radii, calibration of confidence, risk-coverage, recall by area.

All functions take arrays over n photos. A photo without an answer has a NaN distance; it holds nothing, comes last in
every ranking and is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from evals.scores.distance import Interval, wilson_interval
from geo.sphere import EARTH_RADIUS_KM, HALF_CIRCUMFERENCE_KM, Floats

EARTH_AREA_KM2 = float(4.0 * np.pi * EARTH_RADIUS_KM**2)
ECE_BINS = 10


class Coverage(NamedTuple):
    """How often the truth lies within the stated radius, and how wide that radius is."""

    photos: int
    """Photos with a radius: the denominator."""
    held: Interval
    median_radius_km: float
    mean_share_of_earth: float
    """Mean share of the Earth's surface that the circle covers: the sharpness that cannot be gamed by a few."""


class ReliabilityBin(NamedTuple):
    """Photos of one range of confidence."""

    photos: int
    confidence: float
    """Mean confidence."""
    right: float
    """Share that was right."""


class RiskCoverage(NamedTuple):
    """Share answered (n,) against the share wrong among those answered (n,), most confident first."""

    coverage: Floats
    risk: Floats
    area: float
    """Mean risk over all n coverages: 0 is perfect, the error rate is what a random order gives."""


class RecallArea(NamedTuple):
    """Area searched in km2 (k,) against the share of photos found within it (k,)."""

    area_km2: Floats
    recall: Floats


def cap_area_km2(radius_km: ArrayLike) -> Floats:
    """Area of a circle on the sphere; the whole Earth at half its circumference and beyond.

    >>> cap_area_km2([1.0, 100.0]).round(2).tolist()
    [3.14, 31415.28]
    """
    angle = np.minimum(np.asarray(radius_km, dtype=np.float64), HALF_CIRCUMFERENCE_KM) / EARTH_RADIUS_KM
    # The half-angle form keeps its digits for small circles, where 1 - cos does not.
    return np.asarray(EARTH_AREA_KM2 * np.sin(angle / 2.0) ** 2)


def coverage(distances_km: ArrayLike, radii_km: ArrayLike) -> Coverage | None:
    """Coverage and sharpness of a radius, over the photos that state one; None if none does.

    >>> found = coverage([5.0, 50.0, float("nan")], [10.0, 20.0, float("nan")])
    >>> found.photos, found.held.estimate, found.median_radius_km
    (2, 0.5, 15.0)
    """
    radii = np.asarray(radii_km, dtype=np.float64)
    stated = np.isfinite(radii)
    if not stated.any():
        return None
    within = np.asarray(distances_km, dtype=np.float64)[stated] <= radii[stated]
    held = wilson_interval(int(within.sum()), int(stated.sum()))
    share = cap_area_km2(radii[stated]) / EARTH_AREA_KM2
    return Coverage(int(stated.sum()), held, float(np.median(radii[stated])), float(share.mean()))


def reliability_bins(confidences: ArrayLike, right: ArrayLike, bins: int = ECE_BINS) -> list[ReliabilityBin]:
    """Photos in bins of equal width in confidence, (0, 0.1], (0.1, 0.2] and so on; empty bins are left out.

    >>> [(each.photos, each.right) for each in reliability_bins([0.91, 0.99, 0.5], [True, False, True])]
    [(1, 1.0), (2, 0.5)]
    """
    confidence, is_right = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = np.bincount(place, confidence, bins), np.bincount(place, is_right, bins)
    return [
        ReliabilityBin(int(count[i]), float(sums[0][i] / count[i]), float(sums[1][i] / count[i]))
        for i in np.flatnonzero(count)
    ]


def expected_calibration_error(confidences: ArrayLike, right: ArrayLike, bins: int = ECE_BINS) -> float:
    """Mean distance between confidence and the share right, over bins of equal width (Guo et al. 2017).

    >>> round(expected_calibration_error([0.9, 0.9, 0.5, 0.5], [True, True, True, False]), 3)
    0.05

    Raises:
        ValueError: no photos.
    """
    found = reliability_bins(confidences, right, bins)
    total = sum(each.photos for each in found)
    if not total:
        raise ValueError("the calibration error of no photos is undefined")
    return sum(each.photos * abs(each.confidence - each.right) for each in found) / total


def risk_coverage(confidences: ArrayLike, losses: ArrayLike) -> RiskCoverage:
    """The risk-coverage curve and its area (Geifman and El-Yaniv 2017; arXiv 2111.11952 for geolocation).

    Photos are accepted from the most confident on. Equal confidences are accepted in random order, of which the
    expectation is taken. A NaN confidence (no answer) comes last.

    >>> curve = risk_coverage([0.9, 0.5, float("nan"), 0.7], [0.0, 1.0, 1.0, 0.0])
    >>> curve.coverage.tolist(), curve.risk.round(2).tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.33, 0.5])

    Args:
        confidences: (n,).
        losses: (n,) in [0, 1]; 1 for a miss.

    Raises:
        ValueError: no photos.
    """
    confidence = np.asarray(confidences, dtype=np.float64)
    loss = np.asarray(losses, dtype=np.float64)
    if not confidence.size:
        raise ValueError("the risk-coverage curve of no photos is undefined")
    _, group = np.unique(-np.where(np.isnan(confidence), -np.inf, confidence), return_inverse=True)
    mean_loss = np.bincount(group, loss) / np.bincount(group)
    expected = mean_loss[np.sort(group)]
    accepted = np.arange(1, confidence.size + 1)
    risk = np.cumsum(expected) / accepted
    return RiskCoverage(accepted / confidence.size, risk, float(risk.mean()))


def recall_at_areas(areas_needed_km2: ArrayLike, budgets_km2: ArrayLike) -> RecallArea:
    """Recall-vs-Area (Bianco, Eigen and Gormish, arXiv 2407.13862): share of photos found within each search area.

    >>> recall_at_areas([10.0, 1000.0, float("nan"), 5.0], [1.0, 100.0, 10000.0]).recall.tolist()
    [0.0, 0.5, 0.75]

    Args:
        areas_needed_km2: (n,) area to be searched, in the answer's order, until the truth is reached; NaN: never.
        budgets_km2: (k,).
    """
    needed = np.asarray(areas_needed_km2, dtype=np.float64)
    budgets = np.asarray(budgets_km2, dtype=np.float64)
    # NaN sorts last and no budget reaches it.
    found = np.searchsorted(np.sort(needed), budgets, side="right") / needed.size
    return RecallArea(budgets, np.asarray(found))
