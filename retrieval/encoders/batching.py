"""Dynamic batching: photos of several threads for one encoder, encoded together."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from core.batching import Batching
from retrieval.encoders.base import EncoderIdentity, PhotoEncoder, PhotoVectors, Vectors
from retrieval.photos.photo import Photo


class BatchingPhotoEncoder(PhotoEncoder):
    """Calls another encoder for one thread at a time, each time with the photos of all threads that wait by then.

    What the encoder loads lazily is so loaded once.

    Args:
        encoder: gives each photo the same vectors in any batch.
        batch_photos: at most so many photos in a batch of several requests; 1: each request alone.
    """

    def __init__(self, encoder: PhotoEncoder, batch_photos: int = 1) -> None:
        self._encoder = encoder
        self._batching = Batching(self._encode, batch_photos)
        self._one_call = threading.Lock()

    @property
    @override
    def identity(self) -> EncoderIdentity:
        return self._encoder.identity

    @property
    def batch_sizes(self) -> Mapping[int, int]:
        """How many calls there were of each number of photos."""
        return self._batching.sizes

    @override
    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        rows = self._batching(photos)
        if not rows:
            return PhotoVectors(*(np.empty((0, self.identity.dim), np.float32) for _ in PhotoVectors._fields))
        return PhotoVectors(*map(np.stack, zip(*rows, strict=True)))

    @override
    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        with self._one_call:
            return self._encoder.encode_points(lat_lon_deg)

    def _encode(self, photos: Sequence[Photo]) -> Sequence[tuple[Vectors, ...]]:
        """The vectors (dim,) of each photo, in every view."""
        with self._one_call:
            vectors = self._encoder.encode_photos(photos)
        return list(zip(*vectors, strict=True))
