"""The `compact` encoder at run time: ONNX graphs and one weight file, no torch.

A folder holds `photos.onnx`, `points.onnx` (graphs whose weights lie in
`weights.safetensors`, in half precision) and `card.json`, which records the
SHA-256 of each. Trained by `retrieval.training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from typing_extensions import override

from core.frozen import Immutable
from retrieval.encoders.base import (
    MAX_DIM,
    BatchedPhotoEncoder,
    EncoderIdentity,
    PhotoVectors,
    Vectors,
    read_card,
    verified_revision,
)
from retrieval.photos.photo import Photo

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]  # it ships no types

Pixels = NDArray[np.uint8]


class EncoderCard(Immutable):
    """The part of `card.json` that running needs; the rest is for people."""

    name: str
    dim: int = Field(gt=0, le=MAX_DIM)
    size_px: int = Field(gt=0, le=4096)
    files: dict[str, str] = Field(description="file name to SHA-256 in hex")


class OnnxPhotoEncoder(BatchedPhotoEncoder):
    """An exported encoder, run by ONNX Runtime on the CPU.

    Sessions open on first use, so encoding positions never loads the photo network.

    Args:
        folder: as written by `retrieval.training.compact.export`.
        threads: CPU threads of one call; None leaves it to ONNX Runtime.

    Raises:
        UserError: a missing or damaged file.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self._folder, self._threads = folder, threads
        card = read_card(folder, EncoderCard)
        self._size_px = card.size_px
        revision = verified_revision(folder, card.files)
        super().__init__(EncoderIdentity(name=card.name, revision=revision, dim=card.dim))

    @override
    def _encode_photo_batch(self, photos: Sequence[Photo]) -> PhotoVectors:
        pixels = np.stack([preprocess(photo.rgb, self._size_px) for photo in photos])
        return PhotoVectors(*_run(self._photos, ["image", "semantic", "fused"], pixels))

    @override
    def _encode_point_batch(self, lat_lon_deg: NDArray[np.float32]) -> Vectors:
        return _run(self._points, ["point"], lat_lon_deg)[0]

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
