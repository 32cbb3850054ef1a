"""The `compact` encoder at run time: ONNX graphs and one weight file, no torch.

A folder holds `photos.onnx`, `points.onnx` (graphs whose weights lie in
`weights.safetensors`, in half precision) and `card.json`, which records the
SHA-256 of each. Retrained by `retrieval.training`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import UserError
from retrieval.encoders.base import EncoderIdentity, PhotoVectors, Vectors, checked_positions
from retrieval.photos.photo import Photo

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]  # it ships no types

Pixels = NDArray[np.uint8]

PHOTO_BATCH = 16
POINT_BATCH = 4096
MEND = "reinstall geosleuth, or export the encoder again"


class EncoderCard(BaseModel):
    """The part of `card.json` that running needs; the rest is for people."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    dim: int = Field(gt=0)
    size_px: int = Field(gt=0)
    files: dict[str, str] = Field(description="file name to SHA-256 in hex")


class OnnxPhotoEncoder:
    """An exported encoder, run by ONNX Runtime on the CPU.

    Implements `retrieval.encoders.registry.PhotoEncoder`. Sessions open on first use,
    so encoding positions never loads the photo network.

    Args:
        folder: as written by `retrieval.training.compact.export`.
        threads: CPU threads of one call; None leaves it to ONNX Runtime.

    Raises:
        UserError: a missing or damaged file.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self._folder, self._threads = folder, threads
        self._card = read_card(folder)
        self._identity = EncoderIdentity(
            name=self._card.name, revision=verified_revision(folder, self._card.files), dim=self._card.dim
        )

    @property
    def identity(self) -> EncoderIdentity:
        """Name, revision (of the weights) and dimension."""
        return self._identity

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        """Vectors of n photos, in their order."""
        views: list[list[Vectors]] = [[np.empty((0, self._card.dim), np.float32)] * 3]
        for start in range(0, len(photos), PHOTO_BATCH):
            batch = photos[start : start + PHOTO_BATCH]
            pixels = np.stack([preprocess(photo.rgb, self._card.size_px) for photo in batch])
            views.append(_run(self._photos, ["image", "semantic", "fused"], pixels))
        return PhotoVectors(*(np.concatenate(column) for column in zip(*views, strict=True)))

    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        """Vectors (n, dim), L2-normalised, of positions (n, 2) in degrees, latitude first.

        Raises:
            ValueError: positions of another shape, or not finite.
        """
        positions = checked_positions(lat_lon_deg)
        vectors = [np.empty((0, self._card.dim), np.float32)]
        for start in range(0, len(positions), POINT_BATCH):
            vectors += _run(self._points, ["point"], positions[start : start + POINT_BATCH])
        return np.concatenate(vectors)

    @cached_property
    def _photos(self) -> InferenceSession:
        return self._session("photos.onnx")

    @cached_property
    def _points(self) -> InferenceSession:
        return self._session("points.onnx")

    def _session(self, file: str) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        return onnxruntime.InferenceSession(self._folder / file, options, providers=["CPUExecutionProvider"])


def _run(session: InferenceSession, outputs: list[str], batch: NDArray[Any]) -> list[Vectors]:
    return [np.asarray(one, dtype=np.float32) for one in session.run(outputs, {"input": batch})]


def preprocess(rgb: Pixels, size_px: int) -> Pixels:
    """A uint8 RGB image (height, width, 3) as (size_px, size_px, 3): the whole picture, aspect ratio given up.

    Antialiased bilinear; training uses this very function.
    """
    if rgb.shape[:2] == (size_px, size_px):
        return rgb
    resized = Image.fromarray(rgb).resize((size_px, size_px), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized, dtype=np.uint8)


def read_card(folder: Path) -> EncoderCard:
    """The card of an encoder folder.

    Raises:
        UserError: no card, or not a card.
    """
    path = folder / "card.json"
    try:
        return EncoderCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the encoder card {path} ({error.strerror}): {MEND}") from error
    except ValidationError as error:
        raise UserError(f"the encoder card {path} is damaged: {MEND}") from error


def verified_revision(folder: Path, files: dict[str, str]) -> str:
    """The first 16 hex digits of the SHA-256 over the weight files, each checked against the card on the way.

    Raises:
        UserError: a file is missing or differs from the card.
    """
    whole = hashlib.sha256()
    for name, expected in sorted(files.items()):
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise UserError(f"cannot read the encoder file {folder / name} ({error.strerror}): {MEND}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise UserError(f"the encoder file {folder / name} is damaged (its SHA-256 is not the card's): {MEND}")
        whole.update(content)
    return whole.hexdigest()[:16]
