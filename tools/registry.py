"""The one registry of tools: which there are, and what each needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from langchain_core.tools import BaseTool

from geo.point import Point
from retrieval.photos.store import PhotoStore
from tools.find_place import find_place_tool
from tools.look_closer import look_closer_tool
from tools.rank_regions import Clusterer, rank_regions_tool
from tools.read_signs import read_signs_tool
from tools.reverse_geocode import reverse_geocode_tool
from tools.satellite_view import satellite_view_tool
from tools.search_photos import search_photos_tool
from tools.services.atlas_search import PhotoSearch
from tools.services.geocoders import PlaceSource
from tools.services.imagery import ImagerySource
from tools.services.ocr import OcrReader
from tools.sun_check import sun_check_tool


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What the tools work with; all are safe to share between threads.

    Without an atlas there is no search; where signs are not read, no reader. `picture_px` is the long side of the
    pictures that `look_closer` shows.
    """

    photo_store: PhotoStore
    search: PhotoSearch | None
    cluster: Clusterer
    places: PlaceSource
    is_land: Callable[[Point], bool]
    reader: OcrReader | None
    imagery: ImagerySource
    picture_px: int = 1024


TOOLS: dict[str, Callable[[Clients], BaseTool | None]] = {
    "search_photos": lambda clients: search_photos_tool(clients.search) if clients.search else None,
    "rank_regions": lambda clients: rank_regions_tool(clients.search, clients.cluster) if clients.search else None,
    "reverse_geocode": lambda clients: reverse_geocode_tool(clients.places, clients.is_land),
    "find_place": lambda clients: find_place_tool(clients.places),
    "read_signs": lambda clients: read_signs_tool(clients.photo_store, clients.reader) if clients.reader else None,
    "look_closer": lambda clients: look_closer_tool(clients.photo_store, clients.reader, clients.picture_px),
    "satellite_view": lambda clients: satellite_view_tool(clients.imagery),
    "sun_check": lambda _: sun_check_tool(),
}
"""Every tool by the name the model calls it; None where what it needs is not there."""


def build_tools(clients: Clients) -> list[BaseTool]:
    """All tools that have what they need, in the order of the registry."""
    return [tool for build in TOOLS.values() if (tool := build(clients)) is not None]
