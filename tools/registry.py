"""The one registry of tools: which there are, and what each needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from langchain_core.tools import BaseTool

from geo.point import Point
from retrieval.photos.store import PhotoStore
from tools.country_facts import country_facts_tool
from tools.find_place import find_place_tool
from tools.look_closer import look_closer_tool
from tools.match_satellite import match_satellite_tool
from tools.online.map_features import map_features_tool
from tools.online.mapillary import Mapillary
from tools.online.open_meteo import OpenMeteo
from tools.online.overpass import Overpass
from tools.online.search_services import SearchService
from tools.online.street_view import street_view_tool
from tools.online.weather import weather_tool
from tools.online.web_search import reverse_image_search_tool, web_search_tool
from tools.rank_regions import Clusterer, rank_regions_tool
from tools.read_signs import read_signs_tool
from tools.reverse_geocode import reverse_geocode_tool
from tools.satellite_view import satellite_view_tool
from tools.search_photos import search_photos_tool
from tools.services.atlas_search import PhotoSearch
from tools.services.contact_sheet import AtlasPhotos
from tools.services.geocoders import PlaceSource
from tools.services.imagery import ImagerySource
from tools.services.ocr import OcrReader
from tools.services.tile_matching import TileMatcher, TilePicture
from tools.sun_check import sun_check_tool

Service = TypeVar("Service")


@dataclass(frozen=True, kw_only=True)
class OnlineServices:
    """Services on the network that the user configured; None where there is none."""

    overpass: Overpass | None = None
    mapillary: Mapillary | None = None
    web_search: SearchService[str] | None = None
    image_search: SearchService[bytes] | None = None
    weather: OpenMeteo | None = None


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What the tools work with; all are safe to share between threads.

    Without an atlas there is no search; where signs are not read, no reader. `picture_px` is the long side of the
    pictures that `look_closer` shows; `street_map` is a second source of views, if the user names one; `atlas_photos`
    has thumbnails of look-alikes, if the user names a folder; `matcher` compares with the tiles of a satellite atlas,
    if one is open, and `tile_picture` has their pictures, if they can be had.
    """

    photo_store: PhotoStore
    search: PhotoSearch | None
    cluster: Clusterer
    places: PlaceSource
    is_land: Callable[[Point], bool]
    reader: OcrReader | None
    imagery: ImagerySource
    street_map: ImagerySource | None = None
    picture_px: int = 1024
    atlas_photos: AtlasPhotos | None = None
    matcher: TileMatcher | None = None
    tile_picture: TilePicture | None = None
    online: OnlineServices = field(default_factory=OnlineServices)


def _if_there(build: Callable[[Service], BaseTool], service: Service | None) -> BaseTool | None:
    """The tool of a service; None where the user configured none."""
    return None if service is None else build(service)


TOOLS: dict[str, Callable[[Clients], BaseTool | None]] = {
    "search_photos": lambda clients: (
        search_photos_tool(clients.search, clients.atlas_photos) if clients.search else None
    ),
    "rank_regions": lambda clients: rank_regions_tool(clients.search, clients.cluster) if clients.search else None,
    "reverse_geocode": lambda clients: reverse_geocode_tool(clients.places, clients.is_land),
    "find_place": lambda clients: find_place_tool(clients.places),
    "read_signs": lambda clients: read_signs_tool(clients.photo_store, clients.reader) if clients.reader else None,
    "look_closer": lambda clients: look_closer_tool(clients.photo_store, clients.reader, clients.picture_px),
    "satellite_view": lambda clients: satellite_view_tool(clients.imagery, clients.street_map),
    "match_satellite": lambda clients: (
        match_satellite_tool(clients.matcher, clients.tile_picture) if clients.matcher else None
    ),
    "sun_check": lambda _: sun_check_tool(),
    "country_facts": lambda _: country_facts_tool(),
    "map_features": lambda clients: _if_there(map_features_tool, clients.online.overpass),
    "street_view": lambda clients: _if_there(street_view_tool, clients.online.mapillary),
    "web_search": lambda clients: _if_there(web_search_tool, clients.online.web_search),
    "reverse_image_search": lambda clients: _if_there(
        partial(reverse_image_search_tool, clients.photo_store), clients.online.image_search
    ),
    "weather": lambda clients: _if_there(weather_tool, clients.online.weather),
}
"""Every tool by the name the model calls it; None where what it needs is not there."""


def build_tools(clients: Clients) -> list[BaseTool]:
    """All tools that have what they need, in the order of the registry."""
    return [tool for build in TOOLS.values() if (tool := build(clients)) is not None]
