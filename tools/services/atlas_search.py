"""Searching all open atlases for places that look like a photo: what two tools share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from copy import copy
from typing import Protocol, Self
from weakref import WeakValueDictionary

import numpy as np
from pydantic import Field

from retrieval.candidate import AtlasKind, Candidate
from retrieval.encoders.base import PhotoEncoder, Vectors, mean_vector
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
        encoder: is called by several threads at once: one that does not bear it is given as `BatchingPhotoEncoder`.
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
        """Of the cache; nothing is encoded under it."""
        self._encoding: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        """A lock for each photo that is being encoded, so that no two threads encode the same one."""

    def over(self, atlases: Sequence[SearchedAtlas]) -> Self:
        """The same search of other atlases that this encoder made; vectors of photos are computed once for both."""
        other = copy(self)
        other._atlases, other._near_duplicates = tuple(atlases), {}
        return other

    def candidates(
        self, photo_id: str, box: Box | None, near: Circle | None, limit: int, more: Sequence[str] = ()
    ) -> tuple[Candidate, ...]:
        """At most `limit` candidates of each atlas, most similar first within each.

        Those of a GPS atlas stand apart, unless the search is confined to a circle.

        Args:
            photo_id: of the photo.
            box: the part of it to look at; None: all of it.
            near: the circle to search in; None: everywhere.
            limit: candidates of each atlas.
            more: ids of further photos of the same place: one search, by the mean of all the photos' vectors.

        Raises:
            ToolError: no such photo, or a box too small to look at.
        """
        photo_ids = (photo_id, *more)
        vector = self._vector(photo_part(self._photo_store, photo_id, box)) if box else self._mean_vector(photo_ids)
        circle = Near(near.centre, near.radius_km) if near else None
        found: list[Candidate] = []
        for number, atlas in enumerate(self._atlases):
            if atlas.kind is AtlasKind.GPS and circle is None:
                found += atlas.search_spread(vector, limit, SPREAD_KM, limit * SPREAD_AMONG)
            else:
                found += atlas.search(vector, limit, near=circle, exclude=self._hidden(number, photo_ids))
        return tuple(found)

    def least_similar(self, photo_ids: Sequence[str], limit: int) -> tuple[Candidate, ...]:
        """At most `limit` candidates of each atlas, least similar first: those nearest to the opposite vector.

        Raises:
            ToolError: no such photo.
        """
        opposite = -self._mean_vector(photo_ids)
        found: list[Candidate] = []
        for number, atlas in enumerate(self._atlases):
            found += atlas.search(opposite, limit, exclude=self._hidden(number, photo_ids))
        return tuple(item.model_copy(update={"similarity": -item.similarity}) for item in found)

    def _hidden(self, number: int, photo_ids: Sequence[str]) -> Exclude | None:
        """What a search of an atlas leaves out: all that must not be found for any of its photos."""
        atlas, exclusion = self._atlases[number], self._exclusion
        if exclusion is None or atlas.kind is not AtlasKind.PHOTO:
            return None
        each = [self._hidden_from(number, atlas, exclusion, photo_id) for photo_id in photo_ids]
        fields = {name for one in each for name in one}
        return {name: {value for one in each for value in one.get(name, ())} for name in sorted(fields)} or None

    def _hidden_from(self, number: int, atlas: SearchedAtlas, exclusion: ReferenceExclusion, photo_id: str) -> Exclude:
        """What must not be found for a photo. A part of it must not find a duplicate of the whole either."""
        exclude = dict(exclusion.exclude(photo_id))
        if (photo_id, number) not in self._near_duplicates:
            vector = self._vector(photo_part(self._photo_store, photo_id, None))
            found = _near_duplicates(atlas, vector, exclude, exclusion.near_duplicate_similarity)
            exclusion.record_near_duplicates(photo_id, found)
            self._near_duplicates[photo_id, number] = found
        item_ids = {*exclude.get("item_id", ()), *self._near_duplicates[photo_id, number]}
        return {**exclude, "item_id": item_ids} if item_ids else exclude

    def _mean_vector(self, photo_ids: Sequence[str]) -> Vectors:
        """The mean of the photos' vectors (dim,), of length 1; of one photo its own vector."""
        return mean_vector(
            np.stack([self._vector(photo_part(self._photo_store, photo_id, None)) for photo_id in photo_ids])
        )

    def _vector(self, photo: Photo) -> Vectors:
        """The fused vector (dim,) of a photo; a crop has a hash of its own."""
        with self._lock:
            of_this_photo = self._encoding.setdefault(photo.sha256, threading.Lock())
        with of_this_photo:
            vector = self._cached(photo.sha256)
            if vector is None:
                vector = self._encoder.encode_photos([photo]).fused[0]
                self._cache(photo.sha256, vector)
            return vector

    def _cached(self, sha256: str) -> Vectors | None:
        with self._lock:
            if sha256 in self._vectors:
                self._vectors.move_to_end(sha256)
            return self._vectors.get(sha256)

    def _cache(self, sha256: str, vector: Vectors) -> None:
        with self._lock:
            self._vectors[sha256] = vector
            while len(self._vectors) > CACHED_VECTORS:
                self._vectors.popitem(last=False)


def _near_duplicates(atlas: SearchedAtlas, vector: Vectors, exclude: Exclude, similarity: float) -> frozenset[str]:
    """Items at least that similar: asked for in growing numbers until the last one found is none."""
    limit = FIRST_NEAR_DUPLICATES
    while True:
        found = atlas.search(vector, limit, exclude=exclude or None)
        duplicates = frozenset(candidate.item_id for candidate in found if candidate.similarity >= similarity)
        if len(duplicates) < len(found) or len(found) < limit:
            return duplicates
        limit *= 4
