"""How often a model rightly judges that what a tool shows fits a place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from evals.runs.records import EvalRecord
from geo.sphere import distance_km

RIGHT_WITHIN_KM = 200.0
"""A hypothesis this near to the truth is the right one: its surroundings look like the photo's."""

LEAST_JUDGEMENTS = 20


class Judging(NamedTuple):
    """How often a model's judgements are right, and how alike its errors about one place are; None: too few."""

    accuracy: float | None
    correlation: float | None


def judging(records: Sequence[EvalRecord]) -> Judging:
    """Of the judgements in a run's records."""
    places: dict[tuple[str, float, float], int] = {}
    rows = [
        (n.fits, distance_km(r.truth, n.point) <= RIGHT_WITHIN_KM, places.setdefault((r.photo, *n.point), len(places)))
        for r in records
        for n in r.judgements
    ]
    return measure_judging(*zip(*rows, strict=True)) if rows else Judging(None, None)


def measure_judging(fits: ArrayLike, right: ArrayLike, place: ArrayLike) -> Judging:
    """How a model judges, from n judgements: whether it said "fits", whether the place was right, which place."""
    said, true = np.asarray(fits, dtype=np.bool_), np.asarray(right, dtype=np.bool_)
    accuracy = round(balanced_accuracy(said, true), 4) if len(said) >= LEAST_JUDGEMENTS else None
    return Judging(accuracy, judgement_correlation(said != true, place))


def judgement_correlation(errors: ArrayLike, place: ArrayLike) -> float | None:
    """Intraclass correlation (Fisher 1925) of errors in several judgements of one place, at least 0.

    None if fewer than 20 pairs of judgements are of one place, or none or all of them are wrong.

    >>> alike, apart = [True, True, False, False] * 10, [True, False] * 20
    >>> judgement_correlation(alike, np.arange(40) // 2), judgement_correlation(apart, np.arange(40) // 2)
    (1.0, 0.0)

    Args:
        errors: (n,) whether each judgement is wrong.
        place: (n,) number of the place that it is about.
    """
    wrong, group = np.asarray(errors, dtype=np.float64), np.asarray(place)
    count = np.bincount(group)
    pairs = float((count * (count - 1)).sum()) / 2.0
    if pairs < LEAST_JUDGEMENTS or wrong.min() == wrong.max():
        return None
    away = wrong - wrong.mean()
    product = (np.bincount(group, away) ** 2 - np.bincount(group, away**2)).sum() / 2.0
    return max(0.0, round(float(product / pairs / wrong.var()), 4))


def balanced_accuracy(fits: ArrayLike, right: ArrayLike) -> float:
    """Mean of sensitivity and specificity (Brodersen et al. 2010) of judgements, smoothed; 0.5 tells nothing.

    Most places that are looked at are wrong, so whoever always says "does not fit" is right most of the time. One hit
    and one miss are added to either kind of place (Laplace), so that the result is never 0 or 1; scikit-learn's
    `balanced_accuracy_score` does not smooth, and is not among what the machine installs.

    >>> balanced_accuracy([True, True, False, False], [True, True, False, False])
    0.75

    Args:
        fits: (n,) whether the model said that a result fits a place.
        right: (n,) whether the place was the right one.
    """
    said, true = np.asarray(fits, dtype=np.bool_), np.asarray(right, dtype=np.bool_)
    sensitivity = (said[true].sum() + 1) / (true.sum() + 2)
    specificity = ((~said[~true]).sum() + 1) / ((~true).sum() + 2)
    return float(sensitivity + specificity) / 2.0
