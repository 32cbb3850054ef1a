"""Searching all open atlases for places that look like a photo: what two tools share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Protocol

from pydantic import Field

from retrieval.candidate import AtlasKind, Candidate
from retrieval.diversify import spread_out
from retrieval.encoders.base import PhotoEncoder, Vectors
from retrieval.photos.photo import Photo
from retrieval.photos.store import PhotoStore
from retrieval.stores.filters import Exclude, Near
from tools.base import PhotoArguments, photo_part
from tools.results import Box, Circle

CACHED_VECTORS = 256

FIRST_TWINS = 16

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

    def search(
        self, vector: Vectors, limit: int, near: Near | None = None, exclude: Exclude | None = None
    ) -> list[Candidate]:
        """The items most similar to a vector of shape (dim,), most similar first, without those left out."""
        ...


class ReferenceExclusion(Protocol):
    """Which items a search for a photo must not see: an evaluation hides what would give the answer away."""

    def exclude(self, photo_id: str) -> Exclude:
        """Values to leave out of photo atlases, by field; empty: nothing."""
        ...

    @property
    def twin_similarity(self) -> float:
        """From this similarity to the whole photo on, an item is nearly the same picture, and has to go as well."""
        ...

    def note_twins(self, photo_id: str, item_ids: Collection[str]) -> None:
        """Told once a photo and atlas which twins were left out."""
        ...


class SearchArguments(PhotoArguments):
    """A photo, or a part of it, and where to search."""

    near: Circle | None = Field(None, description="search only in this circle on the Earth; null: everywhere")


class PhotoSearch:
    """Encodes photos, or parts of them, and searches every open atlas. Safe between threads.

    A vector is computed once for a photo and box, and kept among the most recently used.

    Args:
        atlases: searched in this order.
        encoder: that made them.
        photo_store: where photos are found.
        exclusion: what searches for a photo, or a part of it, must not see; None: nothing is hidden.
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
        self._shelf = photo_store
        self._hiding = exclusion
        self._twins: dict[tuple[str, int], frozenset[str]] = {}
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
        return tuple(
            found
            for number, atlas in enumerate(self._atlases)
            for found in _search(atlas, vector, limit, circle, self._hidden(number, photo_id))
        )

    def _hidden(self, number: int, photo_id: str) -> Exclude | None:
        """What a search of an atlas leaves out. A part of a photo must not find the whole photo's twin either."""
        atlas = self._atlases[number]
        if self._hiding is None or atlas.kind is not AtlasKind.PHOTO:
            return None
        exclude = dict(self._hiding.exclude(photo_id))
        if (photo_id, number) not in self._twins:
            vector = self._vector(photo_part(self._shelf, photo_id, None))
            twins = _twins(atlas, vector, exclude, self._hiding.twin_similarity)
            self._hiding.note_twins(photo_id, twins)
            self._twins[photo_id, number] = twins
        item_ids = {*exclude.get("item_id", ()), *self._twins[photo_id, number]}
        return {**exclude, "item_id": item_ids} if item_ids else exclude or None

    def least_similar(self, photo_id: str, limit: int) -> tuple[Candidate, ...]:
        """At most `limit` candidates of each atlas, least similar first: those nearest to the opposite vector.

        Raises:
            ToolError: no such photo.
        """
        opposite = -self._vector(photo_part(self._shelf, photo_id, None))
        hidden = [self._hidden(number, photo_id) for number in range(len(self._atlases))]
        searched = zip(self._atlases, hidden, strict=True)
        found = (item for atlas, exclude in searched for item in atlas.search(opposite, limit, exclude=exclude))
        return tuple(item.model_copy(update={"similarity": -item.similarity}) for item in found)

    def _vector(self, photo: Photo) -> Vectors:
        """The fused vector (dim,) of a photo; a crop has a hash of its own."""
        with self._lock:
            if photo.sha256 not in self._vectors:
                self._vectors[photo.sha256] = self._encoder.encode_photos([photo]).fused[0]
                while len(self._vectors) > CACHED_VECTORS:
                    self._vectors.popitem(last=False)
            self._vectors.move_to_end(photo.sha256)
            return self._vectors[photo.sha256]


def _search(
    atlas: SearchedAtlas, vector: Vectors, limit: int, near: Near | None, exclude: Exclude | None
) -> list[Candidate]:
    if atlas.kind is AtlasKind.PHOTO:
        return atlas.search(vector, limit, near=near, exclude=exclude)
    if near is not None:
        return atlas.search(vector, limit, near=near)
    return spread_out(atlas.search(vector, limit * SPREAD_FROM), SPREAD_KM, limit)


def _twins(atlas: SearchedAtlas, vector: Vectors, exclude: Exclude, similarity: float) -> frozenset[str]:
    """Items at least that similar: asked for in growing numbers until the last one found is none."""
    limit = FIRST_TWINS
    while True:
        found = atlas.search(vector, limit, exclude=exclude or None)
        twins = frozenset(candidate.item_id for candidate in found if candidate.similarity >= similarity)
        if len(twins) < len(found) or len(found) < limit:
            return twins
        limit *= 4
