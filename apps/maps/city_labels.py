"""City names for a map: the most populous that fit without touching one another."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from apps.maps.geometry import near_longitude_deg
from apps.maps.viewport import Window
from geo.places.tables import PlaceTables

Box = tuple[float, float, float, float]
_CONSIDERED = 400
_LETTER_PX, _LINE_PX, _EDGE_PX = 7.0, 20.0, 14.0


class CityLabel(NamedTuple):
    """A name, its position in map longitudes, and its dot in pixels."""

    name: str
    lon: float
    lat: float
    xy: tuple[float, float]

    @property
    def box(self) -> Box:
        """Left, top, right and bottom of dot and name, in pixels."""
        x, y = self.xy
        return x - 6.0, y - _LINE_PX / 2.0, x + 8.0 + _LETTER_PX * len(self.name), y + _LINE_PX / 2.0


def city_labels(
    window: Window, size_px: tuple[int, int], keep_clear: tuple[Box, ...] = (), most: int = 24, first: Box | None = None
) -> list[CityLabel]:
    """The most populous cities of a window whose names fit in it and stay clear of each other and of some boxes.

    Those in the box `first` come before all others.
    """
    chosen: list[CityLabel] = []
    for label in _by_population(window, size_px, first):
        boxes = (*keep_clear, *(other.box for other in chosen))
        if _fits(label, size_px) and not any(_touch(label.box, box) for box in boxes):
            chosen.append(label)
        if len(chosen) == most:
            break
    return chosen


@functools.cache
def _tables() -> PlaceTables:
    return PlaceTables()


def _by_population(window: Window, size_px: tuple[int, int], first: Box | None) -> list[CityLabel]:
    tables = _tables()
    lat, lon = tables.lat_lon_deg[:, 0], tables.lat_lon_deg[:, 1]
    near_lon = near_longitude_deg(lon, window.centre.lon)
    xy = window.pixels(np.stack([near_lon, lat], axis=-1), size_px)
    inside = np.flatnonzero(((xy > 0.0) & (xy < np.array(size_px))).all(axis=1))
    low, high = np.array(first or (0.0, 0.0, *size_px)).reshape(2, 2)
    is_later = ((xy[inside] < low) | (xy[inside] > high)).any(axis=1)
    largest = inside[np.lexsort((-tables.population[inside], is_later))[:_CONSIDERED]]
    rows = zip(largest.tolist(), near_lon[largest].tolist(), lat[largest].tolist(), xy[largest].tolist(), strict=True)
    return [CityLabel(tables.names[i], round(x, 4), round(y, 4), (left, top)) for i, x, y, (left, top) in rows]


def _fits(label: CityLabel, size_px: tuple[int, int]) -> bool:
    left, top, right, bottom = label.box
    return left > _EDGE_PX and top > _EDGE_PX and right < size_px[0] - _EDGE_PX and bottom < size_px[1] - _EDGE_PX


def _touch(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
