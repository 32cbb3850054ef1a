"""The belief: prior times witnesses on a support, and what is read off it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from belief.parameters import Parameters, default_parameters
from belief.support import Support
from belief.witnesses.reports import TINY, WeighedReport, joint_log_ratio, sum_in_any_order
from geo.sphere import Floats

THRESHOLDS_KM = (1, 25, 200, 750, 2500)
"""Distances of geolocation's accuracies: street, city, region, country, continent."""

NEAREST = 4
"""Positions of the support between which a density is interpolated, by the inverse square of their distance."""

LEAST_KM = 0.01


class Belief:
    """A probability distribution over the Earth. Immutable; every number of an answer is read off it.

    The order of witnesses, and under which keys they come, changes nothing, not even the rounding. Two models and a
    sign; what each told is the divergence of the belief with it from the belief without it:

    >>> from belief.support import make_support
    >>> support = make_support([(48.86, 2.34)])
    >>> near = np.where(support.distance_km((48.86, 2.34))[:, 0] < 50.0, 50.0, 0.5)
    >>> belief = Belief(support, {"a": WeighedReport(near), "b": WeighedReport(near)}, others={"sign": np.log(near)})
    >>> belief.chance_within_km((48.86, 2.34), 50.0) > 0.9
    True
    >>> alone = Belief(support, {"a": WeighedReport(near)}, {})
    >>> told, told_alone = (divergence_nats(b.mass, b.mass_without("a")) for b in (belief, alone))
    >>> told < told_alone
    True
    """

    def __init__(
        self,
        support: Support,
        reports: Mapping[str, WeighedReport],
        others: Mapping[str, Floats],
        parameters: Parameters | None = None,
    ) -> None:
        """Join what witnesses say.

        Args:
            support: n positions.
            reports: of models by key, likelihood ratios of 0 or more: models err alike.
            others: log likelihood ratios (n,) in nats of independent witnesses by key, finite.
            parameters: how models err together; the packaged ones if None.
        """
        self.support = support
        self._reports, self._others = dict(reports), dict(others)
        self._parameters = parameters or default_parameters()

    @cached_property
    def mass(self) -> Floats:
        """Probability (n,) of each position of the support, summing to 1."""
        return self._normalised(self._reports_nats + self._others_nats)

    def mass_without(self, key: str) -> Floats:
        """The same, (n,), had one witness said nothing.

        Raises:
            KeyError: no such witness.
        """
        if key in self._reports:
            return self._normalised(self._joint(without=key) + self._others_nats)
        return self._normalised(self._reports_nats + self._others_nats - self._others[key])

    @cached_property
    def _reports_nats(self) -> Floats:
        return self._joint()

    @cached_property
    def _others_nats(self) -> Floats:
        return sum_in_any_order(list(self._others.values()), len(self.support.prior_mass))

    def _joint(self, without: str | None = None) -> Floats:
        heard = [report for key, report in self._reports.items() if key != without]
        return joint_log_ratio(heard, self.support.prior_mass, self._parameters.agreement)

    @cached_property
    def _by_density(self) -> NDArray[np.intp]:
        return np.argsort(-self.mass / self.support.area_km2, kind="stable")

    def _normalised(self, nats: Floats) -> Floats:
        mass = self.support.prior_mass * np.exp(nats - nats.max())
        return np.asarray(mass / mass.sum())

    def chance_within_km(self, lat_lon_deg: ArrayLike, distance_km: float) -> float:
        """Probability that the truth lies within a distance of a position, in degrees."""
        inside = self.support.distance_km(lat_lon_deg)[:, 0] <= distance_km
        return min(1.0, float(self.mass[inside].sum()))

    def radius_km(self, lat_lon_deg: ArrayLike, share: float) -> float:
        """Distance from a position, in degrees, within which a share of the probability lies."""
        return weighted_quantile(self.support.distance_km(lat_lon_deg)[:, 0], self.mass, share)

    def densest(self, share: float) -> NDArray[np.intp]:
        """Rows of the densest positions that together hold a share of the probability, the densest first."""
        held = np.cumsum(self.mass[self._by_density])
        return self._by_density[: int(np.searchsorted(held, share * held[-1])) + 1]

    def credible_rows(self, share: float) -> NDArray[np.intp]:
        """Rows of the positions of the smallest area that holds the truth in a share of such cases, the densest first.

        How much of the belief that takes is fitted (`Parameters.area_shares`).
        """
        return self.densest(self._parameters.area_share(share))

    def area_km2(self, share: float) -> float:
        """Size of the smallest area that holds the truth in a share of such cases."""
        rows, of_belief = self.credible_rows(share), self._parameters.area_share(share)
        held = np.cumsum(self.mass[rows])
        # Of the last position only as much as is needed.
        return float(np.interp(of_belief, held, np.cumsum(self.support.area_km2[rows])))

    def is_in_area(self, lat_lon_deg: ArrayLike, share: float) -> bool:
        """Whether a position, in degrees, lies in the smallest area that holds the truth in a share of such cases."""
        return self.denser_share(lat_lon_deg) < self._parameters.area_share(share)

    def denser_share(self, lat_lon_deg: ArrayLike) -> float:
        """Probability that lies where it is denser than at a position, in degrees (Hyndman 1996).

        Of a belief that is right, the truth has less than 0.5 half of the time. As exact as `log_density`.
        """
        nats = np.log(np.maximum(self.mass, TINY) / self.support.area_km2)
        return float(self.mass[nats > self.log_density(lat_lon_deg)].sum())

    def log_density(self, lat_lon_deg: ArrayLike) -> float:
        """Log-probability density in nats per km² at a position, in degrees.

        The prior's is exact; what witnesses made of it is interpolated, within some 0.3 nats between positions of the
        support, and exact at a pin.
        """
        away_km = self.support.distance_km(lat_lon_deg)[:, 0]
        near = np.argsort(away_km, kind="stable")[:NEAREST]
        nats = np.log(np.maximum(self.mass[near] / self.support.prior_mass[near], TINY))
        told = float(np.average(nats, weights=np.maximum(away_km[near], LEAST_KM) ** -2.0))
        return float(np.log(self.support.prior.density(lat_lon_deg)[0])) + told


def evenly(mass: Floats, count: int) -> NDArray[np.intp]:
    """Rows of positions at even quantiles of a mass (n,): shape (count,).

    >>> evenly(np.array([0.1, 0.8, 0.1]), 4).tolist()
    [1, 1, 1, 1]
    """
    held = np.cumsum(mass)
    rows: NDArray[np.intp] = np.searchsorted(held, (np.arange(count) + 0.5) / count * held[-1])
    return np.asarray(np.minimum(rows, len(mass) - 1))


def divergence_nats(mass: Floats, other: Floats) -> float:
    """Kullback-Leibler divergence of one distribution (n,) from another, as probabilities of the same positions.

    >>> round(divergence_nats(np.array([0.9, 0.1]), np.array([0.5, 0.5])), 3)
    0.368
    """
    held = mass > 0.0
    return max(0.0, float(np.sum(mass[held] * np.log(mass[held] / np.maximum(other[held], TINY)))))


def weighted_quantile(values: Floats, weights: Floats, share: float) -> float:
    """The value below which `share` of the weight lies, between values by interpolation.

    >>> distances_km, weights = np.array([10.0, 900.0, 50.0]), np.array([0.5, 0.2, 0.3])
    >>> weighted_quantile(distances_km, weights, 0.5), weighted_quantile(distances_km, weights, 0.65)
    (10.0, 30.0)
    """
    order = np.argsort(values, kind="stable")
    held = np.cumsum(weights[order])
    return float(np.interp(share * held[-1], held, values[order]))
