"""What every photo encoder is: an identity, vectors of photos, vectors of positions, and its description."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from retrieval.photos.photo import Photo

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
    def identity(self) -> EncoderIdentity:
        """What this encoder's vectors may be compared with."""
        ...

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        """Vectors of n photos, in their order."""
        ...

    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        """Vectors (n, dim), L2-normalised, of positions (n, 2) in degrees, latitude first."""
        ...


class EncoderDescription(BaseModel):
    """What one may know about an encoder before loading it."""

    model_config = ConfigDict(frozen=True)

    name: str
    dim: int = Field(gt=0)
    preprocessing: str
    licence: str
    source: str = Field(description="where the weights come from")
    folder: Path | None = Field(description="holds the weights and card.json; None: see `source`")


def checked_positions(lat_lon_deg: NDArray[np.float64]) -> Vectors:
    """Positions (n, 2) in degrees as float32.

    Raises:
        ValueError: positions of another shape, or not finite.
    """
    positions = np.asarray(lat_lon_deg, dtype=np.float32)
    if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
        raise ValueError(f"positions must be finite degrees of shape (n, 2), got shape {positions.shape}")
    return positions
