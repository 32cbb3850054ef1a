"""Which tile servers may be asked: a short list, or one the user configured. The model never names a host."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from string import Formatter
from urllib.parse import urlsplit

from core.errors import UserError
from geo.tiles import Tile

KNOWN_SERVERS = ("Esri.WorldImagery", "NASAGIBS.BlueMarble", "USGS.USImagery")
"""Providers of `xyzservices` with pictures of the ground, no key, and terms that allow single views."""

_PLACEHOLDERS = [("x", "", None), ("y", "", None), ("z", "", None)]  # name, format and conversion
_DEFAULT_MAX_ZOOM = 19


@dataclass(frozen=True)
class TileServer:
    """An XYZ tile tree in Web Mercator.

    Attributes:
        name: shown with every picture.
        url_template: http or https, with {z}, {x} and {y} in its path and nowhere else.
        attribution: shown with every picture, as its owner asks.
        allowed_hosts: the only hosts (with port, if any) that may be asked, exactly as written.
        max_zoom: the closest level it has.

    Raises:
        UserError: a template that is not usable or whose host is not allowed.
    """

    name: str
    url_template: str
    attribution: str
    allowed_hosts: frozenset[str]
    max_zoom: int = _DEFAULT_MAX_ZOOM

    def __post_init__(self) -> None:
        problem = _template_problem(self.url_template, self.allowed_hosts)
        if problem:
            raise UserError(f"The tile address {self.url_template!r} cannot be used: {problem}")

    def url(self, tile: Tile) -> str:
        """The address of a tile."""
        return self.url_template.format(z=tile.zoom, x=tile.x, y=tile.y)


def _template_problem(template: str, allowed_hosts: Collection[str]) -> str | None:
    try:
        fields = sorted((name, spec, made) for _, name, spec, made in Formatter().parse(template) if name is not None)
        parts = urlsplit(template)
    except (TypeError, ValueError) as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "it must begin with http:// or https://"
    if fields != _PLACEHOLDERS or any(c in "{}" for c in parts.netloc + parts.query + parts.fragment):
        return "its path must hold {z}, {x} and {y}, once each, and nothing else in braces"
    if parts.netloc not in allowed_hosts:
        return f"its host is not one of the allowed hosts ({', '.join(sorted(allowed_hosts)) or 'none'})"
    return None


def known_server(name: str) -> TileServer:
    """A server of the short list, as `xyzservices` describes it.

    Raises:
        UserError: another name.
    """
    from xyzservices import providers  # type: ignore[import-untyped]  # it ships no types

    if name not in KNOWN_SERVERS:
        raise UserError(f"unknown tile source {name!r}; the known ones are {', '.join(KNOWN_SERVERS)}")
    provider = providers.query_name(name)
    template = str(provider.build_url(x="{x}", y="{y}", z="{z}"))
    return TileServer(
        name=name,
        url_template=template,
        attribution=str(provider.attribution),
        allowed_hosts=frozenset({urlsplit(template).netloc}),
        max_zoom=int(provider.get("max_zoom", _DEFAULT_MAX_ZOOM)),
    )
