"""Semantic backbones through `transformers`: SegFormer-B5 and Mask2Former, both for ADE20K's 150 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
)

from retrieval.backbones.base import BackboneDescription, Segmenter, Weights
from retrieval.backbones.loading import build_network, resized, weights_identity

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
        super().__init__()
        tiny = weights == "tiny"
        self.description, self.grid = resized(about, 64, ADE20K_CLASSES, None) if tiny else about, grid
        shape = _SEGFORMER_TINY if tiny else _SEGFORMER_B5
        config = SegformerConfig(**shape, **_LABELS)
        self.network = build_network(SegformerForSemanticSegmentation, config, about.name, file, seed)
        self.identity = weights_identity(weights, file, seed)
        self.freeze()

    def probabilities(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 640, 640, 3) to (batch, 150, 160, 160)."""
        logits: Tensor = self.network(self.description.preprocessing.normalise(pixels)).logits
        return torch.softmax(logits.float(), dim=1)


class Mask2FormerSegmenter(Segmenter):
    """Mask2Former (Swin-L) on ADE20K: each query's class times its mask, made to sum to 1 in every cell."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int, grid: int) -> None:
        super().__init__()
        tiny = weights == "tiny"
        self.description, self.grid = resized(about, 64, ADE20K_CLASSES, None) if tiny else about, grid
        swin = SwinConfig(**(_SWIN_TINY if tiny else _SWIN_LARGE))
        shape = _MASK2FORMER_TINY if tiny else {"num_queries": 100}
        config = Mask2FormerConfig(backbone_config=swin, **shape, **_LABELS)
        self.network = build_network(Mask2FormerForUniversalSegmentation, config, about.name, file, seed)
        self.identity = weights_identity(weights, file, seed)
        self.freeze()

    def probabilities(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 384, 384, 3) to (batch, 150, 96, 96)."""
        found = self.network(self.description.preprocessing.normalise(pixels))
        classes = torch.softmax(found.class_queries_logits.float(), dim=-1)[..., :-1]
        masks = torch.sigmoid(found.masks_queries_logits.float())
        scores = torch.einsum("bqc,bqhw->bchw", classes, masks)
        return scores / scores.sum(dim=1, keepdim=True).clamp(min=1e-8)
