"""What lies under the answers on a page's map: pictures of the ground, coasts and borders, names of cities."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agents.schemas import Answer
from apps.maps import basemap_image
from apps.maps.basemap_image import window_picture, world_picture
from apps.maps.city_labels import city_labels
from apps.maps.page_data import answer_bounds
from apps.maps.tile_data import jpeg_uri
from apps.maps.viewport import Window, window_around
from geo.point import Point
from geo.shorelines import LINES_ATTRIBUTION, LineKind, lines_within
from geo.sphere import lat_lon_array, mean_point

ATTRIBUTION = f"{basemap_image.ATTRIBUTION} · {LINES_ATTRIBUTION}"
WORLD_EDGES = {"west": -180, "east": 180, "north": 90, "south": -90}
_WORLD_SIZE = (3600, 1800)
_WORLD_QUALITY = 62
_DETAIL_ASPECT = 1.6
_DETAIL_GROWTH = 1.8
_DETAIL_PX_PER_DEG = 60.0
_DETAIL_SIDE_PX = 1400
_SCREEN_PX = (880.0, 780.0)
_BADGE_PX = 16.0
_MOST_CITIES = 32
_SQUEEZED_TO_LAT = 65.0
_FINE_COAST_DEG = 30.0


@functools.cache
def world_jpeg() -> bytes:
    """The whole world, equirectangular, as a JPEG."""
    return _jpeg(world_picture(_WORLD_SIZE), _WORLD_QUALITY)


def ground_data(answers: Sequence[Answer]) -> dict[str, Any]:
    """Detailed pictures, lines and city names around answers; for several, or none, those of the whole world.

    The picture of the world, `world_jpeg`, lies under all of them.
    """
    if len(answers) != 1:
        return world_ground(middle(_best_lat_lon_deg(answers)), answers, view_data(answers))
    window = _detail_window(answers[0])
    lines, cities = _lines(window, detailed=True), _cities(window, answers, view_data(answers))
    return {"pictures": [_detail_picture(window)], "lines": lines, "cities": cities}


def world_ground(centre: Point, answers: Sequence[Answer], view: dict[str, Any]) -> dict[str, Any]:
    """Lines and city names of the whole world; the names stay clear of the answers."""
    window = Window(centre, 170.0, 2.0)
    return {"pictures": [], "lines": _lines(window, detailed=False), "cities": _cities(window, answers, view)}


def view_data(answers: Sequence[Answer]) -> dict[str, Any]:
    """What a map of answers opens with; without any, the world."""
    centre = middle(_best_lat_lon_deg(answers))
    bounds = np.array([answer_bounds(answer, centre.lon) for answer in answers]).reshape(-1, 4)
    return view_of(centre, [answer.point.lat for answer in answers if answer.point], bounds)


def view_of(centre: Point, lats_deg: Sequence[float], bounds_deg: NDArray[np.float64]) -> dict[str, Any]:
    """What a map opens with: its middle longitude, its bounds, and how far longitudes are squeezed.

    Args:
        centre: the middle.
        lats_deg: where shapes shall be true to scale; none: at the middle.
        bounds_deg: rows of west, south, east, north; none: the whole world.
    """
    rows = bounds_deg if len(bounds_deg) else np.array([[centre.lon - 180.0, -85.0, centre.lon + 180.0, 85.0]])
    lat = min(float(np.median(np.abs(lats_deg or [centre.lat]))), _SQUEEZED_TO_LAT)
    return {
        "lon": centre.lon,
        "squeeze": round(float(np.cos(np.radians(lat))), 4),
        "bounds": [*rows[:, :2].min(axis=0).tolist(), *rows[:, 2:].max(axis=0).tolist()],
    }


def middle(lat_lon_deg: NDArray[np.float64]) -> Point:
    """The middle of positions (n, 2), whose opposite meridian is a map's edge; (0, 0) where there is none."""
    try:
        return mean_point(lat_lon_deg)
    except ValueError:  # no position, or positions that cancel out
        return Point(lat=0.0, lon=0.0)


def _best_lat_lon_deg(answers: Sequence[Answer]) -> NDArray[np.float64]:
    best = [answer.point or answer.hypotheses[0].point for answer in answers if answer.point or answer.hypotheses]
    return lat_lon_array(best)


def _detail_window(answer: Answer) -> Window:
    near = window_around(answer, _DETAIL_ASPECT)
    height_deg = min(near.height_deg * _DETAIL_GROWTH, 120.0)
    lat = float(np.clip(near.centre.lat, -90.0 + height_deg / 2.0, 90.0 - height_deg / 2.0))
    return Window(Point(lat=lat, lon=near.centre.lon), height_deg, _DETAIL_ASPECT)


def _detail_picture(window: Window) -> dict[str, Any]:
    scale = min(_DETAIL_PX_PER_DEG, _DETAIL_SIDE_PX / max(window.width_deg, window.height_deg))
    size = (round(window.width_deg * scale), round(window.height_deg * scale))
    edges = {"west": window.west, "east": window.west + window.width_deg, "north": window.north, "south": window.south}
    return {"src": jpeg_uri(_jpeg(window_picture(window, size), 84)), "feather": 0.12} | edges


def _lines(window: Window, detailed: bool) -> list[dict[str, Any]]:
    world = Window(Point(lat=0.0, lon=window.centre.lon), 180.0, 2.0)
    countries = _line_layer(world, LineKind.COUNTRY, 0.02, "rgba(255,255,255,0.55)", 1.0)
    if not detailed:
        return [countries]
    tolerance = max(0.01, window.height_deg / 1200.0)
    return [
        _line_layer(window, LineKind.COAST, tolerance, "rgba(214,232,255,0.42)", 0.8),
        _line_layer(window, LineKind.STATE, tolerance, "rgba(255,255,255,0.2)", 0.8),
        countries,
    ]


def _detail(window: Window, kind: LineKind) -> str:
    """Coarser coasts for a wide window: they are by far the longest lines."""
    return "l" if kind is LineKind.COAST and window.height_deg > _FINE_COAST_DEG else "i"


def _line_layer(window: Window, kind: LineKind, tolerance_deg: float, colour: str, weight: float) -> dict[str, Any]:
    rounded = [
        np.round(line * 100.0).astype(int)
        for line in lines_within(window.bounds_deg, kind, _detail(window, kind), tolerance_deg)
    ]
    steps = [np.concatenate([line[:1], np.diff(line, axis=0)]).ravel().tolist() for line in rounded]
    return {"lines": steps, "colour": colour, "weight": weight}


def _cities(window: Window, answers: Sequence[Answer], view: dict[str, Any]) -> list[dict[str, Any]]:
    """Names that do not touch at the scale the page opens with, and stay clear of the hypotheses."""
    size = _size_when_opened(window, view)
    spots = [window.point_pixel(guess.point, size) for answer in answers for guess in answer.hypotheses]
    badges = tuple((x - _BADGE_PX, y - _BADGE_PX, x + _BADGE_PX, y + _BADGE_PX) for x, y in spots)
    west, south, east, north = view["bounds"]
    (left, top), (right, bottom) = window.pixels(np.array([(west, north), (east, south)]), size).tolist()
    labels = city_labels(window, size, badges, _MOST_CITIES, first=(left, top, right, bottom))
    return [{"name": label.name, "at": [label.lon, label.lat]} for label in labels]


def _size_when_opened(window: Window, view: dict[str, Any]) -> tuple[int, int]:
    """The window's size in pixels on a page that fits the view's bounds into an ordinary screen."""
    west, south, east, north = view["bounds"]
    squeeze = view["squeeze"]
    scale = min(_SCREEN_PX[0] / ((east - west) * squeeze), _SCREEN_PX[1] / (north - south))
    return round(window.width_deg * squeeze * scale), round(window.height_deg * scale)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True, progressive=True)
    return out.getvalue()
