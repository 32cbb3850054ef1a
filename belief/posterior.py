"""The belief: prior times witnesses on a support, and what is read off it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from belief.parameters import Parameters, default_parameters
from belief.support import Support
from belief.witnesses.reports import joint_log_ratio
from geo.sphere import Floats

THRESHOLDS_KM = (1, 25, 200, 750, 2500)
"""Distances of geolocation's accuracies: street, city, region, country, continent."""


class Belief:
    """A probability distribution over the Earth. Immutable; every number of an answer is read off it.

    Two models and a sign; what each told is the divergence of the belief with it from the belief without it:

    >>> from belief.support import make_support
    >>> support = make_support([(48.86, 2.34)])
    >>> near = np.where(support.distance_km((48.86, 2.34))[:, 0] < 50.0, 50.0, 0.5)
    >>> belief = Belief(support, reports={"a": near, "b": near}, others={"sign": np.log(near)})
    >>> round(belief.chance_within_km((48.86, 2.34), 50.0), 2) > 0.9
    True
    >>> belief.information_nats("a") < Belief(support, {"a": near}, {}).information_nats("a")
    True
    """

    def __init__(
        self,
        support: Support,
        reports: Mapping[str, Floats],
        others: Mapping[str, Floats],
        parameters: Parameters | None = None,
    ) -> None:
        """Join what witnesses say.

        Args:
            support: n positions.
            reports: likelihood ratios (n,) of models' reports by key: models err alike.
            others: log likelihood ratios (n,) of independent witnesses by key.
            parameters: how models err together.
        """
        self.support = support
        self._reports, self._others = dict(reports), dict(others)
        self._parameters = parameters or default_parameters()

    @property
    def keys(self) -> list[str]:
        """Keys of all witnesses."""
        return [*self._reports, *self._others]

    @cached_property
    def mass(self) -> Floats:
        """Probability (n,) of each position of the support."""
        return self._mass(self._reports, self._others)

    def mass_without(self, key: str) -> Floats:
        """The same, (n,), had one witness said nothing.

        Raises:
            KeyError: no such witness.
        """
        if key not in self._reports and key not in self._others:
            raise KeyError(key)
        reports = {k: v for k, v in self._reports.items() if k != key}
        return self._mass(reports, {k: v for k, v in self._others.items() if k != key})

    def _mass(self, reports: Mapping[str, Floats], others: Mapping[str, Floats]) -> Floats:
        prior, parameters = self.support.prior_mass, self._parameters
        nats = joint_log_ratio([reports[key] for key in sorted(reports)], prior, parameters.agreement)
        # Summed in the order of the keys, so that the order in which evidence came changes not even the rounding.
        for key in sorted(others):
            nats = nats + others[key]
        mass = prior * np.exp(nats - nats.max())
        return np.asarray(mass / mass.sum())

    def chance_within_km(self, lat_lon_deg: ArrayLike, distance_km: float) -> float:
        """Probability that the truth lies within a distance of a position."""
        return float(self.mass[self.support.distance_km(lat_lon_deg)[:, 0] <= distance_km].sum())

    def radius_km(self, lat_lon_deg: ArrayLike, share: float) -> float:
        """Distance from a position within which a share of the probability lies."""
        return weighted_quantile(self.support.distance_km(lat_lon_deg)[:, 0], self.mass, share)

    def densest(self, share: float) -> NDArray[np.intp]:
        """Rows of the densest positions that together hold a share of the probability, the densest first."""
        order = np.argsort(-self.mass / self.support.area_km2, kind="stable")
        held = np.cumsum(self.mass[order])
        return order[: int(np.searchsorted(held, share * held[-1])) + 1]

    def area_km2(self, share: float) -> float:
        """Size of the smallest area that holds a share of the probability."""
        return float(self.support.area_km2[self.densest(share)].sum())

    def information_nats(self, key: str) -> float:
        """What a witness told: Kullback-Leibler divergence of the belief from what it would be without it."""
        return divergence_nats(self.mass, self.mass_without(key))

    def log_density(self, lat_lon_deg: ArrayLike) -> float:
        """Log-probability density in nats per km² near a position, from the nearest eight positions of the support."""
        away_km = self.support.distance_km(lat_lon_deg)[:, 0]
        near = np.argsort(away_km, kind="stable")[:8]
        return float(np.log(self.mass[near].sum() / self.support.area_km2[near].sum()))


def evenly(mass: Floats, count: int) -> NDArray[np.intp]:
    """Rows of positions at even quantiles of a mass (n,): shape (count,).

    >>> evenly(np.array([0.1, 0.8, 0.1]), 4).tolist()
    [1, 1, 1, 1]
    """
    held = np.cumsum(mass)
    rows: NDArray[np.intp] = np.searchsorted(held, (np.arange(count) + 0.5) / count * held[-1])
    return np.asarray(np.minimum(rows, len(mass) - 1))


def divergence_nats(mass: Floats, other: Floats) -> float:
    """Kullback-Leibler divergence of one distribution (n,) from another.

    >>> round(divergence_nats(np.array([0.9, 0.1]), np.array([0.5, 0.5])), 3)
    0.368
    """
    held = mass > 0.0
    return max(0.0, float(np.sum(mass[held] * np.log(mass[held] / np.maximum(other[held], 1e-300)))))


def weighted_quantile(values: Floats, weights: Floats, share: float) -> float:
    """The value below which `share` of the weight lies, between values by interpolation.

    >>> distances_km, weights = np.array([10.0, 900.0, 50.0]), np.array([0.5, 0.2, 0.3])
    >>> weighted_quantile(distances_km, weights, 0.5), weighted_quantile(distances_km, weights, 0.65)
    (10.0, 30.0)
    """
    order = np.argsort(values, kind="stable")
    held = np.cumsum(weights[order])
    return float(np.interp(share * held[-1], held, values[order]))
