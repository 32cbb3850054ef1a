"""First phase of `compact`: a backbone from scratch learns to see as its teachers do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from retrieval.backbones.registry import CompactBackbone
from retrieval.training.compact import losses
from retrieval.training.compact.augment import disturb, flip
from retrieval.training.compact.crop_cache import CropBatch, CropCache
from retrieval.training.config import DistilConfig, ModelConfig, TrainingConfig
from retrieval.training.distributed import ProcessGroup
from retrieval.training.gradient_cache import Part, Tensors
from retrieval.training.trainer import Batch, Scores

TEACHER_DIM = 1024
SEEN, LOGITS, WANTED_TOKENS, WANTED_SEGMENTS = "tokens", "class_logits", "wanted_tokens", "wanted_segments"


class Student(nn.Module):
    """The backbone with a projection onto the teacher's channels, which is thrown away afterwards."""

    def __init__(self, shape: ModelConfig, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = CompactBackbone(shape.widths, shape.blocks)
        self.project = nn.Linear(shape.widths[-1], TEACHER_DIM)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels to (teacher-like tokens (batch, tokens, 1024), class logits)."""
        seen = self.backbone(pixels)
        return self.project(seen.tokens), seen.class_logits


class Scale(NamedTuple):
    """Mean and standard deviation of each teacher channel, (1024,), so that no channel drowns the others."""

    mean: Tensor
    std: Tensor


def teacher_scale(cache: CropCache) -> Scale:
    """Measured on the whole-photo crops of this run's photos."""
    tokens = torch.from_numpy(cache.tokens[cache.photos, 0].astype(np.float32)).flatten(0, 2)
    return Scale(tokens.mean(dim=0), tokens.std(dim=0) + 1.0)


def distil_terms(config: DistilConfig, seen: Tensors, scale: Scale) -> dict[str, Tensor]:
    """Weighted token, pooled, relational and segmentation terms; each is about 1 for an untrained student."""
    tokens, class_logits = seen[SEEN], seen[LOGITS]
    wanted = (_regrid(seen[WANTED_TOKENS], tokens.shape[1]) - scale.mean) / scale.std
    segments = nn.functional.adaptive_avg_pool2d(seen[WANTED_SEGMENTS], class_logits.shape[-1])
    pooled, wanted_pooled = (nn.functional.normalize(t.float().mean(dim=1), dim=-1) for t in (tokens, wanted))
    return {
        "token": config.token_weight * nn.functional.smooth_l1_loss(tokens.float(), wanted),
        "pooled": config.pooled_weight * (1.0 - (pooled * wanted_pooled).sum(dim=-1)).mean(),
        "relation": config.relation_weight * losses.relation(pooled, wanted_pooled),
        "segment": config.segment_weight * losses.segmentation(class_logits, segments),
    }


def _regrid(tokens: Tensor, count: int) -> Tensor:
    """Square token grids (batch, n, channels) averaged down to `count` tokens."""
    grid = _square(tokens).permute(0, 3, 1, 2)
    return nn.functional.adaptive_avg_pool2d(grid, math.isqrt(count)).flatten(2).transpose(1, 2)


def _square(tokens: Tensor) -> Tensor:
    """Tokens (batch, n, channels) as a square grid (batch, side, side, channels)."""
    batch, count, channels = tokens.shape
    return tokens.view(batch, math.isqrt(count), math.isqrt(count), channels)


class Distillation:
    """Implements `retrieval.training.trainer.Task`: crops, and what the teachers say of them."""

    def __init__(self, config: TrainingConfig, cache: CropCache, process_group: ProcessGroup) -> None:
        self._config, self._cache, self._world = config, cache, process_group
        student = Student(config.model, config.seed)
        self.model = student.to(process_group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack this documented form
        self.objective = nn.Module()
        self._scale = Scale(*(one.to(process_group.device) for one in teacher_scale(cache)))
        self.photos_per_step = config.distil.loop.batch
        self.steps_per_epoch = len(cache.pairs()) // self.photos_per_step

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The crops of steps first..last-1, mirrored and disturbed; what is done to them depends on the step alone."""
        for step in range(first, last):
            epoch, inside = divmod(step, self.steps_per_epoch)
            order = np.random.default_rng([self._config.seed, epoch]).permutation(self._cache.pairs())
            whole = order[inside * self.photos_per_step : (inside + 1) * self.photos_per_step]
            crops = self._cache.batch(whole[self._world.share(len(whole))], self._world.device)
            generator = torch.Generator(self._world.device).manual_seed(
                (self._config.seed * 1_009 + step) * 64 + self._world.rank
            )
            tensors = self._changed(crops, epoch, generator)
            yield Batch([Part("crops", tensors)], {"rows": torch.arange(len(crops.pixels), device=self._world.device)})

    def _changed(self, crops: CropBatch, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        flipped = torch.rand(len(crops.pixels), generator=generator, device=self._world.device) < 0.5
        pixels = flip(crops.pixels, flipped, 3)
        if epoch < self._config.distil.small_epochs:
            size_px = self._config.distil.small_px
            pixels = nn.functional.interpolate(pixels, (size_px, size_px), mode="bilinear", antialias=True)
        return {
            "pixels": disturb(pixels, generator).contiguous(memory_format=torch.channels_last),
            WANTED_TOKENS: flip(_square(crops.tokens), flipped, 2).flatten(1, 2),
            WANTED_SEGMENTS: flip(crops.segments, flipped, 3),
        }

    def embed(self, part: Part) -> dict[str, Tensor]:
        """What the student sees, beside what it should see."""
        tokens, class_logits = self.model(part.tensors["pixels"])
        wanted = {name: part.tensors[name] for name in (WANTED_TOKENS, WANTED_SEGMENTS)}
        return {SEEN: tokens.float(), LOGITS: class_logits.float(), **wanted}

    def loss(self, embeddings: Tensors, labels: Tensors) -> dict[str, Tensor]:  # noqa: ARG002  # the protocol's
        """The terms of `distil_terms`."""
        return distil_terms(self._config.distil, embeddings, self._scale)

    def after_step(self, labels: Tensors) -> None:
        """Nothing to remember."""

    def validate(self) -> Scores:
        """Nothing to choose between: the last averaged weights are kept."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing beside the weights."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing beside the weights."""
