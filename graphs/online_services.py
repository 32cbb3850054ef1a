"""Services on the network that the user switches on: what each is sent, and opening them.

Each tool asks exactly the host that the user configured; the model never names one.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

import httpx

from core.redaction import host_of
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
