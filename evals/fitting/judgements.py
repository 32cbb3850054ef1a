"""How often a model rightly judges that what a tool shows fits a place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from evals.runs.records import EvalRecord
from geo.sphere import distance_km

RIGHT_WITHIN_KM = 200.0
"""A hypothesis this near to the truth is the right one: its surroundings look like the photo's."""

LEAST_JUDGEMENTS = 20


def judgement_accuracy(records: Sequence[EvalRecord]) -> float | None:
    """Balanced accuracy of the judgements in a run's records; None if there are too few."""
    judged = [
        (note.fits, distance_km(r.truth, note.point) <= RIGHT_WITHIN_KM) for r in records for note in r.judgements
    ]
    if len(judged) < LEAST_JUDGEMENTS:
        return None
    fits, right = zip(*judged, strict=True)
    return round(balanced_accuracy(fits, right), 4)


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
