"""The fusion encoder: image tokens and segmentation tokens, attending to each other.

Attention runs over the tokens of one photo, never over the batch, so a
photo's vectors depend on nothing but the photo. Needs torch; inference does not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from retrieval.backbones import CLASSES, CompactBackbone, class_distributions


class Views(NamedTuple):
    """Three L2-normalised vectors of each photo, each (batch, dim)."""

    image: Tensor
    semantic: Tensor
    fused: Tensor


class CrossAttention(nn.Module):
    """Tokens of one stream ask, tokens of the other answer (Vaswani et al. 2017), with residual."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask_norm, self.answer_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, asking: Tensor, answering: Tensor) -> Tensor:
        """Both (batch, tokens, dim); the result is shaped as `asking`."""
        answers = self.answer_norm(answering)
        query = self._split(self.query(self.ask_norm(asking)))
        key, value = self._split(self.key(answers)), self._split(self.value(answers))
        weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)
        mixed: Tensor = (weights @ value).transpose(1, 2).flatten(2)
        answered: Tensor = self.out(mixed)
        return asking + answered

    def _split(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) to (batch, heads, tokens, dim / heads)."""
        batch, length, dim = tokens.shape
        return tokens.reshape(batch, length, self.heads, dim // self.heads).transpose(1, 2)


class Head(nn.Module):
    """Mean over tokens, then a residual layer and L2 normalisation: (batch, tokens, inputs) to (batch, dim)."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.straight = nn.Linear(inputs, dim)
        self.bent = nn.Sequential(nn.Linear(inputs, dim), nn.GELU(), nn.Dropout(0.2), nn.Linear(dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Shapes as in the class's text."""
        pooled = self.norm(tokens.mean(dim=1))
        return nn.functional.normalize(self.straight(pooled) + self.bent(pooled), dim=-1)


class FusionEncoder(nn.Module):
    """Token-level bidirectional cross-attention between the two streams of a photo.

    The image and the semantic vector come from their own stream before it has
    seen the other, so that each view can be judged alone; the fused vector
    comes from both streams after they attended to each other.
    """

    def __init__(self, image_dim: int, dim: int, heads: int, tokens: int = 25) -> None:
        super().__init__()
        self.image_in = nn.Sequential(nn.LayerNorm(image_dim), nn.Linear(image_dim, dim))
        self.semantic_in = nn.Linear(CLASSES, dim)
        self.image_place = nn.Parameter(torch.randn(1, tokens, dim) * 0.02)
        self.semantic_place = nn.Parameter(torch.randn(1, tokens, dim) * 0.02)
        self.to_semantic, self.to_image = CrossAttention(dim, heads), CrossAttention(dim, heads)
        self.image_head, self.semantic_head = Head(dim, dim), Head(dim, dim)
        self.fused_head = Head(2 * dim, dim)

    def forward(self, image_tokens: Tensor, distributions: Tensor) -> Views:
        """Image tokens (batch, tokens, image_dim) and class distributions (batch, tokens, 19) to three vectors."""
        image = self.image_in(image_tokens) + self.image_place
        semantic = self.semantic_in(distributions) + self.semantic_place
        both = torch.cat([self.to_semantic(image, semantic), self.to_image(semantic, image)], dim=-1)
        return Views(self.image_head(image), self.semantic_head(semantic), self.fused_head(both))


class DualViewEncoder(nn.Module):
    """Backbone and fusion: pixels to three vectors."""

    def __init__(self, backbone: CompactBackbone, fusion: FusionEncoder) -> None:
        super().__init__()
        self.backbone, self.fusion = backbone, fusion

    def forward(self, pixels: Tensor) -> Views:
        """Pixels uint8 or float (batch, size, size, 3) in 0..255."""
        seen = self.backbone(pixels.permute(0, 3, 1, 2).float())
        views: Views = self.fusion(seen.tokens, class_distributions(seen.class_logits))
        return views
