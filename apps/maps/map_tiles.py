"""Tiles of the ground for the page's map, from the sources that the operator configured: the browser asks only us."""

from __future__ import annotations

import io

from PIL import Image

from agents.schemas import Frozen
from apps.service.errors import NotFoundError, UnavailableError, UnusableError
from core.redaction import host_of, redacted
from geo.tiles import Tile
from retrieval.photos.photo import PhotoError
from retrieval.photos.thumbnail import rgb_jpeg
from tools.registry import Clients
from tools.results import ToolError
from tools.satellite_view import ViewKind
from tools.services.imagery import Rgb
from tools.services.tile_imagery import TileImagery

_JPEG_QUALITY = 88
"""By hand."""
_VARIABLES: dict[ViewKind, str] = {
    "satellite": "GEOSLEUTH_SATELLITE_SOURCE",
    "street_map": "GEOSLEUTH_STREET_MAP_SOURCE",
}


class MapLayer(Frozen):
    """A layer that the page's map may show."""

    kind: ViewKind
    name: str
    attribution: str
    hosts: str
    """They learn which part of the map is looked at, where the layer is shown."""
    min_zoom: int
    max_zoom: int
    """Web Mercator zoom levels."""


class EncodedTile(Frozen):
    """A tile, encoded anew: nothing of the source's file but its pixels."""

    data: bytes
    media_type: str


class MapTiles:
    """The tiles of the configured sources; the bundled pictures are none."""

    def __init__(self, clients: Clients) -> None:
        sources: dict[ViewKind, object] = {"satellite": clients.imagery, "street_map": clients.street_map}
        self._sources = {kind: source for kind, source in sources.items() if isinstance(source, TileImagery)}

    @property
    def layers(self) -> tuple[MapLayer, ...]:
        """What the map may show."""
        return tuple(_layer(kind, source) for kind, source in self._sources.items())

    def picture(self, kind: ViewKind, tile: Tile) -> EncodedTile | None:
        """A tile of 256 by 256 pixels: satellite pictures as JPEG, street maps as PNG; None where the source has none.

        Raises:
            NotFoundError: no such source is configured, or it has no such zoom level.
            UnusableError: no such tile at this zoom level.
            UnavailableError: the source failed.
        """
        source = self._source(kind, tile)
        try:
            rgb = source.tile(tile)
        except (ToolError, PhotoError) as error:
            raise UnavailableError(redacted(f"no tile can be had now: {error}")) from error
        return None if rgb is None else _encoded(kind, rgb)

    def _source(self, kind: ViewKind, tile: Tile) -> TileImagery:
        source = self._sources.get(kind)
        if source is None:
            raise NotFoundError(f"this server has no tiles of this kind; its operator can set {_VARIABLES[kind]}")
        if not (0 <= tile.x < 1 << tile.zoom and 0 <= tile.y < 1 << tile.zoom):
            raise UnusableError(f"x and y at zoom {tile.zoom} are 0 to {(1 << tile.zoom) - 1}")
        if tile.zoom not in source.zooms:
            raise NotFoundError(f"the source has zoom {source.zooms[0]} to {source.zooms[-1]}")
        return source


def _layer(kind: ViewKind, source: TileImagery) -> MapLayer:
    server = source.server
    return MapLayer(
        kind=kind,
        name=server.name,
        attribution=server.attribution,
        hosts=", ".join(sorted(map(host_of, server.allowed_hosts))),
        min_zoom=source.zooms[0],
        max_zoom=source.zooms[-1],
    )


def _encoded(kind: ViewKind, rgb: Rgb) -> EncodedTile:
    if kind == "satellite":
        return EncodedTile(data=rgb_jpeg(rgb, max(rgb.shape), _JPEG_QUALITY), media_type="image/jpeg")
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG")
    return EncodedTile(data=out.getvalue(), media_type="image/png")
