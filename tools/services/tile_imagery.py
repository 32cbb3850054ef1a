"""Mosaics of tiles, centred on a point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from geo.point import Point
from geo.tiles import MAX_LATITUDE_DEG, TILE_PX, PlacedTile, Tile, covering_tiles, finest_zoom, km_per_pixel
from retrieval.crossview.tiles import TileReader
from tools.results import ToolError
from tools.services.imagery import ImageryView, Rgb

if TYPE_CHECKING:
    from tools.services.tile_client import TileClient

_NOTHING = 128
"""Grey of what lies beyond the map, or has no tile."""
MAX_ENLARGED = 8
"""A picture is enlarged so many times at most: closer, the source shows nothing more. By hand."""
MAX_REDUCED = 3
"""A picture is made of so many times its width in pixels at most, or it would need too many tiles. By hand."""


class TileImagery:
    """An `ImagerySource` over one tile server.

    Attributes:
        server: that is asked.
    """

    def __init__(self, client: TileClient) -> None:
        self._client = client
        self.server = client.server

    @property
    def zooms(self) -> range:
        """Zoom levels the server has."""
        return self.server.zooms

    def tile(self, tile: Tile) -> Rgb | None:
        """One tile as uint8 (256, 256, 3); None where the server has none.

        Raises:
            ToolError: it cannot be had; see `TileClient.picture`.
        """
        return self._client.picture(tile)

    def view(self, point: Point, zoom: int, size_px: int) -> ImageryView:
        """See `ImagerySource`; the map ends at 85° north and south, and beyond its edge the picture is grey."""
        self._check(point)
        rgb, missing_share = mosaic(self._client, point, zoom, size_px)
        if missing_share == 1.0:
            raise ToolError(f"{self.server.name} has no picture of this place at this zoom; try a lower zoom")
        scale = km_per_pixel(point.lat, zoom)
        return ImageryView(rgb, scale, scale, self.server.name, self.server.attribution, missing_share)

    def view_of_width(self, point: Point, width_km: float, size_px: int) -> ImageryView:
        """See `ImagerySource`; cut from the first zoom level that is fine enough, then scaled to the size.

        The width is that of the middle row: towards the pole of a wide view less ground fills a row.
        """
        self._check(point)
        zoom = finest_zoom(point.lat, width_km / size_px, self.zooms)
        scale = km_per_pixel(point.lat, zoom)
        side_px = round(width_km / scale)
        if not size_px / MAX_ENLARGED <= side_px <= size_px * MAX_REDUCED:
            closest, widest = size_px / MAX_ENLARGED * km_per_pixel(point.lat, self.zooms[-1]), size_px * MAX_REDUCED
            widest_km = widest * km_per_pixel(point.lat, self.zooms[0])
            raise ToolError(f"a view here is {closest * 1000.0:,.0f} m to {widest_km:,.0f} km wide")
        view = self.view(point, zoom, side_px)
        if side_px == size_px:
            return view
        scaled = np.asarray(Image.fromarray(view.rgb).resize((size_px, size_px), Image.Resampling.LANCZOS))
        return view._replace(rgb=scaled, km_per_pixel=scale * side_px / size_px)

    def _check(self, point: Point) -> None:
        if abs(point.lat) > MAX_LATITUDE_DEG:
            raise ToolError(f"this map ends at {MAX_LATITUDE_DEG:.2f}° north and south")
        area = self.server.area
        if area and not area.contains(point):
            raise ToolError(
                f"{self.server.name} has nothing here: it covers {area.south:.1f} to {area.north:.1f}° north and "
                f"{area.west:.1f} to {area.east:.1f}° east"
            )


def mosaic(reader: TileReader, centre: Point, zoom: int, size_px: int) -> tuple[Rgb, float]:
    """The map's own pixels around a point, uint8 (size_px, size_px, 3), and the share of tiles that are missing.

    What lies beyond the map or has no tile is grey.

    Raises:
        ToolError: of a tile server, which failed or sent something else.
    """
    picture = np.full((size_px, size_px, 3), _NOTHING, np.uint8)
    placed, missing = covering_tiles(centre, zoom, size_px), 0
    tiles = list(dict.fromkeys(each.tile for each in placed))  # at low zooms one tile comes twice
    found = dict(zip(tiles, reader.pictures(tiles), strict=True))
    for each in placed:
        rgb = found[each.tile]
        if rgb is None:
            missing += 1
        else:
            _paste(picture, rgb, each)
    return picture, missing / len(placed)


def _paste(picture: Rgb, tile: Rgb, placed: PlacedTile) -> None:
    """Write the part of a tile that lies inside the picture."""
    size = len(picture)
    rows = slice(max(0, placed.top_px), min(size, placed.top_px + TILE_PX))
    columns = slice(max(0, placed.left_px), min(size, placed.left_px + TILE_PX))
    picture[rows, columns] = tile[
        rows.start - placed.top_px : rows.stop - placed.top_px,
        columns.start - placed.left_px : columns.stop - placed.left_px,
    ]
