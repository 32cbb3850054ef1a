"""Thumbnails of an atlas's photos on one numbered sheet, from the folder that the user names."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from retrieval.candidate import AtlasKind, Candidate
from retrieval.photos.photo import Photo, PhotoError, PhotoLimits, load_photo
from retrieval.photos.thumbnail import thumbnail_jpeg

TILES_A_ROW = 3
MAX_TILES = TILES_A_ROW**2
TILE_PX = 256
JPEG_QUALITY = 80

_SMALL = PhotoLimits(min_side_px=1, long_side_px=2 * TILE_PX)
_LABEL_PX = 28


class ContactSheet(NamedTuple):
    """A JPEG of numbered tiles, three a row, and the candidate that each shows."""

    jpeg: bytes
    shown: tuple[int, ...]


class AtlasPhotos:
    """The photos of an atlas as files.

    Args:
        folder: that items' names are relative to, as when the atlas was built.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def contact_sheet(self, candidates: Sequence[Candidate]) -> ContactSheet | None:
        """The first nine candidates whose photos are in the folder; None where none is."""
        tiles: dict[int, Image.Image] = {}
        for number, candidate in enumerate(candidates):
            if len(tiles) < MAX_TILES and (tile := self._tile(candidate)):
                tiles[number] = tile
        return ContactSheet(numbered_sheet(list(tiles.values())), tuple(tiles)) if tiles else None

    def thumbnail(self, candidate: Candidate) -> bytes | None:
        """A JPEG of at most 256 pixels a side, without metadata; None where `contact_sheet` would leave it out."""
        photo = self._photo(candidate)
        return thumbnail_jpeg(photo, TILE_PX, JPEG_QUALITY) if photo else None

    def _tile(self, candidate: Candidate) -> Image.Image | None:
        """A square picture, or None."""
        photo = self._photo(candidate)
        return ImageOps.pad(Image.fromarray(photo.rgb), (TILE_PX, TILE_PX), Image.Resampling.LANCZOS) if photo else None

    def _photo(self, candidate: Candidate) -> Photo | None:
        """A small copy; None where the item is no photo, or is not in the folder, or outside it, or damaged."""
        file = (self._folder / candidate.item_id).resolve()
        if candidate.kind is not AtlasKind.PHOTO or not file.is_relative_to(self._folder) or not file.is_file():
            return None
        try:
            return load_photo(file, limits=_SMALL)
        except PhotoError:
            return None


def numbered_sheet(tiles: Sequence[Image.Image]) -> bytes:
    """A JPEG of square pictures of 256 pixels, three a row, numbered from 1."""
    columns, rows = min(len(tiles), TILES_A_ROW), -(-len(tiles) // TILES_A_ROW)
    sheet = Image.new("RGB", (columns * TILE_PX, rows * TILE_PX))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=_LABEL_PX - 8)
    for index, tile in enumerate(tiles):
        x, y = index % TILES_A_ROW * TILE_PX, index // TILES_A_ROW * TILE_PX
        sheet.paste(tile, (x, y))
        draw.rectangle((x, y, x + _LABEL_PX, y + _LABEL_PX), fill="black")
        draw.text((x + _LABEL_PX / 2, y + _LABEL_PX / 2), str(index + 1), font=font, fill="white", anchor="mm")
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
