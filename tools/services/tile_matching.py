"""Comparing photos of a place with the tiles of a satellite atlas, and the pictures of those tiles."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geo.sphere import EARTH_RADIUS_KM, Floats
from geo.tiles import TILE_PX
from retrieval.crossview.tile_atlas import ComparedTiles, TileAtlas
from retrieval.crossview.tiles import SatelliteTile
from retrieval.encoders.base import IdentifiedEncoder, Vectors
from retrieval.photos.store import PhotoStore
from retrieval.stores.filters import NearAny
from tools.base import photo_part
from tools.results import ToolError
from tools.services.imagery import ImagerySource, Rgb

COMPARED_TILES = 48
"""Hits of each area that a match of the whole photo keeps."""

CACHED_PLACES = 256

TilePicture = Callable[[SatelliteTile], Rgb | None]
"""A function from a tile to its picture (height, width, 3); None where that cannot be had."""


class PlaceEncoder(IdentifiedEncoder, Protocol):
    """What matching needs of an encoder: `retrieval.crossview.encoder.CrossviewEncoder`."""

    def encode_photos(self, photos: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Photos, each uint8 (height, width, 3), to L2-normalised vectors (n, dim)."""
        ...

    def join(self, vectors: Vectors, weights: Sequence[float] | None = None) -> Vectors:
        """One query (dim,) out of the vectors (k, dim) of photos of one place."""
        ...


class TileMatcher:
    """Compares photos with the tiles of an open satellite atlas. Safe between threads.

    Args:
        atlas: open, made by the encoder.
        encoder: of photos and tiles.
        photo_store: has the photos.
    """

    def __init__(self, atlas: TileAtlas, encoder: PlaceEncoder, photo_store: PhotoStore) -> None:
        self._atlas, self._encoder, self._photo_store = atlas, encoder, photo_store
        self._vectors: OrderedDict[tuple[str, ...], Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def compare(self, photo_ids: Sequence[str], areas: Sequence[NearAny], limit: int = COMPARED_TILES) -> ComparedTiles:
        """The tiles of each area that are most similar to the photos of a place.

        Args:
            photo_ids: of one place, at least one.
            areas: the narrowest first.
            limit: tiles of each area.

        Raises:
            ToolError: no such photo, or one without pixels.
        """
        return self._atlas.compare(self.place_vector(photo_ids), areas, limit)

    def covers(self, lat_lon_deg: Floats) -> NDArray[np.bool_]:
        """Which of some positions (n, 2) in degrees lie on a tile of the atlas, (n,)."""
        return self._atlas.covers(lat_lon_deg)

    def place_vector(self, photo_ids: Sequence[str]) -> Vectors:
        """The query (dim,) of the photos of a place; several are joined as the encoder was trained to.

        Raises:
            ToolError: no such photo, or one without pixels.
        """
        photos = [photo_part(self._photo_store, photo_id, None) for photo_id in photo_ids]
        if not all(photo.has_pixels for photo in photos):
            raise ToolError("there are no pixels of this photo to compare with tiles")
        key = tuple(photo.sha256 for photo in photos)
        with self._lock:
            if key not in self._vectors:
                vectors = self._encoder.encode_photos([photo.rgb for photo in photos])
                self._vectors[key] = vectors[0] if len(photos) == 1 else self._encoder.join(vectors)
                while len(self._vectors) > CACHED_PLACES:
                    self._vectors.popitem(last=False)
            self._vectors.move_to_end(key)
            return self._vectors[key]


def pictures_of(imagery: ImagerySource) -> TilePicture:
    """Pictures of tiles cut from a source of views."""

    def picture(tile: SatelliteTile) -> Rgb | None:
        try:
            return imagery.view_of_width(tile.bounds.centre, _width_km(tile), TILE_PX).rgb
        except ToolError:
            return None

    return picture


def _width_km(tile: SatelliteTile) -> float:
    per_degree_km = math.pi / 180.0 * EARTH_RADIUS_KM
    return tile.bounds.width_deg * per_degree_km * math.cos(math.radians(tile.bounds.centre.lat))
