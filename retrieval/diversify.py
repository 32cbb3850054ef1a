"""Candidates that stand apart on the ground.

Neighbouring coordinates of a GPS atlas have nearly the same vector, so the most similar hundred are one or two
places said again and again. Keeping the best of each neighbourhood shows the other places the encoder thinks of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geo.sphere import EARTH_RADIUS_KM, lat_lon_array, unit_vectors
from retrieval.candidate import Candidate


def spread_out(candidates: Sequence[Candidate], min_distance_km: float, limit: int) -> list[Candidate]:
    """The first `limit` candidates with no better one within `min_distance_km`, ranked anew.

    Greedy non-maximum suppression on the sphere.

    Args:
        candidates: most similar first.
        min_distance_km: at most half the Earth's circumference.
        limit: how many at most.
    """
    directions = unit_vectors(lat_lon_array(c.point for c in candidates))
    too_near = np.cos(min_distance_km / EARTH_RADIUS_KM)
    open_ = np.ones(len(candidates), dtype=bool)
    kept: list[int] = []
    while len(kept) < limit and open_.any():
        best = int(open_.argmax())
        kept.append(best)
        open_ &= directions @ directions[best] <= too_near
        open_[best] = False
    return [candidates[i].model_copy(update={"rank": rank}) for rank, i in enumerate(kept)]
