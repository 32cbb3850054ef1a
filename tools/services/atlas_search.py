"""Searching all open atlases for places that look like a photo: what two tools share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Protocol

from pydantic import Field

from retrieval.candidate import AtlasKind, Candidate
from retrieval.encoders.base import PhotoEncoder, Vectors
from retrieval.photos.photo import Photo
from retrieval.photos.store import PhotoStore
from retrieval.stores.filters import Exclude, Near
from tools.base import PhotoArguments, photo_part
from tools.results import Box, Circle

CACHED_VECTORS = 256

FIRST_NEAR_DUPLICATES = 16

SPREAD_KM = 100.0
SPREAD_AMONG = 20
"""Of a GPS atlas, the best of each 100 km among 20 times as many coordinates as were asked for:
see docs/decisions.md."""


class SearchedAtlas(Protocol):
    """The part of an `Atlas` that searching needs."""

    @property
    def kind(self) -> AtlasKind:
        """Photos or coordinates."""
        ...

    def search(
        self, vector: Vectors, limit: int, near: Near | None = None, exclude: Exclude | None = None
    ) -> list[Candidate]:
        """The items most similar to a vector of shape (dim,), most similar first, without those left out."""
        ...

    def search_spread(self, vector: Vectors, limit: int, min_distance_km: float, among: int) -> list[Candidate]:
        """The best of each neighbourhood among the `among` most similar items, most similar first."""
        ...


class ReferenceExclusion(Protocol):
    """Which items a search for a photo must not find: an evaluation hides what would give the answer away."""

    def exclude(self, photo_id: str) -> Exclude:
        """Values to leave out of photo atlases, by field; empty: nothing."""
        ...

    @property
    def near_duplicate_similarity(self) -> float:
        """From this similarity to the whole photo on, an item is nearly the same picture, and is left out as well."""
        ...

    def record_near_duplicates(self, photo_id: str, item_ids: Collection[str]) -> None:
        """Called once a photo and atlas with the near duplicates that were left out."""
        ...


class SearchArguments(PhotoArguments):
    """A photo, or a part of it, and where to search."""

    near: Circle | None = Field(None, description="search only in this circle on the Earth; null: everywhere")


class PhotoSearch:
    """Encodes photos, or parts of them, and searches every open atlas. Safe between threads.

    A vector is computed once for a photo and box, and kept among the most recently used.

    Args:
        exclusion: what searches for a photo, or a part of it, must not find; None: nothing is hidden.
    """

    def __init__(
        self,
        atlases: Sequence[SearchedAtlas],
        encoder: PhotoEncoder,
        photo_store: PhotoStore,
        exclusion: ReferenceExclusion | None = None,
    ) -> None:
        self._atlases = tuple(atlases)
        self._encoder = encoder
        self._photo_store = photo_store
        self._exclusion = exclusion
        self._near_duplicates: dict[tuple[str, int], frozenset[str]] = {}
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def candidates(self, photo_id: str, box: Box | None, near: Circle | None, limit: int) -> tuple[Candidate, ...]:
        """At most `limit` candidates of each atlas, most similar first within each.

        Those of a GPS atlas stand apart, unless the search is confined to a circle.

        Raises:
            ToolError: no such photo, or a box too small to look at.
        """
        vector = self._vector(photo_part(self._photo_store, photo_id, box))
        circle = Near(near.centre, near.radius_km) if near else None
        found: list[Candidate] = []
        for number, atlas in enumerate(self._atlases):
            if atlas.kind is AtlasKind.GPS and circle is None:
                found += atlas.search_spread(vector, limit, SPREAD_KM, limit * SPREAD_AMONG)
            else:
                found += atlas.search(vector, limit, near=circle, exclude=self._hidden(number, photo_id))
        return tuple(found)

    def least_similar(self, photo_id: str, limit: int) -> tuple[Candidate, ...]:
        """At most `limit` candidates of each atlas, least similar first: those nearest to the opposite vector.

        Raises:
            ToolError: no such photo.
        """
        opposite = -self._vector(photo_part(self._photo_store, photo_id, None))
        found: list[Candidate] = []
        for number, atlas in enumerate(self._atlases):
            found += atlas.search(opposite, limit, exclude=self._hidden(number, photo_id))
        return tuple(item.model_copy(update={"similarity": -item.similarity}) for item in found)

    def _hidden(self, number: int, photo_id: str) -> Exclude | None:
        """What a search of an atlas leaves out. A part of a photo must not find a duplicate of the whole either."""
        atlas = self._atlases[number]
        if self._exclusion is None or atlas.kind is not AtlasKind.PHOTO:
            return None
        exclude = dict(self._exclusion.exclude(photo_id))
        if (photo_id, number) not in self._near_duplicates:
            vector = self._vector(photo_part(self._photo_store, photo_id, None))
            found = _near_duplicates(atlas, vector, exclude, self._exclusion.near_duplicate_similarity)
            self._exclusion.record_near_duplicates(photo_id, found)
            self._near_duplicates[photo_id, number] = found
        item_ids = {*exclude.get("item_id", ()), *self._near_duplicates[photo_id, number]}
        return {**exclude, "item_id": item_ids} if item_ids else exclude or None

    def _vector(self, photo: Photo) -> Vectors:
        """The fused vector (dim,) of a photo; a crop has a hash of its own."""
        with self._lock:
            if photo.sha256 not in self._vectors:
                self._vectors[photo.sha256] = self._encoder.encode_photos([photo]).fused[0]
                while len(self._vectors) > CACHED_VECTORS:
                    self._vectors.popitem(last=False)
            self._vectors.move_to_end(photo.sha256)
            return self._vectors[photo.sha256]


def _near_duplicates(atlas: SearchedAtlas, vector: Vectors, exclude: Exclude, similarity: float) -> frozenset[str]:
    """Items at least that similar: asked for in growing numbers until the last one found is none."""
    limit = FIRST_NEAR_DUPLICATES
    while True:
        found = atlas.search(vector, limit, exclude=exclude or None)
        duplicates = frozenset(candidate.item_id for candidate in found if candidate.similarity >= similarity)
        if len(duplicates) < len(found) or len(found) < limit:
            return duplicates
        limit *= 4
