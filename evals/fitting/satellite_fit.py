"""Fit what matching photos to satellite tiles is worth, by the mean log-probability density at the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from belief.parameters import SatelliteRecord
from belief.posterior import Belief
from belief.witnesses.satellite import Covers, stands_out, tile_readings
from core.errors import UserError
from evals.fitting.mixtures import fit_mixture, floored, rounded
from geo.sphere import Floats
from retrieval.crossview.tile_atlas import ComparedTiles

TEMPERATURES = (0.01, 0.02, 0.04, 0.08, 0.16)
"""Of the readings. Set by hand, as are the numbers below; the shares of the readings are fitted."""

GROUPS = 4
"""Parts of the places by how far the best tile stands out."""

POOLED_PLACES = 5.0
"""Places' worth of the shares of all groups that are mixed into those of each."""

LEAST_PLACES = 40
"""Places that a fit needs."""


class MatchedPlace(NamedTuple):
    """What a comparison says at the truth of a place.

    Attributes:
        at_truth: readings (2 t + 1,), the last of "nothing", which is 1.
        stands_out: of the best tile.
    """

    at_truth: Floats
    stands_out: float


def matched_place(
    belief: Belief,
    compared: ComparedTiles,
    covers: Covers,
    truth_row: int,
    temperatures: Sequence[float] = TEMPERATURES,
) -> MatchedPlace:
    """A comparison at the truth of a place, whose position must be a row of the support.

    Args:
        belief: without this comparison, on a support with `tile_pins`.
        covers: which positions lie on a tile of the atlas.
    """
    readings = tile_readings(belief.support, belief.mass, compared, covers, temperatures)
    return MatchedPlace(readings[truth_row], stands_out(compared))


def fit_satellite(
    places: Sequence[MatchedPlace], temperatures: Sequence[float] = TEMPERATURES, source: str = ""
) -> SatelliteRecord:
    """The record of matching with an encoder, from places that it was not trained on.

    Raises:
        UserError: too few places.
    """
    if len(places) < LEAST_PLACES:
        raise UserError(f"{len(places)} places are too few to fit what a match is worth: give {LEAST_PLACES} or more")
    densities = np.array([place.at_truth for place in places])
    found = np.array([place.stands_out for place in places])
    edges = np.unique(np.round(np.quantile(found, np.arange(1, GROUPS) / GROUPS), 4))
    group = np.searchsorted(edges, found)
    pooled = fit_mixture(densities)
    shares = [
        rounded(floored(fit_mixture(densities[group == one], towards=pooled, strength=POOLED_PLACES)))
        for one in range(len(edges) + 1)
    ]
    return SatelliteRecord(
        temperatures=tuple(temperatures),
        edges=tuple(edges.tolist()),
        shares=tuple(shares),
        photos=len(places),
        source=source,
    )


def gain_nats(record: SatelliteRecord, place: MatchedPlace) -> float:
    """What a comparison adds to the log-probability density at the truth of a place, in nats."""
    return float(np.log(place.at_truth @ record.shares_at(place.stands_out)))
