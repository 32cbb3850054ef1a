"""Photo encoders: photos and positions to vectors of one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from geo.errors import UserError
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
    folder: Path = Field(description="holds the weights and card.json")


_COMPACT = EncoderDescription(
    name="compact",
    dim=256,
    preprocessing="whole photo to 160 x 160 px RGB, antialiased bilinear, aspect ratio given up",
    licence="Apache-2.0",
    source="ships with the package; trained from scratch by retrieval.training",
    folder=Path(__file__).parent / "compact",
)

ENCODERS: Mapping[str, EncoderDescription] = MappingProxyType({one.name: one for one in (_COMPACT,)})


def load_encoder(name_or_folder: str | Path, threads: int | None = None) -> PhotoEncoder:
    """The encoder of that name, or the one in a folder written by `retrieval.training.export`.

    Args:
        name_or_folder: a name in `ENCODERS`, or a folder with a `card.json`.
        threads: CPU threads of one call; None leaves it to ONNX Runtime.

    Raises:
        UserError: neither a known name nor such a folder, or damaged weights.
    """
    # Here and not above, so that the contract can be imported without ONNX Runtime's half second.
    from retrieval.compact_encoder import OnnxPhotoEncoder

    known = ENCODERS.get(str(name_or_folder))
    folder = known.folder if known else Path(name_or_folder)
    if known is None and not (folder / "card.json").is_file():
        names = ", ".join(sorted(ENCODERS))
        raise UserError(f"no encoder {str(name_or_folder)!r}: use one of {names}, or a folder with a card.json")
    return OnnxPhotoEncoder(folder, threads)
