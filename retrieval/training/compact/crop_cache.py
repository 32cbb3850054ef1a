"""The prepared crops, read back."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import UserError
from retrieval.training.compact.photos import CompactPhoto, inner_mask, training_rows
from retrieval.training.config import TrainingConfig

Bytes = NDArray[np.uint8]


class CropBatch(NamedTuple):
    """Crops with what the teachers say.

    Attributes:
        pixels: float32 (batch, 3, size, size) in 0..255.
        tokens: float32 (batch, 49, 1024).
        segments: float32 (batch, 19, 14, 14), probabilities.
    """

    pixels: Tensor
    tokens: Tensor
    segments: Tensor


class CropCache:
    """Cached crops of the photos a run may train on; memory-mapped, read by (photo, crop) pairs."""

    def __init__(self, config: TrainingConfig) -> None:
        self._folder = config.data.cache
        done = self._open("done")
        if not done.all():
            raise UserError(f"{self._folder} is half prepared: run python -m retrieval.training.data.prepare again")
        rows = training_rows(config.data)
        chosen = inner_mask(rows) if config.data.train_part == "inner_train" else np.ones(len(rows), dtype=np.bool_)
        self.all_rows: list[CompactPhoto] = rows
        self.photos: NDArray[np.int64] = np.flatnonzero(chosen)
        self.crops = config.prepare.crops
        self.plain_crops = config.prepare.crops - round(config.prepare.crops * config.prepare.mixed_share)
        self.pixels, self.tokens, self.segments = (self._open(name) for name in ("pixels", "tokens", "segments"))

    def pairs(self) -> NDArray[np.int64]:
        """All (photo, crop) pairs of the photos of this run, (n, 2)."""
        grid = np.meshgrid(self.photos, np.arange(self.crops), indexing="ij")
        return np.stack(grid, axis=-1).reshape(-1, 2)

    def batch(self, pairs: NDArray[np.int64], device: torch.device) -> CropBatch:
        """The crops of these pairs."""
        photo, crop = pairs.T
        pixels, tokens, segments = (
            torch.from_numpy(np.ascontiguousarray(array[photo, crop])).to(device)
            for array in (self.pixels, self.tokens, self.segments)
        )
        return CropBatch(
            pixels.permute(0, 3, 1, 2).float(),
            tokens.flatten(1, 2).float(),
            segments.permute(0, 3, 1, 2).float() / 255.0,
        )

    def embeddings(self) -> Tensor:
        """The teacher's mean tokens of every crop of every photo, float32 (photos, crops, 1024)."""
        means = [one.reshape(self.crops, -1, one.shape[-1]).mean(axis=1, dtype=np.float32) for one in self.tokens]
        return torch.from_numpy(np.stack(means))

    def _open(self, name: str) -> Bytes:
        path: Path = self._folder / f"{name}.npy"
        if not path.is_file():
            raise UserError(f"nothing prepared in {self._folder}: run python -m retrieval.training.data.prepare first")
        array: Bytes = np.load(path, mmap_mode="r")
        return array
