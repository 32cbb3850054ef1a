"""Build the networks a configuration describes, and keep them on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import UserError
from core.files import replacing
from retrieval.backbones.registry import BACKBONE_STRIDE, CLASSES, CompactBackbone
from retrieval.encoders.fusion import DualViewEncoder, FusionEncoder
from retrieval.location.registry import FourierCapsules
from retrieval.training.config import ModelConfig


class CompactModel(nn.Module):
    """Everything that is trained and shipped: photos to views, positions to vectors."""

    def __init__(self, shape: ModelConfig, seed: int) -> None:
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
        self.points = FourierCapsules(shape.sigmas, shape.frequencies, shape.hidden, shape.dim, seed)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a training state so that a kill leaves the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        torch.save(state, part)


def load(path: Path, what: str) -> dict[str, Any]:
    """A training state written by `save`; only tensors and plain values are unpickled.

    Raises:
        UserError: no such file.
    """
    if not path.is_file():
        raise UserError(f"no {what} at {path}: run python -m retrieval.training.train first")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
