"""Image backbones through `transformers`: CLIP, SigLIP 2, DINOv3.

Configurations are written out here, so that a weight file is all it takes, and
the pixels are prepared here, so that neither torchvision nor a processor's
configuration is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from retrieval.backbones.base import BackboneDescription, ImageBackbone, Weights
from retrieval.backbones.loading import build_network, resized, weights_identity

CLIP_PROJECTION_DIM = 768

_CLIP_L14: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": CLIP_PROJECTION_DIM,
}
_SIGLIP2_BASE: dict[str, Any] = {}  # every default of SiglipVisionConfig is the base model's
_DINOV3_B16: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_register_tokens": 4,
}
_TINY: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TINY_PX = 56


class ClipBackbone(ImageBackbone):
    """CLIP's patch tokens (the class token left out), and its projected embedding."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int) -> None:
        super().__init__()
        tiny = weights == "tiny"
        self.description = resized(about, TINY_PX, 16, (TINY_PX // 14) ** 2) if tiny else about
        shape = {**_CLIP_L14, **(_TINY if tiny else {}), "image_size": self.description.preprocessing.size_px}
        # The tiny one keeps the width of the embedding, so that GeoCLIP's released projection fits it.
        config = CLIPVisionConfig(**shape)
        self.network = build_network(CLIPVisionModelWithProjection, config, about.name, file, seed)
        self.identity = weights_identity(weights, file, seed)
        self.freeze()

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 224, 224, 3) to tokens (batch, 256, 1024)."""
        seen: Tensor = self.network.vision_model(self.description.preprocessing.normalise(pixels)).last_hidden_state
        return seen[:, 1:]

    def embeddings(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 224, 224, 3) to CLIP's projected embeddings (batch, 768), not normalised."""
        found: Tensor = self.network(self.description.preprocessing.normalise(pixels)).image_embeds
        return found


class SiglipBackbone(ImageBackbone):
    """SigLIP 2's patch tokens (fixed resolution, which uses the SigLIP architecture)."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int) -> None:
        super().__init__()
        tiny = weights == "tiny"
        self.description = resized(about, TINY_PX, 16, (TINY_PX // 16) ** 2) if tiny else about
        shape = {**_SIGLIP2_BASE, **(_TINY if tiny else {}), "image_size": self.description.preprocessing.size_px}
        # Its pooling head says nothing about tokens.
        config = SiglipVisionConfig(**shape, vision_use_head=False)
        self.network = build_network(SiglipVisionModel, config, about.name, file, seed)
        self.identity = weights_identity(weights, file, seed)
        self.freeze()

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 224, 224, 3) to tokens (batch, 196, 768)."""
        seen: Tensor = self.network(self.description.preprocessing.normalise(pixels)).last_hidden_state
        return seen


class Dinov3Backbone(ImageBackbone):
    """DINOv3's patch tokens (class and register tokens left out)."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int) -> None:
        super().__init__()
        tiny = weights == "tiny"
        self.description = resized(about, 64, 16, 16) if tiny else about
        config = DINOv3ViTConfig(**{**_DINOV3_B16, **(_TINY if tiny else {})})
        self.network = build_network(DINOv3ViTModel, config, about.name, file, seed)
        self.skipped = 1 + config.num_register_tokens
        self.identity = weights_identity(weights, file, seed)
        self.freeze()

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 224, 224, 3) to tokens (batch, 196, 768)."""
        seen: Tensor = self.network(self.description.preprocessing.normalise(pixels)).last_hidden_state
        return seen[:, self.skipped :]
