"""Dynamic batching: requests of several threads for one encoder, encoded together."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate, takewhile

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from retrieval.encoders.base import EncoderIdentity, PhotoEncoder, PhotoVectors, Vectors
from retrieval.photos.photo import Photo


@dataclass(frozen=True, eq=False)
class _Request:
    """The photos of one call, and what becomes of them: vectors, or an error."""

    photos: Sequence[Photo]
    outcome: Future[PhotoVectors] = field(default_factory=Future)


class BatchingPhotoEncoder(PhotoEncoder):
    """Calls another encoder for one thread at a time, each time with the photos of all threads that wait by then.

    There is no thread of its own and no timed wait: whoever finds the encoder idle encodes at once. Requests that come
    meanwhile wait in their order; when it is idle again, the thread of the first of them encodes its own photos and
    those of the requests behind it, as long as they fit. So what the encoder loads lazily is loaded once.

    Where a batch fails, each of its requests is encoded alone, so that an error reaches nobody else. Where the thread
    that encodes is interrupted, the other requests of its batch come first again.

    Args:
        encoder: gives each photo the same vectors in any batch.
        batch_photos: at most so many photos in a batch of several requests; 1: each request alone.
    """

    def __init__(self, encoder: PhotoEncoder, batch_photos: int = 1) -> None:
        self._encoder, self._batch_photos = encoder, batch_photos
        self._waiting: deque[_Request] = deque()
        self._batch: tuple[_Request, ...] = ()
        """Under way; the thread of the first encodes it."""
        self._changed = threading.Condition()
        self._one_call = threading.Lock()
        self._batch_sizes: Counter[int] = Counter()

    @property
    @override
    def identity(self) -> EncoderIdentity:
        return self._encoder.identity

    @property
    def batch_sizes(self) -> Mapping[int, int]:
        """How many calls there were of each number of photos."""
        with self._changed:
            return dict(self._batch_sizes)

    @override
    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        request = _Request(photos)
        try:
            if batch := self._wait(request):
                self._encode_batch(batch)
        finally:
            self._leave(request)
        return request.outcome.result()

    @override
    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        with self._one_call:
            return self._encoder.encode_points(lat_lon_deg)

    def _wait(self, request: _Request) -> tuple[_Request, ...]:
        """The batch that the request's own thread is to encode; empty: another thread has encoded it."""
        with self._changed:
            self._waiting.append(request)
            self._changed.wait_for(lambda: request.outcome.done() or (not self._batch and self._waiting[0] is request))
            if request.outcome.done():
                return ()
            photos = accumulate(len(waiting.photos) for waiting in self._waiting)
            fitting = sum(1 for _ in takewhile(lambda count: count <= self._batch_photos, photos))
            self._batch = tuple(self._waiting.popleft() for _ in range(max(1, fitting)))
            return self._batch

    def _leave(self, request: _Request) -> None:
        """Withdraw a request that was not answered, and let the next thread encode if it was this one's turn."""
        with self._changed:
            if self._batch and self._batch[0] is request:
                self._waiting.extendleft(one for one in self._batch[:0:-1] if not one.outcome.done())
                self._batch = ()
            elif request in self._waiting:
                self._waiting.remove(request)
            self._changed.notify_all()

    def _encode_batch(self, batch: Sequence[_Request]) -> None:
        photos = [photo for request in batch for photo in request.photos]
        try:
            vectors = self._call(photos)
        except Exception as error:  # noqa: BLE001 - not swallowed: raised in the thread of its request
            if len(batch) == 1:
                batch[0].outcome.set_exception(error)
            else:
                for request in batch:
                    self._encode_batch([request])
            return
        ends = np.cumsum([len(request.photos) for request in batch])
        for request, end in zip(batch, ends, strict=True):
            start = end - len(request.photos)
            request.outcome.set_result(PhotoVectors(*(view[start:end] for view in vectors)))

    def _call(self, photos: Sequence[Photo]) -> PhotoVectors:
        with self._changed:
            self._batch_sizes[len(photos)] += 1
        with self._one_call:
            return self._encoder.encode_photos(photos)
