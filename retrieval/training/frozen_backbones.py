"""The frozen backbones of a run: photos to the tensors that the towers read.

`view` runs in a data loader's worker (crop, mirror, squares of pixels), `look`
on the device. Where segmentation maps or tokens were prepared, the worker
reads those instead, cut as the photo was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import UserError
from retrieval.backbones.registry import ImageBackbone, Preprocessing, Segmenter, load_image_backbone, load_segmenter
from retrieval.training.config import ImageConfig, SemanticsConfig, TowersConfig
from retrieval.training.data.crops import WHOLE, Box, crop, cut
from retrieval.training.data.feature_cache import FINE_GRID, PreparedStore, unpacked
from retrieval.training.towers import CLASSES, TOKENS, TokenShape

PIXELS, SEGMENT_PIXELS = "pixels", "segment_pixels"
LOOK_AT_ONCE = 64


class FrozenBackbones:
    """Image backbone and segmenter, loaded, frozen, on the device.

    Args:
        config: names them.
        device: where they run.
        bf16: half-width arithmetic.

    Raises:
        UserError: weights that cannot be had.
    """

    def __init__(self, config: TowersConfig, device: torch.device, bf16: bool = False) -> None:
        self.config, self.device, self._bf16 = config, device, bf16
        self.image = load_image(config.image).to(device)
        self.segmenter = load_segments(config.semantics).to(device) if config.semantics else None

    @property
    def shape(self) -> TokenShape:
        """What the towers will be fed."""
        about = self.image.description
        pooled = self.config.image.tokens == "pooled"
        dim, tokens = (_pooled_dim(self.image), 1) if pooled else (about.dim, about.tokens or 1)
        if self.segmenter is None or self.config.semantics is None:
            return TokenShape(dim, tokens)
        return TokenShape(dim, tokens, self.segmenter.description.dim, self.config.semantics.grid**2)

    def worker(self) -> ViewCropper:
        """What a data loader's worker needs of this: no weights."""
        segments = self.segmenter.description.preprocessing if self.segmenter else None
        return ViewCropper(self.image.description.preprocessing, segments, self.config.semantics, self.shape.classes)

    @torch.no_grad()
    def look(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Replace squares of pixels (n, size, size, 3) by tokens and distributions; other tensors go through."""
        found = {name: one for name, one in seen.items() if name not in (PIXELS, SEGMENT_PIXELS)}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            if PIXELS in seen:
                found[TOKENS] = torch.cat([self._tokens(part) for part in torch.split(seen[PIXELS], LOOK_AT_ONCE)])
            if SEGMENT_PIXELS in seen:
                assert self.segmenter is not None, "pixels are made for it"  # noqa: S101  # a programming error
                parts = [self.segmenter(part) for part in torch.split(seen[SEGMENT_PIXELS], LOOK_AT_ONCE)]
                found[CLASSES] = torch.cat(parts).float()
        # Stored in half precision, computed in single where there is no autocast.
        return {name: one.float() if one.dtype == torch.float16 else one for name, one in found.items()}

    def _tokens(self, pixels: Tensor) -> Tensor:
        if self.config.image.tokens == "patches":
            tokens: Tensor = self.image(pixels)
            return tokens.float()
        pooled: Tensor = self.image.embeddings(pixels)  # type: ignore[operator]  # checked in `_pooled_dim`
        return pooled.float()[:, None, :]


class ViewCropper:
    """Crops a photo and its map alike, and makes the squares that the backbones want; small enough for a worker."""

    def __init__(
        self,
        image: Preprocessing,
        segments: Preprocessing | None,
        semantics: SemanticsConfig | None,
        classes: int,
        store: PreparedStore | None = None,
        stored_tokens: bool = False,
    ) -> None:
        self._image, self._segments, self._semantics, self._classes = image, segments, semantics, classes
        self.store, self.stored_tokens = store, stored_tokens

    @property
    def reads_photos(self) -> bool:
        """False where everything about a photo was prepared."""
        return not self.stored_tokens

    def view(self, row: int, rgb: NDArray[np.uint8] | None, box: Box = WHOLE, mirrored: bool = False) -> dict[str, Any]:
        """The tensors of one photo, without the leading dimension; `rgb` (height, width, 3), or None if not needed."""
        found: dict[str, Any] = {}
        if self.stored_tokens and self.store is not None:
            found[TOKENS] = self.store.read("tokens", row)
        else:
            assert rgb is not None, "photos are read where tokens are not stored"  # noqa: S101  # a programming error
            square = self._image.prepare(_mirrored(crop(rgb, box), mirrored))
            found[PIXELS] = torch.from_numpy(np.ascontiguousarray(square))
        return found | self._semantic(row, rgb, box, mirrored)

    def _semantic(self, row: int, rgb: NDArray[np.uint8] | None, box: Box, mirrored: bool) -> dict[str, Any]:
        if self._semantics is None or self._segments is None:
            return {}
        if self.store is not None:
            grid = unpacked(self.store.read("segments", row).numpy(), self._classes)
            tokens = _mirrored(cut(grid, box, self._semantics.grid), mirrored)
            return {CLASSES: torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.float16)).flatten(0, 1)}
        assert rgb is not None, "photos are read where maps are not stored"  # noqa: S101  # a programming error
        square = self._segments.prepare(_mirrored(crop(rgb, box), mirrored))
        return {SEGMENT_PIXELS: torch.from_numpy(np.ascontiguousarray(square))}


def load_image(config: ImageConfig) -> ImageBackbone:
    """The image backbone a configuration names."""
    return load_image_backbone(config.backbone, config.weights, config.folder)


def load_segments(config: SemanticsConfig, grid: int | None = None) -> Segmenter:
    """The segmenter a configuration names, on its grid or a finer one."""
    return load_segmenter(config.backbone, grid or config.grid, config.weights, config.folder)


def fine_segments(config: SemanticsConfig) -> Segmenter:
    """The segmenter on the grid that maps are stored in."""
    return load_segments(config, FINE_GRID)


def _pooled_dim(image: ImageBackbone) -> int:
    if not hasattr(image, "embeddings"):
        raise UserError(f"model.image.tokens: {image.description.name} has no pooled embedding: use patches")
    from retrieval.backbones.hugging_face import CLIP_PROJECTION_DIM

    return CLIP_PROJECTION_DIM


def _mirrored(array: NDArray[Any], mirrored: bool) -> NDArray[Any]:
    return array[:, ::-1] if mirrored else array
