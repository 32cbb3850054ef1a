"""Where the tiles of a satellite atlas lie: which positions are on one, and tiles spread over an area."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from shapely import STRtree, box, points

from geo.sphere import Floats, unit_vectors, wrap_longitudes_deg
from retrieval.stores.filters import NearAny, holds_unit

SPREAD_TILES = 64
"""Tiles of the areas, and again of the whole atlas, whose centres a comparison tells. By hand."""

CONSIDERED_TILES = 16_384
"""Of more, so many are looked at, evenly; in an area with few of them the hits show where tiles are. By hand."""


class TileLayout:
    """The bounds of all tiles of an atlas.

    >>> layout = TileLayout(np.array([[-20.0, 170.0, 0.0, -170.0], [40.0, 0.0, 50.0, 10.0]]))
    >>> layout.covers(np.array([[-17.0, 179.0], [-17.0, -171.0], [-17.0, 169.0], [45.0, 5.0]])).tolist()
    [True, True, False, True]
    >>> layout.spread_deg([])
    ((-10.0, -180.0), (45.0, 5.0))
    """

    def __init__(self, bounds_deg: Floats) -> None:
        """Keep south, west, north and east of n tiles in degrees, (n, 4); west > east: across the antimeridian."""
        self._bounds_deg = bounds_deg

    def covers(self, lat_lon_deg: Floats) -> NDArray[np.bool_]:
        """Which of some positions (n, 2) in degrees lie on a tile, (n,)."""
        on_tile = np.zeros(len(lat_lon_deg), dtype=bool)
        on_tile[self._boxes.query(points(lat_lon_deg[:, ::-1]), predicate="intersects")[0]] = True
        return on_tile

    def spread_deg(self, areas: Sequence[NearAny]) -> tuple[tuple[float, float], ...]:
        """Centres of some tiles of the union of some areas, and of some of all tiles, evenly over their list."""
        union = NearAny(tuple(circle for area in areas for circle in area.circles))
        inside = self._centres_deg[holds_unit(union, self._unit)]
        chosen = [tiles[:: max(1, -(-len(tiles) // SPREAD_TILES))] for tiles in (inside, self._centres_deg)]
        return tuple((lat, lon) for lat, lon in np.concatenate(chosen).tolist())

    @cached_property
    def _boxes(self) -> STRtree:
        south, west, north, east = self._bounds_deg.T
        crosses = west > east
        parts = [(west, np.where(crosses, 180.0, east)), (np.where(crosses, -180.0, west), east)]
        return STRtree(np.concatenate([box(from_deg, south, to_deg, north) for from_deg, to_deg in parts]))

    @cached_property
    def _centres_deg(self) -> Floats:
        """Of the tiles considered (m, 2), neighbours mostly beside each other."""
        south, west, north, east = self._bounds_deg.T
        lat, lon = (south + north) / 2.0, wrap_longitudes_deg(west + (east - west) % 360.0 / 2.0)
        ordered = np.stack([lat, lon], axis=1)[np.lexsort((lon, lat, np.floor(lon), np.floor(lat)))]
        return ordered[:: max(1, -(-len(ordered) // CONSIDERED_TILES))]

    @cached_property
    def _unit(self) -> Floats:
        """Unit vectors (m, 3) of the centres."""
        return unit_vectors(self._centres_deg)
