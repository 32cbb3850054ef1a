"""What witnesses say at the place where a photo was really taken: all that fitting needs of a support."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from belief.kernels import SCALES_KM
from belief.records import Shares
from belief.support import Support
from belief.witnesses.reports import ReportedPlace, kernel_scales_km, place_shares, prior_near
from geo.sphere import Floats, distance_km


class ReportAtTruth(NamedTuple):
    """Kernels of a report at the truth, relative to the prior, summed over its places by their shares.

    Attributes:
        absolute: of all places (6,): kernels in km, then "anywhere".
        unstated: the same of the places that state no radius (6,).
        stated: kernels in units of the radius, of the places that state one (10,); None: no place does.
        left: what the shares of the places leave of 1.
    """

    absolute: Floats
    unstated: Floats
    stated: Floats | None
    left: float

    def ratio(self, shares: Shares, stated: Shares) -> float:
        """Likelihood ratio at the truth under the shares of a record."""
        without = float(self.unstated @ np.array(shares)) + self.left
        return without if self.stated is None else without + float(self.stated @ np.array(stated))


class JuryAtTruth(NamedTuple):
    """Ratios at the truth of reports: if independent, if alike by correlation, if only one of them is right."""

    independent: float
    alike: tuple[float, ...]
    one: float

    def densities(self, correlation_index: int) -> list[float]:
        """Of the four parts of an agreement."""
        return [self.independent, self.alike[correlation_index], self.one, 1.0]


def report_at_truth(support: Support, places: Sequence[ReportedPlace], truth_deg: tuple[float, float]) -> ReportAtTruth:
    """A report's kernels at the truth, on a support around its places."""
    absolute, unstated = np.zeros(len(SCALES_KM) + 1), np.zeros(len(SCALES_KM) + 1)
    stated: Floats | None = None
    shares = place_shares(places)
    for place, share in zip(places, shares, strict=True):
        plain = share * _kernels(support, place._replace(radius_km=None), truth_deg)
        absolute += plain
        if place.radius_km is None:
            unstated += plain
        else:
            own = share * _kernels(support, place, truth_deg)
            stated = own if stated is None else stated + own
    return ReportAtTruth(absolute, unstated, stated, max(0.0, 1.0 - float(shares.sum())))


def _kernels(support: Support, place: ReportedPlace, truth_deg: tuple[float, float]) -> Floats:
    return np.append(kernels_at(support, np.array([place[:2]]), kernel_scales_km(place), truth_deg)[0], 1.0)


def kernels_at(
    support: Support, lat_lon_deg: Floats, scales_km: Sequence[float], truth_deg: tuple[float, float]
) -> Floats:
    """Kernels around positions (k, 2) at the truth, over their average under the prior: shape (k, scales).

    1 where no position of the support lies near: such a place tells nothing.
    """
    near = prior_near(support, lat_lon_deg, scales_km)
    kernels = np.exp(-distance_km(truth_deg, lat_lon_deg)[:, None] / np.array(scales_km))
    return np.asarray(np.where(near > 1e-12, kernels / np.maximum(near, 1e-12), 1.0))
