"""Places, views and services on the network: where each is asked, what it is sent, and opening them.

Each tool asks exactly the host that the user configured; the model never names one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
from langsmith.utils import tracing_is_enabled

from agents.chat_models.kinds import ModelDescription
from core.errors import UserError
from core.redaction import host_of
from geo.places.gazetteer import Gazetteer
from graphs.settings import Settings
from retrieval.atlas.manifest import MANIFEST_FILE, read_manifest
from retrieval.atlas.servers import server_of
from tools.online.addresses import MAPILLARY_API
from tools.online.json_service import JsonService
from tools.online.mapillary import PICTURE_HOSTS, Mapillary
from tools.online.open_meteo import OpenMeteo
from tools.online.overpass import QUERY_SECONDS, Overpass
from tools.online.search_services import ImageSearchHook, SearxNG
from tools.registry import OnlineServices
from tools.services.geocoders import Nominatim, PlaceSource
from tools.services.imagery import BundledImagery, ImagerySource
from tools.services.tile_imagery import TileImagery
from tools.services.tile_server import tile_server

EMBEDDED_GROUND = "blue-marble"
"""The satellite source that needs no network."""

EMBEDDED_PLACES = "geonames"
"""The geocoder that needs no network."""

TIMEOUT_S = 10.0
SLOW_TIMEOUT_S = QUERY_SECONDS + 5.0
"""For services that work for a while before they answer."""


class DataSent(NamedTuple):
    """What a tool sends away.

    Attributes:
        tool: its name.
        what: is sent.
        when: it is sent.
        host: that gets it; None where the tool is off.
        url: that is asked; empty where the tool is off.
    """

    tool: str
    what: str
    when: str
    host: str | None
    url: str


def data_sent(settings: Settings) -> list[DataSent]:
    """What each online tool sends, and where to, under these settings."""
    street = settings.mapillary if mapillary_token(settings) else None
    picture = "THE PHOTO'S PIXELS, whole or a part"
    return [
        _sent("map_features", "areas and kinds of things seen", "if the model looked at the map", settings.overpass),
        _sent("street_view", "positions of hypotheses", "if the model asked for street pictures", street),
        _sent("web_search", "words that the model chose", "if the model searched", settings.web_search),
        _sent("reverse_image_search", picture, "if the model searched with it", settings.image_search),
        _sent("weather", "positions of hypotheses and the date", "if the model asked for weather", settings.weather),
    ]


def atlas_servers(settings: Settings) -> list[str]:
    """Atlases on other machines' Qdrant servers, each as NAME@HOST:PORT, as their manifests say."""
    satellite = [settings.satellite_atlas] if settings.satellite_atlas else []
    folders = [settings.atlas_folder / name for name in (*settings.atlases, *satellite)]
    found = (server_of(folder, read_manifest(folder)) for folder in folders if (folder / MANIFEST_FILE).exists())
    return [server for server in found if server]


def data_that_leaves(settings: Settings, models: Sequence[ModelDescription]) -> list[str]:
    """What a query of these models sends to other machines, and to which, in words; empty: nothing."""
    remote = [model.name for model in models if model.leaves_the_machine]
    named = len(models) > 1
    left = [f"photo and question, to the model{f' {name}' if named else ''}" for name in remote]
    if settings.atlas_photos and remote:
        left.append("thumbnails of the atlas's photos, to the model, if it asked for them")
    views = map(view_host, (settings.satellite_source, settings.street_map_source))
    left += [f"positions of hypotheses, to {host}, if the model asked for a view" for host in views if host]
    if settings.geocoder != EMBEDDED_PLACES:
        left.append(f"positions of hypotheses and names read on signs, to {host_of(settings.geocoder)}")
    left += [f"the photo's vector, to the Qdrant server of {server}" for server in atlas_servers(settings)]
    left += [f"{sent.what}, to {sent.host}, {sent.when}" for sent in data_sent(settings) if sent.host]
    if tracing_is_enabled():
        left.append("every step of the run, to LangSmith")
    return left


def place_source(settings: Settings, gazetteer: Gazetteer, stack: ExitStack) -> PlaceSource:
    """The tools' source of places: the packaged gazetteer, or the Nominatim service at the user's address.

    Raises:
        UserError: an address that cannot be used.
    """
    if settings.geocoder == EMBEDDED_PLACES:
        return gazetteer
    client = stack.enter_context(httpx.Client(timeout=TIMEOUT_S))
    # Only the host that the user configured may be asked; the model never names one.
    return Nominatim(settings.geocoder, {_netloc(settings.geocoder)}, client)


def ground_source(settings: Settings, name: str, stack: ExitStack) -> ImagerySource:
    """A source of views: the package, a provider of `xyzservices`, or the user's own (an XYZ address).

    Raises:
        UserError: an unknown source, or an address that cannot be used.
    """
    if name == EMBEDDED_GROUND:
        return BundledImagery()
    from tools.services.tile_client import TileClient  # with an HTTP cache, which only the web's tiles need

    size = settings.tile_cache_mb * 1_000_000
    client = TileClient(tile_server(name), settings.home / "tiles", max_cache_bytes=size)
    return TileImagery(stack.enter_context(client))


def view_host(source: str | None) -> str | None:
    """Where a source of views is asked; None: nowhere, as it is bundled or there is none.

    >>> view_host("OpenStreetMap.Mapnik")
    'tile.openstreetmap.org (OpenStreetMap.Mapnik)'

    Raises:
        UserError: an unknown source, or an address that cannot be used.
    """
    if source in (None, EMBEDDED_GROUND):
        return None
    server = tile_server(source)
    hosts = ", ".join(sorted(map(host_of, server.allowed_hosts)))
    return hosts if server.name == hosts else f"{hosts} ({server.name})"


def _netloc(address: str) -> str:
    """The host of an address, and the port if there is one.

    Raises:
        UserError: it is no address.
    """
    try:
        return urlsplit(address).netloc
    except ValueError as error:
        raise UserError(f"{address} is no address ({error}): give http(s)://HOST/PATH") from error


def _sent(tool: str, what: str, when: str, url: str | None) -> DataSent:
    if url is None:
        return DataSent(tool, what, when, None, "")
    pictures = f" and the picture hosts it names (*{PICTURE_HOSTS})" if url == MAPILLARY_API else ""
    return DataSent(tool, what, when, f"{host_of(url)}{pictures}", url)


def mapillary_token(settings: Settings) -> str:
    """The token of Mapillary's API; empty where there is none."""
    return settings.mapillary_token.get_secret_value().strip() if settings.mapillary_token else ""


def open_online_services(settings: Settings, stack: ExitStack) -> OnlineServices:
    """The services that the settings name; connections are closed with the stack.

    Raises:
        UserError: a token that cannot be used.
    """
    if not any(sent.host for sent in data_sent(settings)):
        return OnlineServices()
    client = stack.enter_context(httpx.Client(timeout=TIMEOUT_S))
    slow_client = stack.enter_context(httpx.Client(timeout=SLOW_TIMEOUT_S))
    token = mapillary_token(settings)
    overpass = _service("Overpass", settings.overpass, "", slow_client)
    web = _service("SearXNG", settings.web_search, "/search", client)
    pictures = _service("the image search", settings.image_search, "", slow_client)
    archive = _service("Open-Meteo", settings.weather, "", client)
    return OnlineServices(
        overpass=Overpass(overpass) if overpass else None,
        mapillary=Mapillary(settings.mapillary, token, client) if token else None,
        web_search=SearxNG(web) if web else None,
        image_search=ImageSearchHook(pictures) if pictures else None,
        weather=OpenMeteo(archive) if archive else None,
    )


def _service(name: str, url: str | None, path: str, client: httpx.Client) -> JsonService | None:
    """The service at the address that a setting gives; None where it gives none."""
    return JsonService(name, f"{url}{path}", client, max_seconds=SLOW_TIMEOUT_S) if url else None
