"""Answers as one HTML file with a map, which opens without a network and asks for none (see `core.page`)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from agents.schemas import Answer
from apps.maps.geometry import HEAT_COLOURS, near_longitude_deg
from apps.maps.ground import ATTRIBUTION, WORLD_EDGES, ground_data, middle, view_data, view_of, world_ground, world_jpeg
from apps.maps.page_data import lean_photo_data, photo_data
from apps.maps.tile_data import jpeg_uri
from apps.output.formatting import LocatedPhoto
from core.page import self_contained_page

RAMP = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in reversed(HEAT_COLOURS)]
"""Colours of the heat layer, from the narrowest area to the widest."""
_MANY = 5
MOST_DETAILED = 100
"""Photos with areas, alternatives and evidence on one page: each takes 33 kB and a tenth of a second."""
_LEAN_MARGIN_DEG = 3.0
_LEFT_OUT = (
    "Areas, alternatives and evidence are left out of a map of so many photos: a map of this photo alone has them, and"
    " so have the rows of --jsonl."
)
LEGEND = (
    ("answer", "answer"),
    ("heat", "belief"),
    ("area50", "50 % area"),
    ("area90", "90 % area"),
    ("within50", "50 % within"),
    ("within90", "90 % within"),
    ("alternatives", "alternatives"),
    ("candidates", "candidates"),
    ("tiles", "satellite tiles"),
    ("metadata", "file's metadata"),
)
"""Layers of a map and what they are called."""
_SCRIPTS = ("map/elements.js", "map/map.js", "map/answer.js", "map/clusters.js", "map/report.js")


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
    style = re.sub(r"url\([^)]*\)", "none", _asset("leaflet/leaflet.css"))
    style += _asset("map/map.css") + _asset("map/report.css")
    # The source map is a request that the page's policy would refuse.
    leaflet = re.sub(r"\n?//# sourceMappingURL=.*", "", _asset("leaflet/leaflet.js"))
    scripts = [leaflet, *map(_asset, _SCRIPTS)]
    return self_contained_page(_title(data["photos"]), style, _asset("map/body.html"), data, scripts)


def _page_data(located: Sequence[LocatedPhoto]) -> dict[str, Any]:
    answers = [item.answer for item in located]
    view = view_data(answers)
    return {
        "photos": [photo_data(item, view["lon"], brief=len(located) > _MANY) for item in located],
        "legend": _legend(answers),
        # Circles round the point say the same as the areas, less exactly: drawn when they are asked for.
        "hidden": ["within50", "within90"] if all(answer.areas for answer in answers) else [],
        "subtitle": "where, how sure, and why" if len(answers) == 1 else f"{len(answers)} photos",
    } | _on_ground(ground_data(answers), view)


def _lean_page_data(located: Iterable[LocatedPhoto]) -> dict[str, Any]:
    photos = [lean_photo_data(item) for item in located]
    lon_lat = np.array([photo["point"] for photo in photos if photo["point"]], dtype=np.float64).reshape(-1, 2)
    centre = middle(lon_lat[:, ::-1])
    lon_lat[:, 0] = near_longitude_deg(lon_lat[:, 0], centre.lon)
    bounds = np.concatenate([lon_lat - _LEAN_MARGIN_DEG, lon_lat + _LEAN_MARGIN_DEG], axis=1)
    view = view_of(centre, lon_lat[:, 1].tolist(), bounds)
    shown = {"answer", "within50", "within90"} if len(lon_lat) else set()
    return {
        "photos": photos,
        "leftOut": _LEFT_OUT,
        "legend": [entry for entry in LEGEND if entry[0] in shown],
        "hidden": [],
        "subtitle": f"{len(photos):,} photos",
    } | _on_ground(world_ground(centre, (), view), view)


def _on_ground(ground: dict[str, Any], view: dict[str, Any]) -> dict[str, Any]:
    """What the marks lie on."""
    world = {"src": jpeg_uri(world_jpeg())} | WORLD_EDGES
    return {
        "view": view,
        "ground": ground | {"pictures": [world, *ground["pictures"]]},
        "ramp": RAMP,
        "attribution": ATTRIBUTION,
    }


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
        "tiles": any(answer.matches for answer in answers),
        "metadata": any(answer.metadata_position for answer in answers),
    }
    return [entry for entry in LEGEND if shown[entry[0]]]


def _title(photos: Sequence[Mapping[str, Any]]) -> str:
    return f"{photos[0]['name']} · GeoSleuth" if len(photos) == 1 else f"{len(photos)} photos · GeoSleuth"


def _asset(name: str) -> str:
    return (resources.files("apps") / "assets" / name).read_text(encoding="utf-8")
