"""The contract of photo encoders: an identity, vectors of photos, vectors of positions; and the encoder's folder."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from typing_extensions import override

from core.errors import UserError
from core.files import read_model
from core.frozen import Immutable
from retrieval.photos.photo import Photo

SHORTEST = 1e-6
"""Length below which a mean of vectors points nowhere; it is then not made longer."""

Vectors = NDArray[np.float32]
Card = TypeVar("Card", bound=BaseModel)

MAX_DIM = 65_536
"""Of a vector, the largest that any engine stores."""
WHAT_TO_DO = "reinstall geosleuth, or export the encoder again"


class EncoderIdentity(Immutable):
    """What makes two vectors comparable: the same encoder with the same weights."""

    name: str
    revision: str
    dim: int = Field(gt=0, le=MAX_DIM)


class PhotoVectors(NamedTuple):
    """Three views of n photos, each float32 of shape (n, dim), L2-normalised."""

    image: Vectors
    semantic: Vectors
    fused: Vectors


class IdentifiedEncoder(Protocol):
    """Anything whose vectors an atlas may hold."""

    @property
    def identity(self) -> EncoderIdentity:
        """What this encoder's vectors may be compared with."""
        ...


class PhotoEncoder(IdentifiedEncoder, Protocol):
    """Maps photos and positions into one space; a vector depends on nothing but its own photo or position."""

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        """Vectors of n photos, in their order."""
        ...

    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        """Vectors (n, dim), L2-normalised, of positions (n, 2) in degrees, latitude first.

        Raises:
            ValueError: positions of another shape, or not finite.
        """
        ...


class EncoderDescription(Immutable):
    """What one may know about an encoder before loading it."""

    name: str
    dim: int = Field(gt=0)
    preprocessing: str
    licence: str
    source: str = Field(description="where the weights come from")
    folder: Path | None = Field(description="holds the weights and card.json; None: see `source`")


class BatchedPhotoEncoder(PhotoEncoder, ABC):
    """A `PhotoEncoder` that works through long lists in batches; a subclass encodes one batch."""

    photo_batch = 16
    point_batch = 4096

    def __init__(self, identity: EncoderIdentity) -> None:
        self._identity = identity

    @property
    @override
    def identity(self) -> EncoderIdentity:
        return self._identity

    @override
    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        starts = range(0, len(photos), self.photo_batch)
        batches = [self._encode_photo_batch(photos[start : start + self.photo_batch]) for start in starts]
        views = zip(*batches, strict=True) if batches else [()] * len(PhotoVectors._fields)
        return PhotoVectors(*map(self._joined, views))

    @override
    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        positions = np.asarray(lat_lon_deg, dtype=np.float32)
        if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
            raise ValueError(f"positions must be finite degrees of shape (n, 2), got shape {positions.shape}")
        starts = range(0, len(positions), self.point_batch)
        batches = [self._encode_point_batch(positions[start : start + self.point_batch]) for start in starts]
        return self._joined(batches)

    @abstractmethod
    def _encode_photo_batch(self, photos: Sequence[Photo]) -> PhotoVectors:
        """Vectors of at most `photo_batch` photos."""

    @abstractmethod
    def _encode_point_batch(self, lat_lon_deg: NDArray[np.float32]) -> Vectors:
        """Vectors (n, dim) of at most `point_batch` positions (n, 2) in degrees."""

    def _joined(self, batches: Sequence[Vectors]) -> Vectors:
        """Batches as one array (n, dim).

        Raises:
            UserError: the weights give vectors of another dimension than the encoder's card says.
        """
        name, dim = self._identity.name, self._identity.dim
        if wrong := {batch.shape[1] for batch in batches} - {dim}:
            raise UserError(f"encoder {name} gives {wrong.pop()} numbers, its card says {dim}: {WHAT_TO_DO}")
        return np.concatenate([np.zeros((0, dim), np.float32), *batches])


def mean_vector(vectors: Vectors) -> Vectors:
    """The mean (dim,) of L2-normalised vectors (n, dim), of length 1 again; of one vector itself.

    >>> mean_vector(np.array([[0.6, 0.8], [0.6, -0.8]], dtype=np.float32)).tolist()
    [1.0, 0.0]
    """
    if len(vectors) == 1:
        return np.asarray(vectors[0])
    mean = vectors.mean(axis=0, dtype=np.float32)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), SHORTEST), np.float32)


def read_card(folder: Path, kind: type[Card]) -> Card:
    """The `card.json` of an encoder folder.

    Raises:
        UserError: no card, or not a card of this kind.
    """
    return read_model(folder / "card.json", kind, "card of an encoder", WHAT_TO_DO)


def verified_revision(folder: Path, files: Mapping[str, str]) -> str:
    """The first 16 hex digits of the SHA-256 over the weight files, each checked against the card on the way.

    Args:
        files: their names, with the SHA-256 in hex that the card records.

    Raises:
        UserError: a file is missing or differs from the card.
    """
    whole = hashlib.sha256()
    for name, expected in sorted(files.items()):
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise UserError(f"cannot read the encoder file {folder / name} ({error.strerror}): {WHAT_TO_DO}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise UserError(
                f"the encoder file {folder / name} is damaged (its SHA-256 is not the card's): {WHAT_TO_DO}"
            )
        whole.update(content)
    return whole.hexdigest()[:16]
