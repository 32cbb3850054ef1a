"""Tests of differences between systems, the correction over many of them, and whether a design can reject at all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from math import ceil, comb

import numpy as np
from numpy.typing import ArrayLike

LEVEL = 0.05
"""Of significance."""
EXACT_CLUSTERS = 12
"""Up to so many clusters every flip of signs is tried."""
DRAWS = 10_000
"""Flips drawn at random where there are more; at least."""


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that two systems are equally often right (McNemar 1947, the binomial form).

    The counts are of the photos that one of the systems alone gets right.

    >>> round(mcnemar_exact(1, 9), 4)
    0.0215

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


def sign_flip_p_value(values: ArrayLike, clusters: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> float:
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
    if totals.size <= EXACT_CLUSTERS:
        signs = 1 - 2 * ((np.arange(1 << totals.size)[:, None] >> np.arange(totals.size)) & 1)
        return float((np.abs(signs @ totals) >= observed).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(draws, totals.size))
    return float(((np.abs(signs @ totals) >= observed).sum() + 1) / (draws + 1))


def flips_drawn(systems: int) -> int:
    """Random flips that a comparison of all pairs of so many systems needs for its smallest p-value to count."""
    return max(DRAWS, ceil(2 * comb(systems, 2) / LEVEL))


def smallest_p_value(clusters: int, systems: int) -> float:
    """The smallest p-value, after Holm's correction, that any data of so many clusters and systems could give.

    The most extreme of all flips of signs is one of two, and the least of the p-values counts as often as there are
    pairs.

    >>> round(smallest_p_value(9, 14), 2)
    0.36
    """
    drawn = 0.0 if clusters <= EXACT_CLUSTERS else 1.0 / (flips_drawn(systems) + 1)
    one = max(0.5 ** (clusters - 1), drawn)
    return min(1.0, comb(systems, 2) * one)


def can_reject(clusters: int, systems: int) -> bool:
    """Whether any difference could be significant."""
    return smallest_p_value(clusters, systems) < LEVEL


def design_note(photographers: int, systems: int) -> str:
    """What to say where nothing can be significant: how small p can get, and what design could reject.

    >>> design_note(9, 14)[-79:]
    'is 0.36. 12 photographers could show one, or a comparison of at most 5 systems.'
    """
    pairs = comb(systems, 2)
    enough = next(n for n in count(photographers + 1) if can_reject(n, systems))
    fewer = next((n for n in range(systems - 1, 1, -1) if can_reject(photographers, n)), None)
    who = "1 photographer" if photographers == 1 else f"{photographers} photographers"
    return (
        f"With {who} and {systems} systems ({pairs} pair{'s' if pairs > 1 else ''}) no difference can be significant,"
        f" however large: the smallest possible p is {smallest_p_value(photographers, systems):.2g}."
        f" {enough} photographers could show one" + (f", or a comparison of at most {fewer} systems." if fewer else ".")
    )
