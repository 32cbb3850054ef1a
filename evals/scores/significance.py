"""Tests of paired differences, in NumPy and the standard library."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import ArrayLike


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that two systems are equally often right (McNemar 1947, the binomial form).

    >>> round(mcnemar_exact(1, 9), 4)
    0.0215

    Args:
        only_first: photos that the first system alone gets right.
        only_second: photos that the second alone gets right.

    Raises:
        ValueError: a negative count.
    """
    if min(only_first, only_second) < 0:
        raise ValueError("counts of photos cannot be negative")
    discordant = only_first + only_second
    tail = sum(comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    # Whole numbers until the last division: no rounding however small the p-value.
    return min(1.0, 2 * tail / (1 << discordant))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that the chance of any false claim among them stays at the level (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for step, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = running
    return [float(value) for value in adjusted]


def sign_flip_p_value(values: ArrayLike, clusters: ArrayLike, *, draws: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value that a mean difference is zero, flipping the signs of whole clusters such as photographers.

    McNemar's test takes photos as independent, which those of one photographer are not; this one does not. With up
    to 12 clusters that differ every flip is tried, otherwise a seeded sample of them (Phipson and Smyth 2010).

    >>> sign_flip_p_value([1.0, 2.0, 1.0], ["ann", "bob", "cem"])
    0.25
    """
    data = np.asarray(values, dtype=np.float64)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    totals = np.bincount(index, weights=data)
    totals = totals[totals != 0.0]
    if not totals.size:
        return 1.0
    observed = abs(float(totals.sum())) - 1e-9
    if totals.size <= 12:
        signs = 1 - 2 * ((np.arange(1 << totals.size)[:, None] >> np.arange(totals.size)) & 1)
        return float((np.abs(signs @ totals) >= observed).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(draws, totals.size))
    return float(((np.abs(signs @ totals) >= observed).sum() + 1) / (draws + 1))
