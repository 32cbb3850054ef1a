"""The network of `compact`."""

from __future__ import annotations

import torch
from torch import nn

from retrieval.backbones.compact import BACKBONE_STRIDE, CLASSES, CompactBackbone
from retrieval.encoders.fusion import DualViewEncoder, FusionEncoder
from retrieval.location.fourier import FourierCapsules
from retrieval.training.config import CompactShape


class CompactModel(nn.Module):
    """Everything that is trained and shipped: photos to views, positions to vectors."""

    def __init__(self, shape: CompactShape, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        tokens = (shape.size_px // BACKBONE_STRIDE) ** 2
        backbone = CompactBackbone(shape.widths, shape.blocks)
        fusion = FusionEncoder(
            shape.widths[-1],
            CLASSES,
            shape.dim,
            shape.heads,
            shape.layers,
            shape.modality_dropout,
            image_tokens=tokens,
            semantic_tokens=tokens,
        )
        self.photos = DualViewEncoder(backbone, fusion)
        self.points = FourierCapsules(shape.dim, shape.sigmas, shape.frequencies, shape.hidden, seed)
