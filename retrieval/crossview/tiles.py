"""Tiles of the ground of an area, one after the other: what an atlas of pictures from above is built from.

Where tiles come from is a `TileReader`: a folder here, a tile server in `tools/services/tile_client.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import UserError
from geo.point import Point
from geo.tiles import TILE_PX, Tile, TileBounds, tile_bounds, tiles_in
from retrieval.photos.photo import PhotoError, PhotoLimits, decode_photo

MAX_TILE_BYTES = 2_000_000
_LIMITS = PhotoLimits(max_bytes=MAX_TILE_BYTES, max_megapixels=1.1, min_side_px=64, long_side_px=1024)
_ENDINGS = (".jpeg", ".jpg", ".png", ".webp")


class AreaTile(NamedTuple):
    """A tile with its picture, uint8 (256, 256, 3), north up; `id` is its path in a tree, such as `14/8529/5975`."""

    tile: Tile
    bounds: TileBounds
    centre: Point
    rgb: NDArray[np.uint8]

    @property
    def id(self) -> str:
        """Zoom, column and row with slashes between them."""
        return "/".join(map(str, self.tile))


class TileReader(Protocol):
    """A source of tiles, in the order in which they are asked for."""

    def pictures(self, tiles: Iterable[Tile]) -> Iterator[NDArray[np.uint8] | None]:
        """A picture (256, 256, 3) of each tile; None where the source has none."""
        ...


class TileFolder:
    """A tree of files `ZOOM/COLUMN/ROW.jpeg` (or .jpg, .png, .webp); rows count from the north.

    Raises:
        UserError: no such folder, or no tree in it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"no folder of tiles at {folder}: give one that holds ZOOM/COLUMN/ROW.jpeg")
        self._folder = folder
        self.zooms = sorted(int(child.name) for child in folder.iterdir() if child.is_dir() and child.name.isdecimal())
        if not self.zooms:
            raise UserError(f"{folder} holds no tiles: they lie in it as ZOOM/COLUMN/ROW.jpeg")

    def pictures(self, tiles: Iterable[Tile]) -> Iterator[NDArray[np.uint8] | None]:
        """See `TileReader`.

        Raises:
            UserError: a file that is no picture.
        """
        for tile in tiles:
            name = self._folder / str(tile.zoom) / str(tile.x) / str(tile.y)
            file = next((path for ending in _ENDINGS if (path := name.with_suffix(ending)).is_file()), None)
            yield _read(file) if file else None


def area_tiles(reader: TileReader, area: TileBounds, zoom: int) -> Iterator[AreaTile]:
    """Every tile of an area that a source has, row by row from the north-west; nothing is kept in memory.

    Args:
        reader: such as `TileFolder(folder)` or a `TileClient`.
        area: in degrees; west > east crosses the antimeridian.
        zoom: Web Mercator level; 17 is 0.3 km a tile at the equator, so an area of 100 km squared has 107,000 tiles.

    Raises:
        UserError: a file of the folder is no picture.
        ToolError: of a tile server, which failed or sent something else.
    """
    for tile, rgb in _with_pictures(reader, tiles_in(area, zoom)):
        if rgb is not None:
            yield AreaTile(tile, tile_bounds(tile), tile_bounds(tile).centre, rgb)


def _with_pictures(reader: TileReader, tiles: Iterator[Tile]) -> Iterator[tuple[Tile, NDArray[np.uint8] | None]]:
    """Pairs in order; the reader may be some tiles ahead."""
    ahead: list[Tile] = []

    def noted() -> Iterator[Tile]:
        for tile in tiles:
            ahead.append(tile)
            yield tile

    for rgb in reader.pictures(noted()):
        yield ahead.pop(0), rgb


def decode_tile(data: bytes) -> NDArray[np.uint8]:
    """A tile as uint8 (256, 256, 3), whatever size it was served in.

    Raises:
        PhotoError: no picture, half of one, or one of an unlikely size.
    """
    rgb = decode_photo(data, "tile", limits=_LIMITS).rgb
    if rgb.shape[:2] == (TILE_PX, TILE_PX):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS))


def _read(file: Path) -> NDArray[np.uint8]:
    try:
        return decode_tile(file.read_bytes())
    except (PhotoError, OSError) as error:
        raise UserError(f"{file} is no tile ({error}): delete it, or fetch it again") from error
