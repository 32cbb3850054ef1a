"""Answers as one HTML file with a map, which opens without a network and asks for none (see `core.page`)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from agents.schemas import Answer
from apps.maps import basemap_image
from apps.maps.basemap_image import window_picture, world_picture
from apps.maps.city_labels import city_labels
from apps.maps.geometry import HEAT_COLOURS
from apps.maps.page_data import answer_bounds, jpeg_uri, photo_data
from apps.maps.viewport import Window, window_around
from apps.output.formatting import LocatedPhoto, printable
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


def map_page(located: Sequence[LocatedPhoto]) -> str:
    """The page of one or several answers.

    Raises:
        ValueError: no answer.
    """
    if not located:
        raise ValueError("a map needs at least one answer")
    # Leaflet's pictures are those of controls that the page does not use.
    style = re.sub(r"url\([^)]*\)", "none", _asset("leaflet/leaflet.css")) + _asset("map/map.css")
    # The source map is a request that the page's policy would refuse.
    leaflet = re.sub(r"\n?//# sourceMappingURL=.*", "", _asset("leaflet/leaflet.js"))
    script = _asset("map/map.js")
    return self_contained_page(_title(located), style, _asset("map/body.html"), _page_data(located), [leaflet, script])


def _page_data(located: Sequence[LocatedPhoto]) -> dict[str, Any]:
    answers = [item.answer for item in located]
    centre = _middle(answers)
    window = _detail_window(answers[0]) if len(answers) == 1 else Window(centre, 170.0, 2.0)
    view = _view(answers, centre)
    return {
        "photos": [photo_data(item, centre.lon, brief=len(located) > _MANY) for item in located],
        "view": view,
        "pictures": _pictures(window, detailed=len(answers) == 1),
        "lines": _lines(window, detailed=len(answers) == 1),
        "cities": _cities(window, answers, view),
        "legend": _legend(answers),
        # Circles round the point say the same as the areas, less exactly: drawn when they are asked for.
        "hidden": ["within50", "within90"] if all(answer.areas for answer in answers) else [],
        "ramp": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in reversed(HEAT_COLOURS)],
        "subtitle": "where, how sure, and why" if len(answers) == 1 else f"{len(answers)} photos",
        "attribution": f"{basemap_image.ATTRIBUTION} · {LINES_ATTRIBUTION}",
    }


def _middle(answers: Sequence[Answer]) -> Point:
    """The middle of the answers; the map's edge is the opposite meridian."""
    best = [answer.point or answer.hypotheses[0].point for answer in answers if answer.point or answer.hypotheses]
    try:
        return mean_point(lat_lon_array(best))
    except ValueError:  # no position, or positions that cancel out
        return Point(lat=0.0, lon=0.0)


def _view(answers: Sequence[Answer], centre: Point) -> dict[str, Any]:
    bounds = np.array([answer_bounds(answer, centre.lon) for answer in answers])
    lats = [abs(answer.point.lat) for answer in answers if answer.point] or [abs(centre.lat)]
    return {
        "lon": centre.lon,
        "squeeze": round(float(np.cos(np.radians(min(float(np.median(lats)), _SQUEEZED_TO_LAT)))), 4),
        "bounds": [*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist()],
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


def _title(located: Sequence[LocatedPhoto]) -> str:
    return f"{printable(located[0].name)} · GeoSleuth" if len(located) == 1 else f"{len(located)} photos · GeoSleuth"


def _jpeg(picture: Any, quality: int) -> str:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True, progressive=True)
    return jpeg_uri(out.getvalue())


def _asset(name: str) -> str:
    return (resources.files("apps") / "assets" / name).read_text(encoding="utf-8")
