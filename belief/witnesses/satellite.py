"""Matching the ground to pictures from above as a witness: which tile it is, within the area that the belief points at.

The smallest areas that hold wanted shares of the belief say which tiles are compared (`narrowed_areas`). What is found
is read at several temperatures: at each, a position counts exp(similarity of its tile / temperature), over the average
of that under the belief. Such a reading is a distribution of its own, and the witness is a mixture of them and of the
belief as it was, by shares fitted on places whose truth is known (`evals.fitting.satellite_fit`). So on average over
such places it does not make the belief worse, and a photo whose tiles are all alike changes nothing.

Positions in a compared area on no hit count as tiles from elsewhere that are no more similar than the last hit;
positions outside count as tiles from elsewhere do on average. That is the open reading. The closed one counts positions
on tiles of the atlas alone: in a collection of landmarks the place is one of the tiles. How much of either is true is
fitted, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from belief.kernels import chord_distance_km
from belief.parameters import SatelliteRecord
from belief.posterior import Belief
from belief.support import Support
from belief.witnesses.reports import TINY
from geo.point import Point
from geo.sphere import Floats, to_lat_lon_deg
from retrieval.crossview.tile_atlas import ComparedTiles
from retrieval.stores.filters import Near, NearAny, holds_unit

Covers = Callable[[Floats], NDArray[np.bool_]]
"""A function from positions (n, 2) in degrees to whether each lies on a tile of the atlas."""

SHARES = (0.5, 0.9)
"""Of the belief: tiles of the areas that hold them are compared. Set by hand, as are the numbers below."""

MOST_CIRCLES = 16
"""Circles that an area is covered with."""

PINNED_TILES = 64
"""Hits that get a support of their own."""

LEAST_RADIUS_KM = 0.1
"""Of a circle around one position."""


def narrowed_areas(belief: Belief, shares: Sequence[float] = SHARES) -> list[NearAny]:
    """The smallest areas that hold shares of a belief, each covered with circles, in the order of the shares.

    >>> from belief.support import make_support
    >>> paris = (48.86, 2.34)
    >>> support = make_support([paris])
    >>> near = np.exp(-support.distance_km(paris)[:, 0] / 5.0) + 1e-6
    >>> (area,) = narrowed_areas(Belief(support, {}, {"seen": np.log(near)}), [0.5])
    >>> area.contains(Point(lat=48.86, lon=2.34)), area.contains(Point(lat=51.5, lon=0.0))
    (True, False)
    """
    return [_covered(belief.support, belief.densest(share)) for share in shares]


def _covered(support: Support, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> NearAny:
    """Circles around positions of a support, by farthest-point clustering (Gonzalez 1985)."""
    unit = support.unit[rows]
    reach_km = np.maximum(np.sqrt(support.area_km2[rows] / np.pi), LEAST_RADIUS_KM)
    centres, away_km = [0], chord_distance_km(unit, unit[:1])[:, 0]
    nearest = np.zeros(len(rows), dtype=np.intp)
    while len(centres) < MOST_CIRCLES and (beyond_km := away_km - 2.0 * reach_km).max() > 0.0:
        centres.append(int(np.argmax(beyond_km)))
        new_km = chord_distance_km(unit, unit[centres[-1:]])[:, 0]
        nearest = np.where(new_km < away_km, len(centres) - 1, nearest)
        away_km = np.minimum(new_km, away_km)
    radius_km = np.zeros(len(centres))
    np.maximum.at(radius_km, nearest, away_km + reach_km)
    at = to_lat_lon_deg(unit[centres])
    return NearAny(
        tuple(Near(Point(lat=lat, lon=lon), km) for (lat, lon), km in zip(at.tolist(), radius_km.tolist(), strict=True))
    )


def tile_pins(compared: ComparedTiles) -> list[tuple[float, float]]:
    """Centres in degrees of the most similar tiles, and of some of the others, for the support of the belief."""
    centres = (hit.tile.bounds.centre for hit in compared.hits[:PINNED_TILES])
    return [*((centre.lat, centre.lon) for centre in centres), *compared.spread_deg]


def stands_out(compared: ComparedTiles) -> float:
    """How far the most similar tile is above tiles of elsewhere, in their standard deviations; 0 without a hit.

    >>> from geo.tiles import TileBounds
    >>> from retrieval.crossview.tile_atlas import TileHit
    >>> from retrieval.crossview.tiles import SatelliteTile
    >>> hit = TileHit(SatelliteTile("a", TileBounds(0.0, 0.0, 1.0, 1.0)), 0.5)
    >>> stands_out(ComparedTiles((hit,), (), np.array([0.1, 0.3])))
    3.0
    """
    if not compared.hits:
        return 0.0
    spread = float(compared.background.std())
    return round((compared.hits[0].similarity - float(compared.background.mean())) / max(spread, 1e-6), 6)


def satellite_log_ratio(belief: Belief, compared: ComparedTiles, covers: Covers, record: SatelliteRecord) -> Floats:
    """Log likelihood ratio (n,) in nats of a comparison at the positions of a belief without it.

    Args:
        belief: without this witness, on a support with `tile_pins`.
        compared: with the areas of the belief.
        covers: `retrieval.crossview.tile_atlas.TileAtlas.covers`.
        record: of the encoder.
    """
    readings = tile_readings(belief.support, belief.mass, compared, covers, record.temperatures)
    return np.asarray(np.log(np.maximum(readings @ record.shares_at(stands_out(compared)), TINY)))


def tile_readings(
    support: Support, mass: Floats, compared: ComparedTiles, covers: Covers, temperatures: Sequence[float]
) -> Floats:
    """A comparison read openly and closed at each of t temperatures, and "nothing": (n, 2 t + 1), each 1 on average.

    Args:
        support: n positions.
        mass: of the belief, (n,), over which the average is taken.
        covers: which positions (n, 2) in degrees lie on a tile of the atlas.
    """
    readings = np.ones((len(mass), 2 * len(temperatures) + 1))
    if not compared.hits:
        return readings
    similarity, level = np.array([hit.similarity for hit in compared.hits]), _levels(support, compared)
    elsewhere = [np.minimum(compared.background, most) for most in _caps(compared)]
    is_tile = (level >= 0) | covers(support.lat_lon_deg)
    for column, temperature in enumerate(temperatures):

        def counted(of: Floats, scale: float = temperature) -> Floats:
            return np.asarray(np.exp((of - similarity[0]) / scale))

        # Levels below 0 count from the end.
        at = np.append(counted(similarity), [counted(tiles).mean() for tiles in elsewhere])[level]
        on_tiles = np.where(is_tile, at, 0.0)
        readings[:, column] = at / max(float(mass @ at), TINY)
        if on_tiles.any():
            readings[:, len(temperatures) + column] = on_tiles / max(float(mass @ on_tiles), TINY)
    return readings


def _caps(compared: ComparedTiles) -> list[float]:
    """Most that a tile can be similar that is no hit: in each zone, and outside of all."""
    return [np.inf if zone.most is None else zone.most for zone in compared.zones] + [np.inf]


def _levels(support: Support, compared: ComparedTiles) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Of each position the hit it lies in, the most similar; else, below 0, its zone or none, counted as in `_caps`."""
    level = np.full(len(support.unit), -1, dtype=np.intp)
    for index in reversed(range(len(compared.zones))):
        level[holds_unit(compared.zones[index].area, support.unit)] = index - len(compared.zones) - 1
    for index in reversed(range(len(compared.hits))):
        level[compared.hits[index].tile.bounds.holds(support.lat_lon_deg)] = index
    return level
