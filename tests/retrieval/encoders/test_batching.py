"""Requests of several threads in one call of the encoder: which, how many, and whom an error reaches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType

import numpy as np
import pytest

from retrieval.encoders.base import PhotoEncoder, PhotoVectors
from retrieval.encoders.batching import BatchingPhotoEncoder
from retrieval.encoders.registry import load_encoder
from retrieval.photos.photo import Photo
from tests.retrieval.encoders.gated import PATIENCE_S, GatedEncoder, encode_behind, wait_until


def photo(number: int, name: str = "") -> Photo:
    rgb = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return Photo(rgb=rgb, sha256=f"{number:064x}", name=name or str(number))


@pytest.fixture(scope="module")
def compact() -> PhotoEncoder:
    return load_encoder("compact", 1)


@pytest.fixture
def gated(compact: PhotoEncoder) -> GatedEncoder:
    return GatedEncoder(compact)


def assert_each_has_its_own(
    futures: Sequence[Future[PhotoVectors]], requests: Sequence[Sequence[Photo]], alone: PhotoEncoder
) -> None:
    for future, photos in zip(futures, requests, strict=True):
        for found, wanted in zip(future.result(), alone.encode_photos(photos), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=0.0, atol=1e-6)


def test_requests_that_came_meanwhile_are_encoded_together(gated: GatedEncoder, compact: PhotoEncoder) -> None:
    batching = BatchingPhotoEncoder(gated, 4)
    requests = [[photo(number)] for number in range(7)]
    futures = encode_behind(gated, batching, requests)
    assert gated.calls == [["0"], ["1", "2", "3", "4"], ["5", "6"]]
    assert batching.batch_sizes == {1: 1, 4: 1, 2: 1}
    assert_each_has_its_own(futures, requests, compact)


def test_with_batches_of_one_each_is_encoded_alone_and_in_turn(gated: GatedEncoder, compact: PhotoEncoder) -> None:
    batching = BatchingPhotoEncoder(gated)
    requests = [[photo(number)] for number in range(4)]
    futures = encode_behind(gated, batching, requests)
    assert gated.calls == [["0"], ["1"], ["2"], ["3"]]
    assert_each_has_its_own(futures, requests, compact)


def test_a_request_is_never_divided(gated: GatedEncoder, compact: PhotoEncoder) -> None:
    batching = BatchingPhotoEncoder(gated, 3)
    requests = [[photo(number) for number in numbers] for numbers in ((0,), (1, 2), (3, 4), (), (5,), (6, 7, 8, 9))]
    futures = encode_behind(gated, batching, requests)
    assert gated.calls == [["0"], ["1", "2"], ["3", "4", "5"], ["6", "7", "8", "9"]]
    assert_each_has_its_own(futures, requests, compact)


def test_an_error_reaches_its_own_request_only(gated: GatedEncoder, compact: PhotoEncoder) -> None:
    batching = BatchingPhotoEncoder(gated, 8)
    requests = [[photo(0)], [photo(1)], [photo(2, "bad")], [photo(3)]]
    futures = encode_behind(gated, batching, requests)
    with pytest.raises(ValueError, match="bad photo"):
        futures.pop(2).result()
    del requests[2]
    assert_each_has_its_own(futures, requests, compact)
    assert gated.calls == [["0"], ["1", "bad", "3"], ["1"], ["bad"], ["3"]]
    assert_each_has_its_own([_now(batching, [photo(4)])], [[photo(4)]], compact)


def test_where_the_thread_that_encodes_is_interrupted_another_goes_on(
    gated: GatedEncoder, compact: PhotoEncoder
) -> None:
    batching = BatchingPhotoEncoder(gated, 8)
    requests = [[photo(0)], [photo(1, "interrupted")], [photo(2)], [photo(3)]]
    futures = encode_behind(gated, batching, requests)
    with pytest.raises(KeyboardInterrupt):
        futures.pop(1).result()
    del requests[1]
    assert_each_has_its_own(futures, requests, compact)
    assert gated.calls == [["0"], ["interrupted", "2", "3"], ["2", "3"]]


class Interruption(BaseException):
    """What a signal raises in the main thread."""


def test_a_request_that_is_interrupted_while_it_waits_is_withdrawn(gated: GatedEncoder, compact: PhotoEncoder) -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interruption

    def send() -> None:
        wait_until(lambda: len(batching._batching._waiting) == 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    batching = BatchingPhotoEncoder(gated, 8)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(batching.encode_photos, [photo(0)])
            wait_until(lambda: gated.inside == 1)
            sender = pool.submit(send)
            with pytest.raises(Interruption):
                batching.encode_photos([photo(1)])
            sender.result(PATIENCE_S)
            gated.gate.set()
            assert_each_has_its_own([first], [[photo(0)]], compact)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert_each_has_its_own([_now(batching, [photo(2)])], [[photo(2)]], compact)
    assert gated.calls == [["0"], ["2"]]


def test_many_threads_get_their_own_vectors_of_an_encoder_that_is_called_once_at_a_time(
    gated: GatedEncoder, compact: PhotoEncoder
) -> None:
    gated.gate.set()
    batching = BatchingPhotoEncoder(gated, 4)
    requests = [[photo(number)] for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(batching.encode_photos, photos) for photos in requests]
    assert_each_has_its_own(futures, requests, compact)
    assert sum(size * calls for size, calls in batching.batch_sizes.items()) == 60
    assert max(batching.batch_sizes) <= 4


def test_positions_and_identity_are_the_encoders_own(compact: PhotoEncoder) -> None:
    places = np.array([[50.1, 14.4], [-33.9, 151.2]])
    batching = BatchingPhotoEncoder(compact, 4)
    assert batching.identity == compact.identity
    np.testing.assert_array_equal(batching.encode_points(places), compact.encode_points(places))


def _now(batching: BatchingPhotoEncoder, photos: Sequence[Photo]) -> Future[PhotoVectors]:
    future: Future[PhotoVectors] = Future()
    future.set_result(batching.encode_photos(photos))
    return future
