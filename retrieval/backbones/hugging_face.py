"""Backbones through `transformers`: CLIP, SigLIP 2 and DINOv3; SegFormer and Mask2Former.

Configurations are written out here, so that a weight file is all it takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SiglipVisionConfig,
    SiglipVisionModel,
    SwinConfig,
)

from retrieval.backbones.base import (
    BackboneDescription,
    ImageBackbone,
    Segmenter,
    Weights,
    build_network,
    resized,
    weights_identity,
)

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
        tiny = weights == "tiny"
        description = resized(about, TINY_PX, 16, (TINY_PX // 14) ** 2) if tiny else about
        shape = {**_CLIP_L14, **(_TINY if tiny else {}), "image_size": description.preprocessing.size_px}
        # The tiny one keeps the width of the embedding, so that GeoCLIP's released projection fits it.
        config = CLIPVisionConfig(**shape)
        network = build_network(CLIPVisionModelWithProjection, config, about.name, file, seed)
        super().__init__(description, network, weights_identity(weights, file, seed))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 224, 224, 3) to tokens (batch, 256, 1024)."""
        tokens: Tensor = self.network.vision_model(self.description.preprocessing.normalise(pixels)).last_hidden_state
        return tokens[:, 1:]

    def embeddings(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 224, 224, 3) to CLIP's projected embeddings (batch, 768), not normalised."""
        found: Tensor = self.network(self.description.preprocessing.normalise(pixels)).image_embeds
        return found


class SiglipBackbone(ImageBackbone):
    """SigLIP 2's patch tokens (fixed resolution, which uses the SigLIP architecture)."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int) -> None:
        tiny = weights == "tiny"
        description = resized(about, TINY_PX, 16, (TINY_PX // 16) ** 2) if tiny else about
        shape = {**_SIGLIP2_BASE, **(_TINY if tiny else {}), "image_size": description.preprocessing.size_px}
        # Tokens do without the pooling head.
        config = SiglipVisionConfig(**shape, vision_use_head=False)
        network = build_network(SiglipVisionModel, config, about.name, file, seed)
        super().__init__(description, network, weights_identity(weights, file, seed))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 224, 224, 3) to tokens (batch, 196, 768)."""
        tokens: Tensor = self.network(self.description.preprocessing.normalise(pixels)).last_hidden_state
        return tokens


class Dinov3Backbone(ImageBackbone):
    """DINOv3's patch tokens (class and register tokens left out)."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int) -> None:
        tiny = weights == "tiny"
        description = resized(about, 64, 16, 16) if tiny else about
        config = DINOv3ViTConfig(**{**_DINOV3_B16, **(_TINY if tiny else {})})
        network = build_network(DINOv3ViTModel, config, about.name, file, seed)
        super().__init__(description, network, weights_identity(weights, file, seed))
        self.first_patch = 1 + config.num_register_tokens

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 224, 224, 3) to tokens (batch, 196, 768)."""
        tokens: Tensor = self.network(self.description.preprocessing.normalise(pixels)).last_hidden_state
        return tokens[:, self.first_patch :]


ADE20K_CLASSES = 150
_LABELS: dict[str, Any] = {"num_labels": ADE20K_CLASSES}

_SEGFORMER_B5: dict[str, Any] = {
    "depths": [3, 6, 40, 3],
    "hidden_sizes": [64, 128, 320, 512],
    "decoder_hidden_size": 768,
}
_SEGFORMER_TINY: dict[str, Any] = {
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 8, 16, 16],
    "num_attention_heads": [1, 1, 2, 2],
    "decoder_hidden_size": 16,
}
_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_SWIN_LARGE: dict[str, Any] = {
    "image_size": 384,
    "embed_dim": 192,
    "depths": [2, 2, 18, 2],
    "num_heads": [6, 12, 24, 48],
    "window_size": 12,
    "drop_path_rate": 0.3,
    "out_features": _STAGES,
}
_SWIN_TINY: dict[str, Any] = {
    "image_size": 64,
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 2, 2],
    "window_size": 4,
    "out_features": _STAGES,
}
_MASK2FORMER_TINY: dict[str, Any] = {
    "feature_size": 32,
    "mask_feature_size": 32,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 16,
    "dim_feedforward": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "num_queries": 5,
}


class SegformerSegmenter(Segmenter):
    """SegFormer-B5 fine-tuned on ADE20K: a probability for each of 150 classes, every fourth pixel."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int, grid: int) -> None:
        tiny = weights == "tiny"
        description = resized(about, 64, ADE20K_CLASSES, None) if tiny else about
        shape = _SEGFORMER_TINY if tiny else _SEGFORMER_B5
        config = SegformerConfig(**shape, **_LABELS)
        network = build_network(SegformerForSemanticSegmentation, config, about.name, file, seed)
        super().__init__(description, network, weights_identity(weights, file, seed), grid)

    def probabilities(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 640, 640, 3) to (batch, 150, 160, 160)."""
        logits: Tensor = self.network(self.description.preprocessing.normalise(pixels)).logits
        return torch.softmax(logits.float(), dim=1)


class Mask2FormerSegmenter(Segmenter):
    """Mask2Former (Swin-L) on ADE20K: each query's class times its mask, made to sum to 1 in every cell."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int, grid: int) -> None:
        tiny = weights == "tiny"
        description = resized(about, 64, ADE20K_CLASSES, None) if tiny else about
        swin = SwinConfig(**(_SWIN_TINY if tiny else _SWIN_LARGE))
        shape = _MASK2FORMER_TINY if tiny else {"num_queries": 100}
        config = Mask2FormerConfig(backbone_config=swin, **shape, **_LABELS)
        network = build_network(Mask2FormerForUniversalSegmentation, config, about.name, file, seed)
        super().__init__(description, network, weights_identity(weights, file, seed), grid)

    def probabilities(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 384, 384, 3) to (batch, 150, 96, 96)."""
        found = self.network(self.description.preprocessing.normalise(pixels))
        classes = torch.softmax(found.class_queries_logits.float(), dim=-1)[..., :-1]
        masks = torch.sigmoid(found.masks_queries_logits.float())
        scores = torch.einsum("bqc,bqhw->bchw", classes, masks)
        return scores / scores.sum(dim=1, keepdim=True).clamp(min=1e-8)
