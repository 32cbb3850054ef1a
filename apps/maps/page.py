"""Answers as one HTML file with a map, which opens without a network and asks for none (see `core.page`)."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.schemas import Answer
from apps.maps import basemap_image
from apps.maps.basemap_image import window_picture, world_picture
from apps.maps.city_labels import city_labels
from apps.maps.geometry import HEAT_COLOURS, near_longitude_deg
from apps.maps.page_data import answer_bounds, jpeg_uri, lean_photo_data, photo_data
from apps.maps.viewport import Window, window_around
from apps.output.formatting import LocatedPhoto
from core.page import self_contained_page
from geo.point import Point
from geo.shorelines import LINES_ATTRIBUTION, LineKind, lines_within
from geo.sphere import lat_lon_array, mean_point

_WORLD_SIZE = (3600, 1800)
_DETAIL_ASPECT = 1.6
_DETAIL_GROWTH = 1.8
_DETAIL_PX_PER_DEG = 60.0
_DETAIL_SIDE_PX = 1400
_SCREEN_PX = (880.0, 780.0)
_BADGE_PX = 16.0
_MOST_CITIES = 32
_SQUEEZED_TO_LAT = 65.0
_FINE_COAST_DEG = 30.0
_MANY = 5
MOST_DETAILED = 100
"""Photos with areas, alternatives and evidence on one page: each takes 33 kB and a tenth of a second."""
_LEAN_MARGIN_DEG = 3.0
_LEFT_OUT = (
    "Areas, alternatives and evidence are left out of a map of so many photos: a map of this photo alone has them, and"
    " so have the rows of --jsonl."
)
_LEGEND = (
    ("answer", "answer"),
    ("heat", "belief"),
    ("area50", "half of it"),
    ("area90", "nine tenths"),
    ("within50", "50 % within"),
    ("within90", "90 % within"),
    ("alternatives", "alternatives"),
    ("candidates", "candidates"),
    ("metadata", "file's metadata"),
)


def map_page(located: Collection[LocatedPhoto]) -> str:
    """The page of one or several answers.

    Args:
        located: gone through once. A page of more than a hundred photos has of each what fits in half a kilobyte.

    Raises:
        ValueError: no answer.
    """
    if not located:
        raise ValueError("a map needs at least one answer")
    data = _page_data(list(located)) if len(located) <= MOST_DETAILED else _lean_page_data(located)
    # Leaflet's pictures are those of controls that the page does not use.
    style = re.sub(r"url\([^)]*\)", "none", _asset("leaflet/leaflet.css")) + _asset("map/map.css")
    # The source map is a request that the page's policy would refuse.
    leaflet = re.sub(r"\n?//# sourceMappingURL=.*", "", _asset("leaflet/leaflet.js"))
    scripts = [leaflet, _asset("map/map.js")]
    return self_contained_page(_title(data["photos"]), style, _asset("map/body.html"), data, scripts)


def _page_data(located: Sequence[LocatedPhoto]) -> dict[str, Any]:
    answers = [item.answer for item in located]
    best = [answer.point or answer.hypotheses[0].point for answer in answers if answer.point or answer.hypotheses]
    centre = _middle(lat_lon_array(best))
    window = _detail_window(answers[0]) if len(answers) == 1 else _world_window(centre)
    lats = [answer.point.lat for answer in answers if answer.point] or [centre.lat]
    view = _view(centre, lats, np.array([answer_bounds(answer, centre.lon) for answer in answers]))
    return {
        "photos": [photo_data(item, centre.lon, brief=len(located) > _MANY) for item in located],
        "legend": _legend(answers),
        # Circles round the point say the same as the areas, less exactly: drawn when they are asked for.
        "hidden": ["within50", "within90"] if all(answer.areas for answer in answers) else [],
        "subtitle": "where, how sure, and why" if len(answers) == 1 else f"{len(answers)} photos",
    } | _ground(window, answers, view)


def _lean_page_data(located: Iterable[LocatedPhoto]) -> dict[str, Any]:
    photos = [lean_photo_data(item) for item in located]
    lon_lat = np.array([photo["point"] for photo in photos if photo["point"]], dtype=np.float64).reshape(-1, 2)
    centre = _middle(lon_lat[:, ::-1])
    lon_lat[:, 0] = near_longitude_deg(lon_lat[:, 0], centre.lon)
    bounds = np.concatenate([lon_lat - _LEAN_MARGIN_DEG, lon_lat + _LEAN_MARGIN_DEG], axis=1)
    view = _view(centre, lon_lat[:, 1].tolist() or [centre.lat], bounds if len(bounds) else _whole_world(centre))
    shown = {"answer", "within50", "within90"} if len(lon_lat) else set()
    return {
        "photos": photos,
        "leftOut": _LEFT_OUT,
        "legend": [entry for entry in _LEGEND if entry[0] in shown],
        "hidden": [],
        "subtitle": f"{len(photos):,} photos",
    } | _ground(_world_window(centre), (), view)


def _ground(window: Window, answers: Sequence[Answer], view: dict[str, Any]) -> dict[str, Any]:
    """What the marks lie on."""
    return {
        "view": view,
        "pictures": _pictures(window, detailed=len(answers) == 1),
        "lines": _lines(window, detailed=len(answers) == 1),
        "cities": _cities(window, answers, view),
        "ramp": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in reversed(HEAT_COLOURS)],
        "attribution": f"{basemap_image.ATTRIBUTION} · {LINES_ATTRIBUTION}",
    }


def _middle(lat_lon_deg: NDArray[np.float64]) -> Point:
    """The middle of the answers; the map's edge is the opposite meridian."""
    try:
        return mean_point(lat_lon_deg)
    except ValueError:  # no position, or positions that cancel out
        return Point(lat=0.0, lon=0.0)


def _world_window(centre: Point) -> Window:
    return Window(centre, 170.0, 2.0)


def _whole_world(centre: Point) -> NDArray[np.float64]:
    return np.array([[centre.lon - 180.0, -85.0, centre.lon + 180.0, 85.0]])


def _view(centre: Point, lats_deg: Sequence[float], bounds_deg: NDArray[np.float64]) -> dict[str, Any]:
    """What the page opens with; bounds are rows of west, south, east, north."""
    lat = min(float(np.median(np.abs(lats_deg))), _SQUEEZED_TO_LAT)
    return {
        "lon": centre.lon,
        "squeeze": round(float(np.cos(np.radians(lat))), 4),
        "bounds": [*bounds_deg[:, :2].min(axis=0).tolist(), *bounds_deg[:, 2:].max(axis=0).tolist()],
    }


def _detail_window(answer: Answer) -> Window:
    near = window_around(answer, _DETAIL_ASPECT)
    height_deg = min(near.height_deg * _DETAIL_GROWTH, 120.0)
    lat = float(np.clip(near.centre.lat, -90.0 + height_deg / 2.0, 90.0 - height_deg / 2.0))
    return Window(Point(lat=lat, lon=near.centre.lon), height_deg, _DETAIL_ASPECT)


def _pictures(window: Window, detailed: bool) -> list[dict[str, Any]]:
    world = {"src": _jpeg(world_picture(_WORLD_SIZE), 62), "west": -180, "east": 180, "north": 90, "south": -90}
    if not detailed:
        return [world]
    scale = min(_DETAIL_PX_PER_DEG, _DETAIL_SIDE_PX / max(window.width_deg, window.height_deg))
    size = (round(window.width_deg * scale), round(window.height_deg * scale))
    edges = {"west": window.west, "east": window.west + window.width_deg, "north": window.north, "south": window.south}
    return [world, {"src": _jpeg(window_picture(window, size), 84), "feather": 0.12} | edges]


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


def _legend(answers: Sequence[Answer]) -> list[tuple[str, str]]:
    """The entries of what the page can show."""
    located = any(answer.point for answer in answers)
    has_areas = any(answer.areas for answer in answers)
    shown = {
        "answer": located,
        "heat": has_areas,
        "area50": has_areas,
        "area90": has_areas,
        "within50": located,
        "within90": located,
        "alternatives": any(answer.hypotheses for answer in answers),
        "candidates": any(answer.candidates for answer in answers),
        "metadata": any(answer.metadata_position for answer in answers),
    }
    return [entry for entry in _LEGEND if shown[entry[0]]]


def _title(photos: Sequence[Mapping[str, Any]]) -> str:
    return f"{photos[0]['name']} · GeoSleuth" if len(photos) == 1 else f"{len(photos)} photos · GeoSleuth"


def _jpeg(picture: Any, quality: int) -> str:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True, progressive=True)
    return jpeg_uri(out.getvalue())


def _asset(name: str) -> str:
    return (resources.files("apps") / "assets" / name).read_text(encoding="utf-8")
