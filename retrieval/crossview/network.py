"""The siamese network: photos from the ground and pictures from above as vectors of one space.

As in Sample4Geo (Deuser et al. 2023, arXiv 2303.11851) one backbone with shared weights sees both views and its mean
token, normalised, is the vector. Several photos of one place make one vector: a weighted mean, or a small Transformer
whose [CLS] token is read.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from core.frozen import Frozen
from retrieval.backbones.base import ImageBackbone

Together = Literal["mean", "transformer"]


class ViewSizes(Frozen):
    """Height and width in pixels that photos and tiles are brought to; panoramas are wide."""

    ground_px: tuple[int, int] = (384, 384)
    tile_px: tuple[int, int] = (384, 384)


class CrossviewShape(Frozen):
    """The shape of the trained part."""

    dim: int = Field(0, ge=0, description="of the vectors; 0: as wide as the backbone's tokens, without a projection")
    shared: bool = Field(True, description="one backbone for both views, as published; else one each")
    together: Together = Field("mean", description="how the photos of one place, also one alone, make one vector")
    layers: int = Field(2, gt=0, description="of the Transformer over photos")
    heads: int = Field(4, gt=0)


class CrossviewNetwork(nn.Module):
    """Photos (n, k, height, width, 3) and tiles (n, height, width, 3), uint8, to L2-normalised vectors (n, dim).

    Args:
        ground: of photos, and of tiles too where the weights are shared; it is trained.
        above: of tiles; None: shared.
    """

    def __init__(self, shape: CrossviewShape, ground: ImageBackbone, above: ImageBackbone | None = None) -> None:
        super().__init__()
        self.ground = ground.requires_grad_(True)
        self.above = None if above is None else above.requires_grad_(True)
        tokens = ground.description.dim
        self.dim = shape.dim or tokens
        self.norm = nn.LayerNorm(tokens)
        self.project = nn.Linear(tokens, self.dim) if shape.dim else nn.Identity()
        self.together = PhotosTogether(self.dim, shape.layers, shape.heads) if shape.together == "transformer" else None

    def forward(self, photos: Tensor, weights: Tensor) -> Tensor:
        """Places (n, dim) from their photos.

        Args:
            photos: uint8 (n, k, height, width, 3).
            weights: (n, k), 0 where there is no photo; only the mean uses other values than 0 and 1.
        """
        each = self.each_photo(photos.flatten(0, 1)).view(*weights.shape, self.dim)
        return self.joined(each, weights)

    def joined(self, vectors: Tensor, weights: Tensor) -> Tensor:
        """One vector (n, dim) out of those of several photos (n, k, dim) with weights (n, k)."""
        if self.together is not None:
            joined: Tensor = self.together(vectors, weights)
            return joined
        return weighted_mean(vectors, weights)

    def each_photo(self, pixels: Tensor) -> Tensor:
        """Photos uint8 (n, height, width, 3), one by one, to (n, dim)."""
        return self._embed(self.ground, pixels)

    def tiles(self, pixels: Tensor) -> Tensor:
        """Tiles uint8 (n, height, width, 3) to (n, dim)."""
        return self._embed(self.ground if self.above is None else self.above, pixels)

    def _embed(self, backbone: ImageBackbone, pixels: Tensor) -> Tensor:
        pooled = self.norm(backbone(pixels).mean(dim=1))
        return nn.functional.normalize(self.project(pooled).float(), dim=-1)


class PhotosTogether(nn.Module):
    """A small Transformer over the photos of one place: its [CLS] token, added to their mean, is the place's vector."""

    def __init__(self, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.out = nn.Linear(dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, vectors: Tensor, weights: Tensor) -> Tensor:
        """(n, k, dim) with weights (n, k), 0 where there is no photo, to (n, dim); the order changes nothing."""
        start = self.token.expand(len(vectors), -1, -1)
        missing = nn.functional.pad(weights <= 0.0, (1, 0), value=False)
        read = self.layers(torch.cat([start, vectors], dim=1), src_key_padding_mask=missing)[:, 0]
        return nn.functional.normalize(weighted_mean(vectors, weights) + self.out(read).float(), dim=-1)


def weighted_mean(vectors: Tensor, weights: Tensor) -> Tensor:
    """The L2-normalised mean (n, dim) of vectors (n, k, dim) with weights (n, k) of 0 or more.

    >>> weighted_mean(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[1.0, 0.0]])).tolist()
    [[1.0, 0.0]]
    """
    return nn.functional.normalize((vectors * weights[:, :, None]).sum(dim=1).float(), dim=-1)


def prepare_view(rgb: NDArray[np.uint8], size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (height, width, 3) resized as a whole to (height, width) of the network's input."""
    if rgb.shape[:2] == size_px:
        return rgb
    resized = Image.fromarray(rgb).resize(size_px[::-1], Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(resized, dtype=np.uint8)
