"""The trained networks of `recipe: fusion`: fusion of a photo's two token streams, GPS encoder, text encoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from retrieval.encoders.fusion import FusionEncoder, Views
from retrieval.location.registry import build_location_encoder
from retrieval.training.config import TowersConfig
from retrieval.training.gradient_cache import Tensors
from retrieval.training.run_folder import load_exactly, read_weights
from retrieval.training.text_tower import TextTower, build_text_tower

TOKENS, CLASSES, POSITIONS, TEXTS = "tokens", "distributions", "positions", "texts"
"""Names of a batch's tensors: (n, tokens, dim), (n, cells, classes), (n, 2) degrees, (n, length) integers."""


class TokenShape(NamedTuple):
    """Sizes of what the frozen backbones compute.

    Attributes:
        image_dim: channels of an image token.
        classes: of the segmentation; 1 where there is none.
        semantic_tokens: how many cells; 1 where there is none.
    """

    image_dim: int
    image_tokens: int
    classes: int = 1
    semantic_tokens: int = 1


class Towers(nn.Module):
    """Photos (as tokens), positions and texts to L2-normalised vectors of one space.

    Raises:
        UserError: weights to start from that are missing or do not fit.
    """

    def __init__(self, config: TowersConfig, shape: TokenShape, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        fusion = config.fusion
        self.fusion = FusionEncoder(
            shape.image_dim,
            shape.classes,
            config.dim,
            fusion.heads,
            fusion.layers,
            fusion.modality_dropout,
            image_tokens=shape.image_tokens,
            semantic_tokens=shape.semantic_tokens,
            expansion=fusion.expansion,
            dropout=fusion.dropout,
        )
        self.location = build_location_encoder(config.location.encoder, config.dim, config.location.options)
        self.text: TextTower | None = build_text_tower(config.text, config.dim) if config.text else None
        if config.location.weights is not None:
            load_exactly(self.location, read_weights(config.location.weights), config.location.weights)
        if config.start is not None:
            load_exactly(self, read_weights(config.start), config.start)

    def forward(self, photos: Tensors) -> dict[str, Tensor]:
        """Vectors (n, dim) by view, of the views whose inputs are given; see `TOKENS` for the inputs' shapes."""
        views: Views = self.fusion(photos[TOKENS], photos.get(CLASSES))
        vectors = {"image": views.image, "fused": views.fused}
        if CLASSES in photos:
            vectors["semantic"] = views.semantic
        if POSITIONS in photos:
            vectors["gps"] = self.location(photos[POSITIONS])
        if self.text is not None and TEXTS in photos:
            vectors["text"] = self.text(photos[TEXTS])
        return vectors
