"""Positions that stand apart on the ground.

Neighbouring coordinates of a GPS atlas have nearly the same vector, so the most similar hundred are one or two
places many times over. Keeping the best of each neighbourhood shows the other places that look alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geo.sphere import EARTH_RADIUS_KM, unit_vectors


def spread_out(lat_lon_deg: ArrayLike, min_distance_km: float, limit: int) -> NDArray[np.int64]:
    """Indices (k,), ascending, of the first `limit` positions with no kept one before them within `min_distance_km`.

    Greedy non-maximum suppression on the sphere.

    Args:
        lat_lon_deg: positions (n, 2), the best first.
        min_distance_km: at most half the Earth's circumference.
        limit: how many at most.

    >>> spread_out([(48.85, 2.35), (48.86, 2.36), (51.5, -0.12)], min_distance_km=100.0, limit=10).tolist()
    [0, 2]
    """
    directions = unit_vectors(np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2))
    too_near = np.cos(min_distance_km / EARTH_RADIUS_KM)
    open_ = np.ones(len(directions), dtype=bool)
    kept: list[int] = []
    while len(kept) < limit and open_.any():
        best = int(open_.argmax())
        kept.append(best)
        open_ &= directions @ directions[best] <= too_near
        open_[best] = False
    return np.array(kept, dtype=np.int64)
