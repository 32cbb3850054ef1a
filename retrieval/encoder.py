"""Photo encoders: photos and positions to vectors of one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from retrieval.photo import Photo

Vectors = NDArray[np.float32]


class EncoderIdentity(BaseModel):
    """What makes two vectors comparable: the same encoder with the same weights."""

    model_config = ConfigDict(frozen=True)

    name: str
    revision: str
    dim: int


class PhotoVectors(NamedTuple):
    """Three views of n photos, each float32 of shape (n, dim), L2-normalised."""

    image: Vectors
    semantic: Vectors
    fused: Vectors


class PhotoEncoder(Protocol):
    """Maps photos and positions into one space; a vector depends on nothing but its own photo or position."""

    @property
    def identity(self) -> EncoderIdentity: ...

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        """Vectors of n photos, in their order."""
        ...

    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        """Vectors (n, dim), L2-normalised, of positions (n, 2) in degrees, latitude first."""
        ...
