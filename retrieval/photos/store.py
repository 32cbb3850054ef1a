"""The photos being worked on, by the id that tool calls carry."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from retrieval.photos.photo import Photo

FULL_SIZE_BYTES = 256_000_000


class PhotoStore:
    """Photos by id, so that tools built once serve every photo. Safe between threads.

    It keeps the most recently used `capacity` photos (a photo is at most 7.7 MB) and, of larger ones, the files of
    the most recently used up to `full_size_bytes`, so that a folder of thousands does not fill the memory. Photos in
    use by `holding`, and the one added last, are kept beyond that.
    """

    def __init__(self, capacity: int = 64, full_size_bytes: int = FULL_SIZE_BYTES) -> None:
        self._capacity, self._full_size_bytes = capacity, full_size_bytes
        self._photos: OrderedDict[str, Photo] = OrderedDict()
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, photo: Photo) -> str:
        """Add a photo without its metadata; returns its id."""
        with self._lock:
            self._photos[photo.id] = photo.without_metadata()
            self._photos.move_to_end(photo.id)
            self._evict()
        return photo.id

    @contextmanager
    def holding(self, photo: Photo, *more: Photo) -> Iterator[str]:
        """Add a photo, and perhaps more of them, and keep them until the context ends; gives the first one's id."""
        photos = (photo, *more)
        with self._lock:
            self._held.update(one.id for one in photos)
        try:
            for one in photos:
                self.add(one)
            yield photo.id
        finally:
            with self._lock:
                self._held -= Counter(one.id for one in photos)
                self._evict()

    def _evict(self) -> None:
        spare = len(self._photos) - self._capacity
        if spare > 0:
            idle = [photo_id for photo_id in self._photos if photo_id not in self._held]
            for photo_id in idle[:spare]:
                del self._photos[photo_id]
        self._let_go_of_files()

    def _let_go_of_files(self) -> None:
        """Beyond the limit the least recently used photos keep only their scaled pixels."""
        files = {photo_id: len(photo.full_size) for photo_id, photo in self._photos.items() if photo.full_size}
        excess = sum(files.values()) - self._full_size_bytes
        for photo_id in list(files)[:-1]:
            if excess > 0 and photo_id not in self._held:
                self._photos[photo_id] = replace(self._photos[photo_id], full_size=None)
                excess -= files[photo_id]

    def get(self, photo_id: str) -> Photo:
        """The photo of an id.

        Raises:
            KeyError: no photo of this id is in the store.
        """
        with self._lock:
            self._photos.move_to_end(photo_id)
            return self._photos[photo_id]

    def discard(self, photo_id: str) -> None:
        """Take a photo out of the store, if it is there."""
        with self._lock:
            self._photos.pop(photo_id, None)

    def ids(self) -> tuple[str, ...]:
        """Ids of all photos in the store, the least recently used first."""
        with self._lock:
            return tuple(self._photos)
