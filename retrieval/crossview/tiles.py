"""Tiles of the ground: what an atlas of pictures from above is built from.

A tile's pixels are in it, in a file, or come from a `TileReader`: a folder here, a tile server in
`tools/services/tile_client.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import UserError
from geo.tiles import TILE_PX, Tile, TileBounds, tile_bounds, tiles_in
from retrieval.photos.photo import PhotoError, PhotoLimits, decode_photo, load_photo

MAX_TILE_BYTES = 2_000_000
TILE_LIMITS = PhotoLimits(max_bytes=MAX_TILE_BYTES, max_megapixels=1.1, min_side_px=64, long_side_px=1024)
_ENDINGS = (".jpeg", ".jpg", ".png", ".webp")


class SatelliteTile(NamedTuple):
    """A picture from above, north up.

    Attributes:
        tile_id: unique in its atlas, such as `17/67890/45678`.
        zoom: of the XYZ tree, or empty.
        source: whose imagery it is, for its attribution.
        date: when it was taken, as the source says it; empty where that is not known.
        path: of the picture's file.
        rgb: its pixels, uint8 (height, width, 3).
        tile: of the XYZ tree, for a `TileReader`. Without path, pixels and this it is in an atlas already.
    """

    tile_id: str
    bounds: TileBounds
    zoom: str = ""
    source: str = ""
    date: str = ""
    path: Path | None = None
    rgb: NDArray[np.uint8] | None = None
    tile: Tile | None = None

    def payload(self) -> dict[str, str]:
        """What is stored beside the vector; the centre is the item's position."""
        bounds = ",".join(f"{edge:.7f}" for edge in self.bounds)
        return {"bounds": bounds, "zoom": self.zoom, "source": self.source, "date": self.date}


class TileReader(Protocol):
    """A source of tiles, in the order in which they are asked for."""

    def pictures(self, tiles: Iterable[Tile]) -> Iterator[NDArray[np.uint8] | None]:
        """A picture (256, 256, 3) of each tile; None where the source has none.

        Raises:
            PhotoError: the next tile's picture cannot be used.
        """
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
            PhotoError: a file that is no picture.
        """
        for tile in tiles:
            name = self._folder / str(tile.zoom) / str(tile.x) / str(tile.y)
            file = next((path for ending in _ENDINGS if (path := name.with_suffix(ending)).is_file()), None)
            yield _as_tile(read_tile(file)) if file else None


class TilePictures:
    """The pictures of an atlas's tiles, in the folder that they were built from.

    Args:
        folder: that tile ids are relative to, with an ending of a picture or without.

    Raises:
        UserError: no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"no folder of tiles' pictures at {folder}: give the one that the atlas was built from")
        self._folder = folder.resolve()

    def picture(self, tile: SatelliteTile) -> NDArray[np.uint8] | None:
        """Pixels (height, width, 3); None where the tile is not in the folder, or outside it, or damaged."""
        name = self._folder / tile.tile_id
        for path in (name, *(name.with_name(f"{name.name}{ending}") for ending in _ENDINGS)):
            file = path.resolve()
            if file.is_relative_to(self._folder) and os.path.isfile(file):
                try:
                    return read_tile(file, PhotoLimits())
                except PhotoError:
                    return None
        return None


def tiles_of_area(area: TileBounds, zoom: int, source: str = "", date: str = "") -> list[SatelliteTile]:
    """Every tile of an area, row by row from the north-west, without pixels: `build_tile_atlas` asks a reader for them.

    Args:
        area: in degrees; west > east crosses the antimeridian.
        zoom: Web Mercator level; 17 is 0.3 km a tile at the equator, so an area of 100 km squared has 107,000 tiles.
        source: whose imagery it is, for its attribution.
        date: when it was taken, where that is known.

    >>> [tile.tile_id for tile in tiles_of_area(TileBounds(-10.0, 170.0, -5.0, -170.0), 3)]
    ['3/7/4', '3/0/4']
    """
    return [
        SatelliteTile("/".join(map(str, tile)), tile_bounds(tile), str(zoom), source, date, tile=tile)
        for tile in tiles_in(area, zoom)
    ]


def decode_tile(data: bytes) -> NDArray[np.uint8]:
    """A tile as uint8 (256, 256, 3), whatever size it was served in.

    Raises:
        PhotoError: no picture, half of one, or one of an unlikely size.
    """
    return _as_tile(decode_photo(data, "tile", limits=TILE_LIMITS).rgb)


def read_tile(path: Path, limits: PhotoLimits = TILE_LIMITS) -> NDArray[np.uint8]:
    """A tile's file as uint8 (height, width, 3), in its own size.

    Raises:
        PhotoError: which file is missing or no picture.
    """
    try:
        return load_photo(path, limits=limits).rgb
    except PhotoError as error:
        raise PhotoError(f"{path} is no tile ({error}): delete it, or fetch it again") from error


def _as_tile(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if rgb.shape[:2] == (TILE_PX, TILE_PX):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS))
