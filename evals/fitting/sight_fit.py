"""Fit a model's record (`graphs/inference/sight.py`) from photos whose places are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from graphs.inference.sight import RINGS_KM, Rings
from numpy.typing import ArrayLike, NDArray

from geo.sphere import Floats

SMOOTHING_PHOTOS = 4.0
"""Photos' worth of "as usual" mixed into a record: a few dozen answers leave some rings empty."""

RIGHT_WITHIN_KM = 200.0
"""A hypothesis this near to the truth is the right one: its surroundings look like the photo's."""

_ITERATIONS = 100


def ring_of(away_km: ArrayLike) -> NDArray[np.intp]:
    """Index of the ring (`sight.RINGS_KM`) that each distance in km lies in, shaped like the distances."""
    return np.searchsorted(np.array(RINGS_KM[:-1]), np.asarray(away_km))


def fitted_share(away_km: Floats, said: Floats, usual: Floats, weights: Floats | None = None) -> Floats:
    """Share (5,) of the probability in each ring around the places that a model gives for a photo, smoothed.

    The model's reading is a mixture: one of its k places is meant, and the truth lies around that one. Which, nobody
    says, so the shares are those of maximum likelihood, found by expectation-maximisation (Dempster, Laird and Rubin
    1977); with one place a photo they are the histogram of its distances.

    Args:
        away_km: (n, k), n at least 1, from each photo's truth to each place given; infinite where fewer were given.
        said: (n, k) weight of each place by `graphs.inference.sight.said_weights`; 0 where fewer were given.
        usual: (5,) how often the truth of any other photo lies in each ring around a place given; all above 0.
        weights: (n,) of the photos; equal if left out.
    """
    ring = ring_of(away_km)
    counted = np.ones(len(ring)) if weights is None else weights
    share = np.asarray(usual, dtype=np.float64)
    for _ in range(_ITERATIONS):
        chance = said * (share / usual)[ring]
        meant = counted[:, None] * chance / chance.sum(axis=1, keepdims=True)
        share = np.bincount(ring.ravel(), weights=meant.ravel(), minlength=len(RINGS_KM)) / counted.sum()
        share = np.maximum(share, 1e-9)
    return np.asarray((len(ring) * share + SMOOTHING_PHOTOS * usual) / (len(ring) + SMOOTHING_PHOTOS))


def photographer_weights(photographers: Sequence[str]) -> Floats:
    """Weights (n,) of photos: m^-1/2 for each of a photographer's m, so that no album decides alone."""
    photos_by = Counter(photographers)
    return np.array([photos_by[photographer] ** -0.5 for photographer in photographers])


def balanced_accuracy(fits: ArrayLike, right: ArrayLike) -> float:
    """Mean of sensitivity and specificity (Brodersen et al. 2010) of judgements, smoothed; 0.5 tells nothing.

    Most places that are looked at are wrong, so whoever always says "does not fit" is right most of the time. One hit
    and one miss are added to either kind of place (Laplace), so that the result is never 0 or 1; scikit-learn's
    `balanced_accuracy_score` does not smooth, and is not among what the machine installs.

    Args:
        fits: (n,) whether the model said that a result fits a place.
        right: (n,) whether the place was the right one.
    """
    said, true = np.asarray(fits, dtype=np.bool_), np.asarray(right, dtype=np.bool_)
    sensitivity = (said[true].sum() + 1) / (true.sum() + 2)
    specificity = ((~said[~true]).sum() + 1) / ((~true).sum() + 2)
    return float(sensitivity + specificity) / 2.0


def as_rings(share: Floats) -> Rings:
    """Shares (5,) rounded to five decimals, still summing to 1."""
    first = [round(float(value), 5) for value in share[:-1]]
    return (first[0], first[1], first[2], first[3], round(1.0 - sum(first), 5))
