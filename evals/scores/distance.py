"""Scores of geolocation answers. The denominator is every photo; a photo without an answer is a miss.

Distances are great-circle distances in km; a missing answer is NaN and is
never dropped: it misses at every threshold, scores 0 points, is infinitely far
in the median and half of the Earth's circumference away in the mean.
docs/evals.md has the definitions in full.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geo.sphere import HALF_CIRCUMFERENCE_KM, Floats

THRESHOLDS_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)
"""Street, city, region, country and continent (Hays and Efros 2008; Weyand et al. 2016)."""

GEOSCORE_SCALE_KM = 1492.7
NORMAL_975 = 1.959963984540054


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float


def hits(distances_km: ArrayLike, threshold_km: float) -> NDArray[np.bool_]:
    """Whether each answer lies within the threshold; NaN does not.

    >>> hits([0.4, 30.0, float("nan")], 25.0).tolist()
    [True, False, False]
    """
    return np.asarray(np.asarray(distances_km, dtype=np.float64) <= threshold_km)


def wilson_interval(successes: int, trials: int) -> Interval:
    """Wilson score interval of a proportion at 95 % (Wilson 1927).

    >>> [round(value, 3) for value in wilson_interval(5, 10)]
    [0.5, 0.237, 0.763]

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"cannot make an interval of {successes} successes in {trials} trials")
    share, z2 = successes / trials, NORMAL_975**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = NORMAL_975 / (1 + z2 / trials) * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return Interval(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def accuracy_interval(distances_km: ArrayLike, threshold_km: float) -> Interval:
    """Share of all photos answered within the threshold, with its Wilson interval.

    >>> accuracy_interval([0.4, 30.0, 900.0, float("nan")], 25.0).estimate
    0.25

    Raises:
        ValueError: no photos.
    """
    within = hits(distances_km, threshold_km)
    return wilson_interval(int(within.sum()), within.size)


def geoscore(distances_km: ArrayLike) -> Floats:
    """GeoGuessr points of each answer, 5000·exp(-d / 1492.7 km); 0 where there is no answer.

    >>> geoscore([0.0, 1492.7, float("nan")]).round().tolist()
    [5000.0, 1839.0, 0.0]
    """
    distances = np.asarray(distances_km, dtype=np.float64)
    return np.asarray(
        np.where(np.isnan(distances), 0.0, 5000.0 * np.exp(-np.nan_to_num(distances) / GEOSCORE_SCALE_KM))
    )


def median_km(distances_km: ArrayLike) -> float:
    """Median error over all photos; a missing answer is infinitely far.

    >>> median_km([1.0, 3.0, float("nan")])
    3.0
    """
    distances = np.asarray(distances_km, dtype=np.float64)
    return float(np.median(np.where(np.isnan(distances), np.inf, distances)))


def mean_km(distances_km: ArrayLike) -> float:
    """Mean error over all photos; a missing answer counts as the farthest one can be, 20,015 km.

    An infinite mean would say nothing; leaving the missing out would reward systems that rarely answer.

    >>> round(mean_km([0.0, float("nan")]))
    10008
    """
    distances = np.asarray(distances_km, dtype=np.float64)
    return float(np.where(np.isnan(distances), HALF_CIRCUMFERENCE_KM, distances).mean())


def clustered_bootstrap(values: ArrayLike, clusters: ArrayLike, *, draws: int = 2000, seed: int = 0) -> Interval:
    """Mean of `values` with a 95 % percentile interval, resampling whole clusters such as photographers.

    Photos of one photographer resemble each other, so resampling single photos
    would give intervals that are too narrow.

    >>> clustered_bootstrap([1.0, 1.0, 0.0, 0.0], ["ann", "ann", "bob", "bob"])
    Interval(estimate=0.5, low=0.0, high=1.0)

    Args:
        values: (n,) one value per photo; a paired difference gives the interval of a comparison.
        clusters: (n,) label of each photo's cluster.
    """
    data = np.asarray(values, dtype=np.float64)
    index, weights = cluster_draws(clusters, draws, seed)
    means = weights @ np.bincount(index, weights=data) / (weights @ np.bincount(index))
    return percentile_interval(float(data.mean()), means)


def cluster_draws(clusters: ArrayLike, draws: int, seed: int) -> tuple[NDArray[np.intp], Floats]:
    """Cluster of each photo (n,), and how often each draw of a bootstrap has each cluster (draws, clusters).

    The same clusters, draws and seed give the same draws: differences of two systems are paired by that.

    >>> index, weights = cluster_draws(["ann", "bob", "ann"], draws=100, seed=0)
    >>> index.tolist(), weights.sum(axis=1).tolist() == [2.0] * 100
    ([0, 1, 0], True)
    """
    labels, index = np.unique(np.asarray(clusters), return_inverse=True)
    return index, _draw_counts(len(labels), draws, seed)


@lru_cache(maxsize=2)
def _draw_counts(clusters: int, draws: int, seed: int) -> Floats:
    """Read-only: the scores of a run share it."""
    picks = np.random.default_rng(seed).integers(clusters, size=(draws, clusters))
    counts = np.empty((draws, clusters))
    for row, drawn in zip(counts, picks, strict=True):
        row[:] = np.bincount(drawn, minlength=clusters)
    counts.flags.writeable = False
    return counts


def percentile_interval(estimate: float, draws: ArrayLike) -> Interval:
    """The 95 % percentile interval of a bootstrap.

    >>> percentile_interval(0.5, [0.0, 0.5, 1.0])
    Interval(estimate=0.5, low=0.025, high=0.975)
    """
    low, high = np.percentile(np.asarray(draws, dtype=np.float64), [2.5, 97.5])
    return Interval(estimate, float(low), float(high))
