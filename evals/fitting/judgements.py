"""How often a model is right about what a tool's result says of a place, from judgements whose truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

RIGHT_WITHIN_KM = 200.0
"""A hypothesis this near to the truth is the right one: its surroundings look like the photo's."""


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
