"""Shares of mixtures by maximum likelihood, as the belief's parameters hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geo.sphere import Floats

LEAST_SHARE = 0.002
"""No witness is beyond doubt, and photos are taken anywhere. Set by hand."""

_ITERATIONS = 200
_DIGITS = 6


def fit_mixture(
    densities: Floats,
    constant: Floats | float = 0.0,
    towards: Floats | None = None,
    strength: float = 0.0,
    weights: Floats | None = None,
) -> Floats:
    """Shares (k,) of a mixture of k densities, given at n truths as (n, k), by expectation-maximisation.

    (Dempster, Laird and Rubin 1977.)

    Args:
        densities: of each component at each truth.
        constant: (n,) of a part that is not fitted.
        towards: shares (k,) that the fit is drawn to, as so many truths as `strength` says.
        strength: in truths.
        weights: (n,) how often each truth counts; None: once.

    Three truths speak for the first component, one for the second:

    >>> fit_mixture(np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]])).round(2).tolist()
    [0.75, 0.25]
    """
    count = densities.shape[1]
    # From even shares: one that began at nothing would stay there.
    shares = np.full(count, 1.0 / count)
    drawn = np.zeros(count) if towards is None else strength * np.asarray(towards)
    counted = np.ones(len(densities)) if weights is None else weights
    for _ in range(_ITERATIONS):
        parts = densities * shares
        of_all = parts.sum(axis=1) + constant
        # A truth that no component knows says nothing about their shares.
        held = (parts * (counted / np.where(of_all > 0.0, of_all, 1.0))[:, None]).sum(axis=0) + drawn
        if held.sum() <= 0.0:
            break
        shares = held / held.sum()
    return np.asarray(shares)


def floored(shares: Floats) -> Floats:
    """Shares (k,) of which the last one, "anywhere", is not nothing.

    >>> floored(np.array([1.0, 0.0])).round(3).tolist()
    [0.998, 0.002]
    """
    raised = np.append(shares[:-1], max(float(shares[-1]), LEAST_SHARE))
    return np.asarray(raised / raised.sum())


def blended(one: Sequence[float], other: Sequence[float], share: float) -> tuple[float, ...]:
    """Rounded shares of which `share` are those of the other mixture.

    >>> blended((1.0, 0.0), (0.0, 1.0), 0.25)
    (0.75, 0.25)
    """
    return rounded((1.0 - share) * np.asarray(one) + share * np.asarray(other))


def rounded(shares: Floats) -> tuple[float, ...]:
    """Shares to six decimals."""
    return tuple(np.round(shares, _DIGITS).tolist())
