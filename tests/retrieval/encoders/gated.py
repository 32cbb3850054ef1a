"""An encoder that counts its calls, and holds the first one until a test has other requests waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.base import EncoderIdentity, PhotoEncoder, PhotoVectors, Vectors
from retrieval.encoders.batching import BatchingPhotoEncoder
from retrieval.photos.photo import Photo

PATIENCE_S = 60.0


class GatedEncoder:
    """Another encoder behind a gate; `calls` has the names of the photos of each call.

    A call with the photo `bad` raises ValueError, one with `interrupted` KeyboardInterrupt.
    """

    def __init__(self, encoder: PhotoEncoder) -> None:
        self._encoder = encoder
        self.calls: list[list[str]] = []
        self.inside = 0
        self.gate = threading.Event()

    @property
    def identity(self) -> EncoderIdentity:
        return self._encoder.identity

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        self.inside += 1
        assert self.inside == 1, "two calls at once"
        try:
            names = [photo.name for photo in photos]
            self.calls.append(names)
            assert self.gate.wait(PATIENCE_S)
            if "bad" in names:
                raise ValueError("bad photo")
            if "interrupted" in names:
                raise KeyboardInterrupt
            return self._encoder.encode_photos(photos)
        finally:
            self.inside -= 1

    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        return self._encoder.encode_points(lat_lon_deg)


def wait_until(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends_at, "it never came to that"
        time.sleep(0.002)


def encode_behind(
    gated: GatedEncoder, batching: BatchingPhotoEncoder, requests: Sequence[Sequence[Photo]]
) -> list[Future[PhotoVectors]]:
    """Encode the first request, each other one in a thread of its own while it is under way, in this order."""
    with ThreadPoolExecutor(len(requests)) as pool:
        futures = [pool.submit(batching.encode_photos, requests[0])]
        wait_until(lambda: gated.inside == 1)
        for count, photos in enumerate(requests[1:], start=1):
            futures.append(pool.submit(batching.encode_photos, photos))
            wait_until(lambda count=count: len(batching._batching._waiting) == count)  # type: ignore[misc]  # binds the loop's value
        gated.gate.set()
        for future in futures:
            with suppress(ValueError, KeyboardInterrupt):
                future.result(PATIENCE_S)
    return futures
