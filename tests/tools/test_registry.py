"""The registry of tools, and what is common to all."""

from __future__ import annotations

import httpx
import pytest
from pydantic import BaseModel

from geo.places.gazetteer import Gazetteer
from geo.point import Point
from retrieval.photos.store import PhotoStore
from tests.fakes.atlas_items import WaveEncoder
from tests.fakes.tool_calls import call
from tools.base import Arguments, result_tool
from tools.online.json_service import JsonService
from tools.online.mapillary import Mapillary
from tools.online.open_meteo import OpenMeteo
from tools.online.overpass import Overpass
from tools.online.search_services import ImageSearchHook, SearxNG
from tools.registry import TOOLS, Clients, OnlineServices, build_tools
from tools.results import FoundPlaces
from tools.services.atlas_search import PhotoSearch
from tools.services.imagery import BundledImagery
from tools.services.ocr import OcrReader
from tools.services.tile_matching import TileMatcher
from tools.untrusted_text import quoted


def test_a_bug_in_a_tool_is_not_blamed_on_the_model() -> None:
    class Nothing(Arguments):
        """No arguments."""

    def buggy() -> FoundPlaces:
        """Build an invalid value."""
        Point(lat=95.0, lon=0.0)
        return FoundPlaces(query="", places=())

    tool = result_tool(buggy, Nothing, lambda result: quoted({"query": result.query}))
    with pytest.raises(RuntimeError, match="buggy built an invalid value"):
        call(tool)


def every_online_service() -> OnlineServices:
    """Services that nothing answers for: building a tool asks nobody."""
    client = httpx.Client()
    service = JsonService("nobody", "http://127.0.0.1:9", client)
    return OnlineServices(
        overpass=Overpass(service),
        mapillary=Mapillary("http://127.0.0.1:9", "token", client),
        web_search=SearxNG(service),
        image_search=ImageSearchHook(service),
        weather=OpenMeteo(service),
    )


def test_the_registry_builds_every_tool() -> None:
    photo_store = PhotoStore()
    clients = Clients(
        photo_store=photo_store,
        search=PhotoSearch((), WaveEncoder(), photo_store),
        cluster=lambda candidates: [],  # noqa: ARG005 - nothing is clustered
        places=Gazetteer(),
        is_land=lambda point: point.lat > 0.0,
        reader=OcrReader(),
        imagery=BundledImagery(),
        matcher=TileMatcher(None, None, photo_store),  # type: ignore[arg-type]  # building a tool compares nothing
        online=every_online_service(),
    )
    tools = {tool.name: tool for tool in build_tools(clients)}
    assert list(tools) == list(TOOLS)
    expected = {
        "country_facts": {
            "countries",
            "drives_on",
            "script",
            "language",
            "domain",
            "calling_code",
            "currency",
            "continent",
            "plates",
        },
        "search_photos": {"photo_id", "box", "near", "limit"},
        "rank_regions": {"photo_id", "box", "near"},
        "reverse_geocode": {"lat", "lon"},
        "find_place": {"name", "country_code"},
        "read_signs": {"photo_id", "box"},
        "look_closer": {"photo_id", "boxes"},
        "satellite_view": {"lat", "lon", "zoom", "width_m"},
        "match_satellite": {"photo_id", "lat", "lon", "radius_km"},
        "sun_check": {
            "taken_at",
            "sun_height_deg",
            "shadow_length_ratio",
            "sun_bearing_deg",
            "shadow_bearing_deg",
            "part_of_day",
            "places",
        },
        "map_features": {"kinds", "within_m", "centre", "radius_km", "box", "area_name"},
        "street_view": {"lat", "lon", "radius_m", "limit"},
        "web_search": {"query"},
        "reverse_image_search": {"photo_id", "box"},
        "weather": {"lat", "lon", "taken_at"},
    }
    assert {name: set(tool.args) for name, tool in tools.items()} == expected
    for tool in tools.values():
        assert len(tool.description) > 100
        schema = tool.tool_call_schema
        assert isinstance(schema, type)
        assert issubclass(schema, BaseModel)
        assert all("description" in field for field in schema.model_json_schema()["properties"].values())
