"""The frozen backbones of a run: photos to the tensors that the towers read.

`ViewCropper` runs in a data loader's worker (crop, mirror, squares of pixels),
`FrozenBackbones` on the device. Where segmentation maps or tokens were computed
in advance, the worker reads those instead, cropped as the photo was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import UserError
from retrieval.backbones.base import ImageBackbone, Preprocessing
from retrieval.backbones.registry import load_image_backbone, load_segmenter
from retrieval.training.config import SemanticsConfig, TowersConfig
from retrieval.training.data.crops import WHOLE, Box, crop, crop_grid
from retrieval.training.data.feature_cache import FeatureCache, unpack_distributions
from retrieval.training.towers import CLASSES, TOKENS, TokenShape

PIXELS, SEGMENT_PIXELS = "pixels", "segment_pixels"
BACKBONE_BATCH = 64


class FrozenBackbones:
    """Image backbone and segmenter, loaded, frozen, on the device.

    Args:
        grid: cells a side of the segmentation; None: `model.semantics.grid`.

    Raises:
        UserError: weights that are not on this machine.
    """

    def __init__(self, config: TowersConfig, device: torch.device, bf16: bool = False, grid: int | None = None) -> None:
        self.config, self.device, self._bf16 = config, device, bf16
        image, semantics = config.image, config.semantics
        self.image = load_image_backbone(image.backbone, image.weights, image.folder).to(device)
        self.segmenter = None
        if semantics is not None:
            size = grid or semantics.grid
            self.segmenter = load_segmenter(semantics.backbone, size, semantics.weights, semantics.folder).to(device)

    @property
    def shape(self) -> TokenShape:
        """Sizes of the towers' inputs."""
        image = self.image.description
        pooled = self.config.image.tokens == "pooled"
        dim, tokens = (_pooled_dim(self.image), 1) if pooled else (image.dim, image.tokens or 1)
        if self.segmenter is None or self.config.semantics is None:
            return TokenShape(dim, tokens)
        return TokenShape(dim, tokens, self.segmenter.description.dim, self.config.semantics.grid**2)

    def identity(self, *, tokens: bool) -> dict[str, str]:
        """Which weights the segmentation maps, and the image tokens if `tokens`, come from."""
        segments = {"semantics": self.segmenter.identity} if self.segmenter else {}
        return segments | ({"image": self.image.identity} if tokens else {})

    def view_cropper(
        self, cache: FeatureCache | None = None, *, cached_tokens: bool = False, with_pixels: bool = True
    ) -> ViewCropper:
        """What a data loader's worker needs of this: no weights.

        Args:
            cache: holds segmentation maps (and tokens); None: pixels are made instead.
            cached_tokens: the cache holds image tokens too, so photos are not read.
            with_pixels: make pixels for the image backbone where its tokens are not cached.
        """
        segments = self.segmenter.description.preprocessing if self.segmenter else None
        image = self.image.description.preprocessing if with_pixels else None
        return ViewCropper(image, segments, self.config.semantics, self.shape.classes, cache, cached_tokens)

    @torch.no_grad()
    def extract(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Replace pixels by what the backbones compute of them; other tensors go through.

        Args:
            tensors: `pixels` and `segment_pixels`, uint8 (n, size, size, 3), where there are such, and others.

        Returns:
            `tokens` (n, tokens, dim) and `distributions` (n, cells, classes), both float32, and the others.
        """
        features = {name: tensor for name, tensor in tensors.items() if name not in (PIXELS, SEGMENT_PIXELS)}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            if PIXELS in tensors:
                parts = torch.split(tensors[PIXELS], BACKBONE_BATCH)
                features[TOKENS] = torch.cat([self._tokens(part) for part in parts])
            if SEGMENT_PIXELS in tensors:
                assert self.segmenter is not None, "pixels are made for it"  # noqa: S101  # a programming error
                parts = torch.split(tensors[SEGMENT_PIXELS], BACKBONE_BATCH)
                features[CLASSES] = torch.cat([self.segmenter(part) for part in parts]).float()
        # Cached features are stored in half precision, and the towers compute in single precision without autocast.
        return {name: rows.float() if rows.dtype == torch.float16 else rows for name, rows in features.items()}

    def _tokens(self, pixels: Tensor) -> Tensor:
        if self.config.image.tokens == "patches":
            tokens: Tensor = self.image(pixels)
            return tokens.float()
        pooled: Tensor = self.image.embeddings(pixels)  # type: ignore[operator]  # checked in `_pooled_dim`
        return pooled.float()[:, None, :]


class ViewCropper:
    """Crops a photo and its segmentation map alike, to what the backbones or towers read; pickled to workers.

    Args:
        image: preprocessing of the image backbone; None if its pixels are not wanted.
        segments: preprocessing of the segmenter; None without one.
        semantics: the grid of semantic tokens; None without a segmenter.
        cache: holds segmentation maps (and tokens); None: pixels are made instead.
        cached_tokens: the cache holds image tokens too, so photos are not read.
    """

    def __init__(
        self,
        image: Preprocessing | None,
        segments: Preprocessing | None,
        semantics: SemanticsConfig | None,
        classes: int,
        cache: FeatureCache | None,
        cached_tokens: bool,
    ) -> None:
        self._image, self._segments, self._semantics, self._classes = image, segments, semantics, classes
        self._cache, self._cached_tokens = cache, cached_tokens

    @property
    def reads_photos(self) -> bool:
        """False where everything about a photo was computed in advance."""
        return not self._cached_tokens

    def view(self, row: int, rgb: NDArray[np.uint8] | None, box: Box = WHOLE, mirrored: bool = False) -> dict[str, Any]:
        """The tensors of one photo, without the batch dimension; `rgb` (height, width, 3), or None if not needed."""
        tensors: dict[str, Any] = {}
        if self._cached_tokens and self._cache is not None:
            tensors[TOKENS] = self._cache.read("tokens", row)
        elif self._image is not None:
            tensors[PIXELS] = _square(self._image, rgb, box, mirrored)
        return tensors | self._semantic_view(row, rgb, box, mirrored)

    def _semantic_view(self, row: int, rgb: NDArray[np.uint8] | None, box: Box, mirrored: bool) -> dict[str, Any]:
        if self._semantics is None or self._segments is None:
            return {}
        if self._cache is not None:
            grid = unpack_distributions(self._cache.read("segments", row).numpy(), self._classes)
            cells = _mirror(crop_grid(grid, box, self._semantics.grid), mirrored)
            return {CLASSES: torch.from_numpy(np.ascontiguousarray(cells, dtype=np.float16)).flatten(0, 1)}
        return {SEGMENT_PIXELS: _square(self._segments, rgb, box, mirrored)}


def _square(preprocessing: Preprocessing, rgb: NDArray[np.uint8] | None, box: Box, mirrored: bool) -> Tensor:
    assert rgb is not None, "photos are read where their features are not cached"  # noqa: S101  # a programming error
    return torch.from_numpy(np.ascontiguousarray(preprocessing.prepare(_mirror(crop(rgb, box), mirrored))))


def _pooled_dim(image: ImageBackbone) -> int:
    if not hasattr(image, "embeddings"):
        raise UserError(f"model.image.tokens: {image.description.name} has no pooled embedding: use patches")
    from retrieval.backbones.hugging_face import CLIP_PROJECTION_DIM

    return CLIP_PROJECTION_DIM


def _mirror(array: NDArray[Any], mirrored: bool) -> NDArray[Any]:
    return array[:, ::-1] if mirrored else array
