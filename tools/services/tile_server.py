"""What an XYZ tile server is: one that `xyzservices` knows by name, or a template of the user's.

The model never names a host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from string import Formatter
from typing import Any
from urllib.parse import urlsplit

import httpx
from rapidfuzz import process

from core.errors import UserError
from core.redaction import REDACTED, host_of
from geo.tiles import Tile, TileBounds

SUGGESTED_SOURCES = {
    "Esri.WorldImagery": "satellite pictures of the whole Earth, down to houses",
    "USGS.USImagery": "satellite pictures of the United States, down to houses",
    "NASAGIBS.BlueMarble": "satellite pictures of the whole Earth, 0.6 km a pixel",
    "OpenStreetMap.Mapnik": "a street map of the whole Earth",
}
"""Providers of `xyzservices` that need no key, and whose terms allow single views."""

_DEFAULT_MAX_ZOOM = 19
_MERCATOR = ("EPSG:3857", "EPSG3857")
_SUBDOMAIN = "s"


@dataclass(frozen=True)
class TileServer:
    """An XYZ tile tree in Web Mercator.

    Attributes:
        url_template: http or https, with {z}, {x} and {y} in its path or query; {s} where there are subdomains.
        attribution: shown in every picture, as its owner asks.
        allowed_hosts: the only hosts (with port, if any) that may be asked, exactly as written.
        max_zoom: the closest level it has.
        min_zoom: the widest level it has.
        subdomains: what {s} stands for, in turn.
        counts_rows_from_south: as in the tiles of TMS.
        area: outside it there is nothing; None: the whole map.

    Raises:
        UserError: a template that is not usable or whose host is not allowed.
    """

    name: str
    url_template: str
    attribution: str
    allowed_hosts: frozenset[str]
    max_zoom: int = _DEFAULT_MAX_ZOOM
    min_zoom: int = 0
    subdomains: tuple[str, ...] = ()
    counts_rows_from_south: bool = False
    area: TileBounds | None = None

    def __post_init__(self) -> None:
        problem = _template_problem(self.url_template, self.subdomains, self.allowed_hosts)
        if problem:
            raise UserError(f"The tile address {self.url_template!r} cannot be used: {problem}")

    @property
    def zooms(self) -> range:
        """Web Mercator zoom levels that it has."""
        return range(self.min_zoom, self.max_zoom + 1)

    @property
    def fingerprint(self) -> str:
        """A name for the tiles of this address, which may hold a key: 16 hex digits of its SHA-256."""
        return hashlib.sha256(self.url_template.encode()).hexdigest()[:16]

    def url(self, tile: Tile) -> str:
        """The address of a tile."""
        row = (1 << tile.zoom) - 1 - tile.y if self.counts_rows_from_south else tile.y
        subdomain = self.subdomains[(tile.x + tile.y) % len(self.subdomains)] if self.subdomains else ""
        return self.url_template.format(z=tile.zoom, x=tile.x, y=row, s=subdomain)


def _template_problem(template: str, subdomains: Collection[str], allowed_hosts: Collection[str]) -> str | None:
    try:
        fields = sorted((name, spec, made) for _, name, spec, made in Formatter().parse(template) if name is not None)
        parts = urlsplit(template)
        has_host = bool(httpx.URL(template).host)
    except (TypeError, ValueError, httpx.InvalidURL) as error:
        return str(error)
    if not has_host:
        return "it names no host"
    if parts.scheme not in ("http", "https"):
        return "it must begin with http:// or https://"
    wanted = [("x", "", None), ("y", "", None), ("z", "", None)]  # name, format and conversion
    names = sorted([*wanted, *([(_SUBDOMAIN, "", None)] if subdomains else [])])
    hosts = _hosts(parts.netloc, subdomains)
    if fields != names or any(c in "{}" for c in "".join(hosts) + parts.fragment):
        return "its path or query must hold {z}, {x} and {y}, once each, and nothing else in braces"
    if not set(hosts) <= set(allowed_hosts):
        return f"its host is not one of the allowed hosts ({', '.join(sorted(allowed_hosts)) or 'none'})"
    return None


def _hosts(netloc: str, subdomains: Collection[str]) -> list[str]:
    """The hosts that a template may ask."""
    return [netloc.replace(f"{{{_SUBDOMAIN}}}", value) for value in subdomains] or [netloc]


def tile_server(source: str) -> TileServer:
    """The server that a setting names: a provider of `xyzservices`, or an XYZ address, whose host is then allowed.

    Raises:
        UserError: an unknown name, one whose tiles cannot be had, or an address that cannot be used.
    """
    if "://" not in source:
        return known_server(source)
    host = host_of(source)
    try:
        allowed = frozenset({urlsplit(source).netloc})
    except ValueError as error:
        raise UserError(f"The tile address {source!r} cannot be used: {error}") from error
    return TileServer(host, source, attribution=f"tiles of {host}", allowed_hosts=allowed)


def known_server(name: str) -> TileServer:
    """A server as `xyzservices` describes it; capitals, spaces and dots of the name do not matter.

    Raises:
        UserError: another name, a broken provider, one that needs a key, or another projection.
    """
    provider = _provider(name)
    template = _template(provider)
    subdomains = tuple(provider.get("subdomains", "abc")) if f"{{{_SUBDOMAIN}}}" in template else ()
    return TileServer(
        name=str(provider.name),
        url_template=template,
        attribution=str(provider.attribution),
        allowed_hosts=frozenset(_hosts(urlsplit(template).netloc, subdomains)),
        max_zoom=int(provider.get("max_zoom", _DEFAULT_MAX_ZOOM)),
        min_zoom=int(provider.get("min_zoom", 0)),
        subdomains=subdomains,
        counts_rows_from_south=bool(provider.get("tms", False)),
        area=_area(provider),
    )


def _provider(name: str) -> Any:
    """The provider of a name.

    Raises:
        UserError: another name, or a provider that cannot be used.
    """
    from xyzservices import providers

    try:
        provider = providers.query_name(name)
    except ValueError as error:
        like = ", ".join(found for found, *_ in process.extract(name, list(providers.flatten()), limit=3))
        raise UserError(
            f"unknown tile source {name!r}; xyzservices knows {like} and others, such as {', '.join(SUGGESTED_SOURCES)}"
        ) from error
    if provider.get("crs", _MERCATOR[0]) not in _MERCATOR:
        raise UserError(f"the tiles of {provider.name} are in {provider.crs}, not in Web Mercator: take another source")
    if provider.get("status") == "broken":
        raise UserError(f"xyzservices lists {provider.name} as broken: take another source")
    return provider


def _template(provider: Any) -> str:
    """The provider's address with {z}, {x}, {y} and, where it has subdomains, {s}.

    Raises:
        UserError: it needs a key.
    """
    values = {key: value for key, value in provider.items() if key not in ("url", _SUBDOMAIN)}
    if provider.requires_token():
        keys = [key for key, value in values.items() if "<insert" in str(value)]
        subdomain = str(provider.get("subdomains", "a")[0])
        shown = _filled(provider.url, {**values, **dict.fromkeys(keys, REDACTED)}).replace("{s}", subdomain)
        raise UserError(f"{provider.name} needs a key: give its address instead, with yours for {REDACTED}: {shown}")
    return _filled(provider.url, values)


def _filled(template: str, values: dict[str, Any]) -> str:
    kept = {name: f"{{{name}}}" for name in ("x", "y", "z", _SUBDOMAIN)}
    return template.format(**{**values, "r": "", **kept})


def _area(provider: Any) -> TileBounds | None:
    """What the provider covers; None: the whole map, or it does not say so in a known form."""
    try:
        (south, west), (north, east) = provider["bounds"]
        return TileBounds(float(south), float(west), float(north), float(east))
    except (KeyError, TypeError, ValueError):
        return None
