"""How well stated uncertainty holds: coverage of radii and areas, calibration of chances, selective accuracy.

All functions take arrays over n photos. A photo without an answer has a NaN distance; it states nothing that could
hold, comes last in every ranking and is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evals.scores.distance import Interval, cluster_draws, clustered_bootstrap, percentile_interval, wilson_interval
from geo.sphere import EARTH_RADIUS_KM, HALF_CIRCUMFERENCE_KM, Floats

EARTH_AREA_KM2 = float(4.0 * np.pi * EARTH_RADIUS_KM**2)
ECE_BINS = 10
DRAWS = 500
"""Of the bootstrap of a curve's area, which ranks the photos of every draw."""
DRAWS_AT_ONCE = 25


class Coverage(NamedTuple):
    """How often the truth lies within the stated radius or area, and how large that is."""

    photos: int
    """Photos that state one: the denominator."""
    held: Interval
    median_radius_km: float | None
    """None: an area."""
    median_area_km2: float
    mean_share_of_earth: float
    """The sharpness that cannot be gamed by a few."""


class ReliabilityBin(NamedTuple):
    """Photos of one range of stated chances."""

    photos: int
    confidence: float
    """Mean chance stated."""
    right: float
    """Share that was right."""


class ChanceReliability(NamedTuple):
    """How a stated chance held, over the photos that state it."""

    photos: int
    stated: float
    """Mean chance stated."""
    held: float
    """Share that was right."""
    calibration_error: Interval
    brier: Interval
    bins: tuple[ReliabilityBin, ...]


class AccuracyCoverage(NamedTuple):
    """Share answered (n,) against the share right among those answered (n,), surest first."""

    coverage: Floats
    accuracy: Floats
    area: float
    """Mean accuracy over all n coverages: 1 is perfect, the accuracy over all is what a random order gives."""


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
    inside = np.where(np.isnan(radii), np.nan, np.asarray(distances_km, dtype=np.float64) <= radii)
    found = area_coverage(inside, cap_area_km2(radii))
    return found and found._replace(median_radius_km=float(np.nanmedian(radii)))


def area_coverage(inside: ArrayLike, areas_km2: ArrayLike) -> Coverage | None:
    """Coverage and sharpness of an area, over the photos that state one; None if none does.

    >>> area_coverage([1.0, 0.0, float("nan")], [10.0, 30.0, float("nan")])[2:4]
    (None, 20.0)

    Args:
        inside: (n,) 1 where the truth lies in the area, 0 where it does not, NaN where no area is stated.
        areas_km2: (n,).
    """
    within, area = np.asarray(inside, dtype=np.float64), np.asarray(areas_km2, dtype=np.float64)
    stated = np.isfinite(within) & np.isfinite(area)
    if not stated.any():
        return None
    held = wilson_interval(int(within[stated].sum()), int(stated.sum()))
    size = area[stated]
    return Coverage(int(stated.sum()), held, None, float(np.median(size)), float(size.mean()) / EARTH_AREA_KM2)


def equal_mass_bins(confidences: ArrayLike, bins: int = ECE_BINS) -> NDArray[np.intp]:
    """Bin of each photo (n,), 0 to `bins` - 1, such that all hold about as many; equal confidences share a bin.

    >>> equal_mass_bins([0.9, 0.1, 0.2, 0.8], 2).tolist()
    [1, 0, 0, 1]
    """
    confidence = np.asarray(confidences, dtype=np.float64)
    return np.searchsorted(np.sort(confidence), confidence) * bins // max(confidence.size, 1)


def reliability_bins(confidences: ArrayLike, right: ArrayLike, bins: int = ECE_BINS) -> list[ReliabilityBin]:
    """Photos in bins of equal mass, least sure first; empty bins are left out.

    >>> [(each.photos, each.right) for each in reliability_bins([0.9, 0.1, 0.2, 0.8], [True, False, True, True], 2)]
    [(2, 0.5), (2, 1.0)]
    """
    confidence, is_right = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    place = equal_mass_bins(confidence, bins)
    count = np.bincount(place, minlength=bins)
    sums = np.bincount(place, confidence, bins), np.bincount(place, is_right, bins)
    return [
        ReliabilityBin(int(count[i]), float(sums[0][i] / count[i]), float(sums[1][i] / count[i]))
        for i in np.flatnonzero(count)
    ]


def expected_calibration_error(confidences: ArrayLike, right: ArrayLike, bins: int = ECE_BINS) -> float:
    """Mean distance between confidence and the share right, over bins of equal mass (Nixon et al. 2019).

    >>> round(expected_calibration_error([0.9, 0.9, 0.5, 0.5], [True, True, True, False]), 3)
    0.05

    Raises:
        ValueError: no photos.
    """
    return calibration_error_interval(confidences, right, np.arange(np.size(confidences)), bins, draws=1).estimate


def calibration_error_interval(
    confidences: ArrayLike,
    right: ArrayLike,
    clusters: ArrayLike,
    bins: int = ECE_BINS,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """The expected calibration error with a 95 % interval that resamples clusters such as photographers.

    A draw's error is that of its own shares in the bins of all photos. Resampling adds noise to every bin, so the
    interval leans upwards, the more the fewer the photos; it is widened to hold the estimate.

    >>> found = calibration_error_interval([0.9, 0.9, 0.5, 0.5], [1, 1, 1, 0], ["ann", "bob", "ann", "bob"])
    >>> [round(value, 3) for value in found]
    [0.05, 0.05, 0.3]

    Raises:
        ValueError: no photos.
    """
    confidence = np.asarray(confidences, dtype=np.float64)
    if not confidence.size:
        raise ValueError("the calibration error of no photos is undefined")
    place, gap = equal_mass_bins(confidence, bins), confidence - np.asarray(right, dtype=np.float64)
    index, weights = cluster_draws(clusters, draws, seed)
    gaps = np.bincount(index * bins + place, gap, weights.shape[1] * bins).reshape(-1, bins)
    errors = np.abs(weights @ gaps).sum(axis=1) / (weights @ np.bincount(index))
    estimate = float(np.abs(gaps.sum(axis=0)).sum() / confidence.size)
    drawn = percentile_interval(estimate, errors)
    return Interval(estimate, min(estimate, drawn.low), max(estimate, drawn.high))


def chance_reliability(chances: ArrayLike, right: ArrayLike, clusters: ArrayLike) -> ChanceReliability | None:
    """Calibration error, Brier score and reliability curve of a chance, over the photos that state it; None: none does.

    >>> found = chance_reliability([0.8, 0.6, float("nan")], [True, False, False], ["ann", "bob", "cem"])
    >>> found.photos, round(found.stated, 3), found.held, round(found.brier.estimate, 3)
    (2, 0.7, 0.5, 0.2)
    """
    stated = np.isfinite(np.asarray(chances, dtype=np.float64))
    if not stated.any():
        return None
    chance, is_right = (np.asarray(values, dtype=np.float64)[stated] for values in (chances, right))
    own = np.asarray(clusters)[stated]
    return ChanceReliability(
        photos=int(stated.sum()),
        stated=float(chance.mean()),
        held=float(is_right.mean()),
        calibration_error=calibration_error_interval(chance, is_right, own),
        brier=clustered_bootstrap((chance - is_right) ** 2, own),
        bins=tuple(reliability_bins(chance, is_right)),
    )


def accuracy_coverage(confidences: ArrayLike, right: ArrayLike) -> AccuracyCoverage:
    """The accuracy-coverage curve and its area, which is 1 - AURC (Geifman and El-Yaniv 2017; arXiv 2111.11952).

    Photos are accepted from the most confident on. Equal confidences are accepted in random order, of which the
    expectation is taken. A NaN confidence (no answer) comes last.

    >>> curve = accuracy_coverage([0.9, 0.5, float("nan"), 0.7], [True, False, False, True])
    >>> curve.coverage.tolist(), curve.accuracy.round(2).tolist()
    ([0.25, 0.5, 0.75, 1.0], [1.0, 1.0, 0.67, 0.5])

    Args:
        confidences: (n,).
        right: (n,) False for a miss.

    Raises:
        ValueError: no photos.
    """
    n = np.size(confidences)
    if not n:
        raise ValueError("the accuracy-coverage curve of no photos is undefined")
    _, accuracy = _accuracy_curves(confidences, right, np.ones((1, n)))
    return AccuracyCoverage(np.arange(1, n + 1) / n, accuracy[0], float(accuracy[0].mean()))


def selective_area_draws(
    confidences: ArrayLike, right: ArrayLike, clusters: ArrayLike, *, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """Area under the accuracy-coverage curve in each draw (draws,) of a bootstrap over clusters such as photographers.

    >>> selective_area_draws([0.9, 0.5], [True, False], ["ann", "ann"], draws=2).tolist()
    [0.75, 0.75]
    """
    index, weights = cluster_draws(clusters, draws, seed)
    areas = []
    for start in range(0, draws, DRAWS_AT_ONCE):
        counts, accuracy = _accuracy_curves(confidences, right, weights[start : start + DRAWS_AT_ONCE, index])
        areas.append((counts * accuracy).sum(axis=1) / counts.sum(axis=1))
    return np.concatenate(areas)


def _accuracy_curves(confidences: ArrayLike, right: ArrayLike, counts: Floats) -> tuple[Floats, Floats]:
    """Counts and accuracy (draws, n) from the most confident photo on, where a draw has each photo so many times."""
    confidence = np.nan_to_num(np.asarray(confidences, dtype=np.float64), nan=-np.inf)
    order = np.argsort(-confidence, kind="stable")
    ranked, hits = confidence[order], np.asarray(right, dtype=np.float64)[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    mass = counts[:, order]
    tied, tied_hits = (np.add.reduceat(values, starts, axis=1) for values in (mass, mass * hits))
    expected = np.repeat(tied_hits / np.maximum(tied, 1.0), np.diff([*starts, len(ranked)]), axis=1)
    return mass, np.cumsum(mass * expected, axis=1) / np.maximum(np.cumsum(mass, axis=1), 1.0)


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
