"""Encoding the photos of a build, and the list of engines that do it: in this process, or on workers of Ray."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from core.errors import UserError
from geo.point import Point
from retrieval.atlas.failures import Failure
from retrieval.atlas.sources import PhotoItem
from retrieval.encoders.base import PhotoEncoder, Vectors
from retrieval.photos.photo import Photo, PhotoError
from retrieval.photos.stored_files import UnreachablePhotoError, decode_stored, read_files
from retrieval.stores.base import StoredItem

_ONE_MACHINE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # off: ports are bound to 127.0.0.1
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "OMP_NUM_THREADS": "1",
}
"""Of Ray on this machine alone, which reads it when it is imported; the token is one of this process."""

MANY_UNREACHED = 8
"""Photos of a batch: where not one of so many is reached, it is the network. Set by hand."""

RAY_EXTRA = "pip install 'geosleuth[ray]'"


class EncodedBatch(NamedTuple):
    """A batch: the items that could be encoded with their vectors (n, dim), and those that could not."""

    items: list[StoredItem]
    vectors: Vectors
    failures: list[Failure]


def encode_photos(encoder: PhotoEncoder, numbered: Sequence[tuple[int, PhotoItem]]) -> EncodedBatch:
    """Read and encode photos, given with their ids; those that cannot be used are failures.

    Raises:
        UserError: of many, not one could be reached.
    """
    items: list[StoredItem] = []
    photos: list[Photo] = []
    failures = [Failure(id=id_, item_id=item.item_id, reason=item.problem) for id_, item in numbered if item.problem]
    usable = [(id_, item) for id_, item in numbered if not item.problem]
    unreached: list[PhotoError] = []
    for (id_, item), read in zip(usable, read_files([item.file for _, item in usable]), strict=True):
        try:
            photo, point = placed_photo(item, read)
        except PhotoError as error:
            failures.append(Failure(id=id_, item_id=item.item_id, reason=str(error)))
            unreached += [error] if isinstance(error, UnreachablePhotoError) else []
            continue
        photos.append(photo)
        extra = {"sha256": photo.sha256} | ({"author": item.author} if item.author else {})
        items.append(StoredItem(id_, point, item.item_id, extra))
    if len(unreached) == len(usable) >= MANY_UNREACHED:
        raise UserError(
            f"none of {len(unreached)} photos could be reached (the first: {unreached[0]}): check network and"
            " keys, then run the same command to go on"
        )
    vectors = encoder.encode_photos(photos).fused if photos else np.zeros((0, encoder.identity.dim), np.float32)
    return EncodedBatch(items, vectors, sorted(failures, key=attrgetter("id")))


def placed_photo(item: PhotoItem, read: bytes | PhotoError) -> tuple[Photo, Point]:
    """The photo that was read and where it was taken, by its item or else by the file's own metadata.

    Raises:
        PhotoError: it could not be read or decoded, or says nowhere where it was taken.
    """
    if isinstance(read, PhotoError):
        raise read
    photo = decode_stored(item.file, read)
    point = item.point or (photo.metadata.position if photo.metadata else None)
    if point is None:
        raise PhotoError(f"{item.item_id} does not say where it was taken: list it in a table with its position")
    return photo, point


class EngineJob(NamedTuple):
    """What an engine is asked for: the photos with the numbers `pending` of the list `items`.

    Attributes:
        batch_size: photos of one call of the encoder.
        folder: of the draft; what lies in its `SHARD_FOLDER` survives a kill.
        source_sha256: digest of the list.
        encoded: called with the number of photos that are encoded, as they come.
    """

    items: Sequence[PhotoItem]
    pending: Sequence[int]
    batch_size: int
    folder: Path
    source_sha256: str
    encoder: PhotoEncoder
    encoded: Callable[[int], None]


class EncodingEngine(Protocol):
    """Encodes photos somewhere else than in this process."""

    def encode(self, job: EngineJob) -> Iterator[EncodedBatch]:
        """The batches of a job, in the order of the source; no photo is missing or twice."""
        ...


EngineMaker = Callable[[str | None, Callable[[], PhotoEncoder], bool], EncodingEngine | None]
"""Called with the address after `@` if there is one, what loads the encoder, and whether that can use a GPU."""


def _local(address: str | None, load: Callable[[], PhotoEncoder], gpu: bool) -> None:  # noqa: ARG001 - as all makers
    if address:
        raise UserError("the engine local has no address: give --engine ray@HOST:PORT for a cluster")


def _ray(address: str | None, load: Callable[[], PhotoEncoder], gpu: bool) -> EncodingEngine:
    if not address and "ray" not in sys.modules:
        os.environ.update(_ONE_MACHINE | {"RAY_AUTH_TOKEN": secrets.token_hex(32)})
    try:
        from retrieval.atlas.ray_engine import RayEngine
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("ray", "pyarrow", "pandas", "fsspec"):
            raise
        raise UserError(f"--engine ray needs the `ray` extra: {RAY_EXTRA}") from error
    return RayEngine(load, address=address, gpu=gpu)


ENGINES: Mapping[str, EngineMaker] = {"local": _local, "ray": _ray}
"""The first one is the default: None, the build's own process."""


def make_engine(text: str, load: Callable[[], PhotoEncoder], gpu: bool = False) -> EncodingEngine | None:
    """The engine of a text: `local`, `ray` (this machine), `ray@HOST:PORT` or `ray://HOST:PORT` (Ray client).

    Args:
        load: loads the encoder in a worker; pickled.
        gpu: whether that encoder computes on a GPU where there is one.

    Raises:
        UserError: no such engine, or its extra is not installed.
    """
    name, _, address = ("ray", "", text) if text.startswith("ray://") else text.partition("@")
    if name not in ENGINES or text.endswith(("@", "//")):
        raise UserError(
            f"unknown engine {text!r}: choose one of {', '.join(ENGINES)}, or ray@HOST:PORT or ray://HOST:PORT"
        )
    return ENGINES[name](address or None, load, gpu)
