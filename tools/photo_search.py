"""Searching all open atlases for places that look like a photo: what two tools share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from retrieval.candidate import AtlasKind, Candidate
from retrieval.encoder import PhotoEncoder, Vectors
from retrieval.photo import Photo, PhotoShelf
from retrieval.spread import spread_out
from retrieval.stores.filters import Near
from tools.building import PhotoArguments, photo_part
from tools.results import Box, Circle

CACHED_VECTORS = 256

SPREAD_KM = 100.0
SPREAD_FROM = 20
"""Of a GPS atlas, the best of each 100 km among 20 times as many coordinates as were asked for: see
docs/measurements.md for what that is worth."""


class SearchedAtlas(Protocol):
    """The part of an `Atlas` that searching needs."""

    @property
    def kind(self) -> AtlasKind:
        """Photos or coordinates."""
        ...

    def search(self, vector: Vectors, limit: int, near: Near | None = None) -> list[Candidate]:
        """The items most similar to a vector of shape (dim,), most similar first."""
        ...


class SearchArguments(PhotoArguments):
    """A photo, or a part of it, and where to search."""

    near: Circle | None = Field(None, description="search only in this circle on the Earth; null: everywhere")


class PhotoSearch:
    """Encodes photos, or parts of them, and searches every open atlas. Safe between threads.

    A vector is computed once for a photo and box, and kept among the most recently used.
    """

    def __init__(self, atlases: Sequence[SearchedAtlas], encoder: PhotoEncoder, shelf: PhotoShelf) -> None:
        self._atlases = tuple(atlases)
        self._encoder = encoder
        self._shelf = shelf
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def candidates(self, photo_id: str, box: Box | None, near: Circle | None, limit: int) -> tuple[Candidate, ...]:
        """At most `limit` candidates of each atlas, most similar first within each.

        Those of a GPS atlas stand apart, unless the search is confined to a circle.

        Raises:
            ToolError: no such photo, or a box too small to look at.
        """
        vector = self._vector(photo_part(self._shelf, photo_id, box))
        circle = Near(near.centre, near.radius_km) if near else None
        return tuple(found for atlas in self._atlases for found in _search(atlas, vector, limit, circle))

    def _vector(self, photo: Photo) -> Vectors:
        """The fused vector (dim,) of a photo; a crop has a hash of its own."""
        with self._lock:
            if photo.sha256 not in self._vectors:
                self._vectors[photo.sha256] = self._encoder.encode_photos([photo]).fused[0]
                while len(self._vectors) > CACHED_VECTORS:
                    self._vectors.popitem(last=False)
            self._vectors.move_to_end(photo.sha256)
            return self._vectors[photo.sha256]


def _search(atlas: SearchedAtlas, vector: Vectors, limit: int, near: Near | None) -> list[Candidate]:
    if atlas.kind is AtlasKind.PHOTO or near is not None:
        return atlas.search(vector, limit, near=near)
    return spread_out(atlas.search(vector, limit * SPREAD_FROM), SPREAD_KM, limit)
