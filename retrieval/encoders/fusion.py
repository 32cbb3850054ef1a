"""The fusion encoder: image tokens and segmentation tokens, attending to each other. Needs torch.

After DualGeo (arXiv 2604.25533: bidirectional cross-attention of an image and
a segmentation stream, residual and norm), with one difference: attention runs
over the tokens of one photo, never over the batch, so a photo's vectors depend
on nothing but the photo.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from retrieval.backbones.compact import CompactBackbone, class_distributions


class Views(NamedTuple):
    """Three L2-normalised vectors of each photo, each (batch, dim).

    The semantic vector of a photo without semantics is zero: its cosine with everything is 0.
    """

    image: Tensor
    semantic: Tensor
    fused: Tensor


class CrossAttention(nn.Module):
    """Multi-head attention from one stream's tokens to the other's, with residual (Vaswani et al. 2017).

    Where every token of the other stream is masked, the querying tokens stay as they are.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} is not divisible by heads {heads}")
        self.heads = heads
        self.ask_norm, self.answer_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out, self.dropout = nn.Linear(dim, dim), nn.Dropout(dropout)

    def forward(self, queries: Tensor, context: Tensor, context_mask: Tensor | None = None) -> Tensor:
        """Both (batch, tokens, dim), the mask (batch, tokens of `context`), True for real; shaped as `queries`."""
        normed = self.answer_norm(context)
        query = self._split(self.query(self.ask_norm(queries)))
        key, value = self._split(self.key(normed)), self._split(self.value(normed))
        if context_mask is None:
            return queries + self._joined(nn.functional.scaled_dot_product_attention(query, key, value))
        present = context_mask.any(dim=1, keepdim=True)
        # A softmax over nothing is not a number: such a row attends to everything and is then left out.
        open_mask = (context_mask | ~present)[:, None, None, :]
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=open_mask)
        return queries + self._joined(mixed) * present[:, :, None].to(queries.dtype)

    def _split(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) to (batch, heads, tokens, dim / heads)."""
        batch, length, dim = tokens.shape
        return tokens.reshape(batch, length, self.heads, dim // self.heads).transpose(1, 2)

    def _joined(self, mixed: Tensor) -> Tensor:
        projected: Tensor = self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return projected


class FeedForward(nn.Module):
    """A residual two-layer network on every token; shapes do not change."""

    def __init__(self, dim: int, expansion: int, dropout: float) -> None:
        super().__init__()
        inner = expansion * dim
        self.layers = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, inner), nn.GELU(), nn.Linear(inner, dim), nn.Dropout(dropout)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) to the same."""
        changed: Tensor = self.layers(tokens)
        return tokens + changed


class FusionLayer(nn.Module):
    """Cross-attention both ways at once, then a feed-forward network on each stream (if `expansion` is not 0)."""

    def __init__(self, dim: int, heads: int, expansion: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.to_semantic = CrossAttention(dim, heads, dropout)
        self.to_image = CrossAttention(dim, heads, dropout)
        # The attribute names are those of the saved weights.
        self.image_think, self.semantic_think = (
            FeedForward(dim, expansion, dropout) if expansion else nn.Identity() for _ in range(2)
        )

    def forward(
        self, image: Tensor, semantic: Tensor, image_mask: Tensor | None, semantic_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Both streams (batch, tokens, dim) and their masks to both streams."""
        image_with_semantic = self.to_semantic(image, semantic, semantic_mask)
        semantic_with_image = self.to_image(semantic, image, image_mask)
        return self.image_think(image_with_semantic), self.semantic_think(semantic_with_image)


class Head(nn.Module):
    """A residual layer and L2 normalisation: pooled (batch, inputs) to (batch, dim)."""

    def __init__(self, inputs: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.straight = nn.Linear(inputs, dim)
        self.bent = nn.Sequential(nn.Linear(inputs, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, dim))

    def forward(self, pooled: Tensor) -> Tensor:
        """(batch, inputs) to L2-normalised (batch, dim)."""
        normed = self.norm(pooled)
        return nn.functional.normalize((self.straight(normed) + self.bent(normed)).float(), dim=-1)


def masked_mean(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of the real tokens (batch, tokens, dim), as (batch, dim); zero where there is none."""
    if mask is None:
        return tokens.mean(dim=1)
    real = mask[:, :, None].to(tokens.dtype)
    return (tokens * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0)


class FusionEncoder(nn.Module):
    """Token-level bidirectional cross-attention between the two streams of a photo.

    The image and the semantic vector come from their own stream before it
    attends to the other, so that each view can be evaluated alone; the fused
    vector comes from both streams afterwards. Zero layers are plain
    concatenation of the pooled streams.

    A photo without semantics (`class_distributions` None, every token masked,
    or dropped in training) still has a fused vector: a learned vector, trained
    only if `modality_dropout` is not 0, stands for the semantic stream.

    Args:
        image_dim: channels of an image token.
        semantic_dim: classes of a semantic token.
        dim: of the streams and of the three vectors.
        modality_dropout: share of photos whose semantics the fused vector does without in training; their
            semantic vector is not dropped, since it is trained on its own.
        image_tokens: most image tokens a photo can have (each place has a learned vector).
        expansion: of the feed-forward network after attention; 0 has none, as published.
        dropout: in the heads, and in the layers' residual branches where `expansion` is not 0.
    """

    def __init__(
        self,
        image_dim: int,
        semantic_dim: int,
        dim: int,
        heads: int,
        layers: int = 1,
        modality_dropout: float = 0.0,
        *,
        image_tokens: int = 256,
        semantic_tokens: int = 256,
        expansion: int = 0,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.modality_dropout = modality_dropout
        self.image_in = nn.Sequential(nn.LayerNorm(image_dim), nn.Linear(image_dim, dim))
        self.semantic_in = nn.Linear(semantic_dim, dim)
        self.image_place = nn.Parameter(torch.randn(1, image_tokens, dim) * 0.02)
        self.semantic_place = nn.Parameter(torch.randn(1, semantic_tokens, dim) * 0.02)
        self.no_semantic = nn.Parameter(torch.zeros(1, dim))
        inner = dropout if expansion else 0.0
        self.layers = nn.ModuleList(FusionLayer(dim, heads, expansion, inner) for _ in range(layers))
        self.image_head, self.semantic_head = Head(dim, dim, dropout), Head(dim, dim, dropout)
        self.fused_head = Head(2 * dim, dim, dropout)

    def forward(
        self,
        image_tokens: Tensor,
        class_distributions: Tensor | None,
        image_mask: Tensor | None = None,
        semantic_mask: Tensor | None = None,
    ) -> Views:
        """Three vectors of each photo.

        Args:
            image_tokens: (batch, tokens, image_dim).
            class_distributions: (batch, tokens, semantic_dim), each token summing to 1; None without semantics.
            image_mask: bool (batch, image tokens), True for a real token; None if all are.
            semantic_mask: likewise; a row without any True is a photo without semantics.
        """
        image = self.image_in(_real(image_tokens, image_mask)) + _places(self.image_place, image_tokens)
        image_view = self.image_head(masked_mean(image, image_mask))
        if class_distributions is None:
            return self._without_semantics(image, image_mask, image_view)
        semantic = self.semantic_in(_real(class_distributions, semantic_mask))
        semantic = semantic + _places(self.semantic_place, class_distributions)
        semantic_view = self.semantic_head(masked_mean(semantic, semantic_mask))
        if semantic_mask is not None:
            semantic_view = semantic_view * semantic_mask.any(dim=1, keepdim=True).to(semantic_view.dtype)
        kept = self._kept(semantic, semantic_mask)
        return Views(image_view, semantic_view, self._fused(image, semantic, image_mask, kept))

    def _kept(self, semantic: Tensor, mask: Tensor | None) -> Tensor | None:
        """The semantic mask, less the photos whose semantics this training step does without."""
        if not self.training or self.modality_dropout == 0.0:
            return mask
        kept = torch.rand(len(semantic), 1, device=semantic.device) >= self.modality_dropout
        return kept.expand(semantic.shape[:2]) if mask is None else mask & kept

    def _fused(
        self, image: Tensor, semantic: Tensor, image_mask: Tensor | None, semantic_mask: Tensor | None
    ) -> Tensor:
        for layer in self.layers:
            image, semantic = layer(image, semantic, image_mask, semantic_mask)
        pooled = masked_mean(semantic, semantic_mask)
        if semantic_mask is not None:
            pooled = torch.where(semantic_mask.any(dim=1, keepdim=True), pooled, self.no_semantic.to(pooled.dtype))
        fused: Tensor = self.fused_head(torch.cat([masked_mean(image, image_mask), pooled], dim=-1))
        return fused

    def _without_semantics(self, image: Tensor, image_mask: Tensor | None, image_view: Tensor) -> Views:
        for layer in self.layers:
            assert isinstance(layer, FusionLayer), "the list holds fusion layers"  # noqa: S101  # for the type checker
            image = layer.image_think(image)
        absent = self.no_semantic.to(image.dtype).expand(len(image), -1)
        fused = self.fused_head(torch.cat([masked_mean(image, image_mask), absent], dim=-1))
        return Views(image_view, torch.zeros_like(image_view), fused)


def _real(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """The tokens with padding zeroed, so that whatever it held, even NaN, cannot reach a photo's vectors."""
    return tokens if mask is None else tokens.masked_fill(~mask[:, :, None], 0.0)


def _places(places: Tensor, tokens: Tensor) -> Tensor:
    """The learned vectors of the first places, one a token."""
    if tokens.shape[1] > places.shape[1]:
        raise ValueError(f"{tokens.shape[1]} tokens for {places.shape[1]} places: build FusionEncoder with more")
    return places[:, : tokens.shape[1]]


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
