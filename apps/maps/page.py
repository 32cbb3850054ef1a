"""Answers as one HTML file with a map, which opens without a network and asks for none (see `core.page`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

from agents.schemas import Answer
from apps.maps.geometry import HEAT_COLOURS
from apps.maps.ground import ATTRIBUTION, WORLD_EDGES, ground_data, view_data, world_jpeg
from apps.maps.page_data import jpeg_uri, photo_data
from apps.output.formatting import LocatedPhoto, printable
from core.page import self_contained_page

RAMP = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in reversed(HEAT_COLOURS)]
"""Colours of the heat layer, from the narrowest area to the widest."""
_MANY = 5
LEGEND = (
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
"""Layers of a map and what they are called."""
_SCRIPTS = ("map/elements.js", "map/map.js", "map/answer.js", "map/report.js")


def map_page(located: Sequence[LocatedPhoto]) -> str:
    """The page of one or several answers.

    Raises:
        ValueError: no answer.
    """
    if not located:
        raise ValueError("a map needs at least one answer")
    # Leaflet's pictures are those of controls that the page does not use.
    style = re.sub(r"url\([^)]*\)", "none", _asset("leaflet/leaflet.css"))
    style += _asset("map/map.css") + _asset("map/report.css")
    # The source map is a request that the page's policy would refuse.
    leaflet = re.sub(r"\n?//# sourceMappingURL=.*", "", _asset("leaflet/leaflet.js"))
    scripts = [leaflet, *map(_asset, _SCRIPTS)]
    return self_contained_page(_title(located), style, _asset("map/body.html"), _page_data(located), scripts)


def _page_data(located: Sequence[LocatedPhoto]) -> dict[str, Any]:
    answers = [item.answer for item in located]
    view, ground = view_data(answers), ground_data(answers)
    world = {"src": jpeg_uri(world_jpeg())} | WORLD_EDGES
    return {
        "photos": [photo_data(item, view["lon"], brief=len(located) > _MANY) for item in located],
        "view": view,
        "ground": ground | {"pictures": [world, *ground["pictures"]]},
        "legend": _legend(answers),
        # Circles round the point say the same as the areas, less exactly: drawn when they are asked for.
        "hidden": ["within50", "within90"] if all(answer.areas for answer in answers) else [],
        "ramp": RAMP,
        "subtitle": "where, how sure, and why" if len(answers) == 1 else f"{len(answers)} photos",
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
        "metadata": any(answer.metadata_position for answer in answers),
    }
    return [entry for entry in LEGEND if shown[entry[0]]]


def _title(located: Sequence[LocatedPhoto]) -> str:
    return f"{printable(located[0].name)} · GeoSleuth" if len(located) == 1 else f"{len(located)} photos · GeoSleuth"


def _asset(name: str) -> str:
    return (resources.files("apps") / "assets" / name).read_text(encoding="utf-8")
