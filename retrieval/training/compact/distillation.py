"""First phase of `compact`: distil a backbone from scratch from an image and a segmentation teacher."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from retrieval.backbones.compact import CompactBackbone
from retrieval.training.compact.crop_cache import CropBatch, CropCache
from retrieval.training.config import CompactConfig, CompactShape, DistilConfig
from retrieval.training.distributed import ProcessGroup
from retrieval.training.gradient_cache import Part, Tensors
from retrieval.training.losses import relational_loss
from retrieval.training.trainer import Batch
from retrieval.training.validation import Scores


def flip(batch: Tensor, flipped: Tensor, dim: int) -> Tensor:
    """Mirror the rows of `batch` where `flipped` (batch,) is true, along `dim`."""
    shape = (-1, *[1] * (batch.dim() - 1))
    return torch.where(flipped.view(shape), batch.flip(dim), batch)


def jitter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness and contrast within 40 %, saturation from grey to 1.6, as one colour matrix a photo.

    (batch, 3, h, w) in 0..255 to the same.
    """
    brightness, contrast = (1.0 + 0.4 * _uniform(pixels, generator) for _ in range(2))
    saturation = 0.8 + 0.8 * _uniform(pixels, generator)
    same = torch.eye(3, device=pixels.device)
    colour = saturation * same + (1.0 - saturation) / 3.0
    level = pixels.mean(dim=(1, 2, 3)).view(-1, 1, 1)
    offset = (1.0 - contrast) * brightness * level
    mixed = torch.baddbmm(offset, contrast * brightness * colour, pixels.flatten(2))
    return mixed.clamp_(0.0, 255.0).view_as(pixels)


def erase(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Grey out one rectangle of up to 40 % of each side in three photos of ten (Zhong et al. 2020)."""
    batch, _, height, width = pixels.shape
    rows, columns = (torch.linspace(0.0, 1.0, size, device=pixels.device) for size in (height, width))
    centre = torch.rand(batch, 2, 1, generator=generator, device=pixels.device)
    half = 0.2 * torch.rand(batch, 2, 1, generator=generator, device=pixels.device)
    half = half * (torch.rand(batch, 1, 1, generator=generator, device=pixels.device) < 0.3)
    inside_rows = (rows - centre[:, 0]).abs() < half[:, 0]
    inside_columns = (columns - centre[:, 1]).abs() < half[:, 1]
    hole = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return torch.where(hole, torch.full_like(pixels, 114.0), pixels)


def _uniform(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(batch, 1, 1) in [-1, 1)."""
    return 2.0 * torch.rand(len(pixels), 1, 1, generator=generator, device=pixels.device) - 1.0


TEACHER_DIM = 1024
PIXELS, TOKENS, CLASS_LOGITS = "pixels", "tokens", "class_logits"
TEACHER_TOKENS, TEACHER_SEGMENTS = "teacher_tokens", "teacher_segments"


class Student(nn.Module):
    """The backbone with a projection onto the teacher's channels, which is not part of the shipped encoder."""

    def __init__(self, shape: CompactShape, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = CompactBackbone(shape.widths, shape.blocks)
        self.project = nn.Linear(shape.widths[-1], TEACHER_DIM)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (batch, 3, size, size) to tokens (batch, tokens, 1024) and class logits (batch, 19, h, w)."""
        output = self.backbone(pixels)
        return self.project(output.tokens), output.class_logits


class ChannelScale(NamedTuple):
    """Mean and standard deviation of each teacher channel, (1024,), so that no channel outweighs the others."""

    mean: Tensor
    std: Tensor


def teacher_scale(cache: CropCache) -> ChannelScale:
    """Measured on the whole-photo crops of this run's photos."""
    tokens = torch.from_numpy(cache.tokens[cache.photos, 0].astype(np.float32)).flatten(0, 2)
    return ChannelScale(tokens.mean(dim=0), tokens.std(dim=0) + 1.0)


def distillation_terms(config: DistilConfig, outputs: Tensors, scale: ChannelScale) -> dict[str, Tensor]:
    """Weighted token, pooled, relational and segmentation terms, scalars; each about 1 for an untrained student."""
    tokens, class_logits = outputs[TOKENS], outputs[CLASS_LOGITS]
    wanted = (_regrid(outputs[TEACHER_TOKENS], tokens.shape[1]) - scale.mean) / scale.std
    segments = nn.functional.adaptive_avg_pool2d(outputs[TEACHER_SEGMENTS], class_logits.shape[-1])
    pooled, wanted_pooled = (nn.functional.normalize(t.float().mean(dim=1), dim=-1) for t in (tokens, wanted))
    return {
        "token": config.token_weight * nn.functional.smooth_l1_loss(tokens.float(), wanted),
        "pooled": config.pooled_weight * (1.0 - (pooled * wanted_pooled).sum(dim=-1)).mean(),
        "relation": config.relation_weight * relational_loss(pooled, wanted_pooled),
        "segment": config.segment_weight * segmentation_loss(class_logits, segments),
    }


def segmentation_loss(class_logits: Tensor, distributions: Tensor) -> Tensor:
    """KL divergence of predicted from wanted class distributions, both (batch, classes, h, w), averaged over cells."""
    found = torch.log_softmax(class_logits.float(), dim=1)
    pointwise = nn.functional.kl_div(found, distributions, reduction="none")
    return pointwise.sum(dim=1).mean()


def _regrid(tokens: Tensor, count: int) -> Tensor:
    """Square token grids (batch, n, channels) averaged down to `count` tokens."""
    grid = _square(tokens).permute(0, 3, 1, 2)
    return nn.functional.adaptive_avg_pool2d(grid, math.isqrt(count)).flatten(2).transpose(1, 2)


def _square(tokens: Tensor) -> Tensor:
    """Tokens (batch, n, channels) as a square grid (batch, side, side, channels)."""
    batch, count, channels = tokens.shape
    return tokens.view(batch, math.isqrt(count), math.isqrt(count), channels)


class DistillationTask:
    """Implements `retrieval.training.trainer.Task` on cached crops and the teachers' outputs."""

    def __init__(self, config: CompactConfig, cache: CropCache, process_group: ProcessGroup) -> None:
        self._config, self._cache, self._process_group = config, cache, process_group
        student = Student(config.model, config.seed)
        self.model = student.to(process_group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack this documented form
        self.objective = nn.Module()
        self._scale = ChannelScale(*(one.to(process_group.device) for one in teacher_scale(cache)))
        self._batch = config.distil.loop.batch
        self.steps_per_epoch = len(cache.pairs()) // self._batch

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The augmented crops of steps first..last-1; the augmentation depends on the step alone."""
        device = self._process_group.device
        for step in range(first, last):
            epoch, inside = divmod(step, self.steps_per_epoch)
            order = np.random.default_rng([self._config.seed, epoch]).permutation(self._cache.pairs())
            pairs = order[inside * self._batch : (inside + 1) * self._batch]
            crops = self._cache.batch(pairs[self._process_group.local_slice(len(pairs))], device)
            seed = (self._config.seed * 1_009 + step) * 64 + self._process_group.rank
            tensors = self._augmented(crops, epoch, torch.Generator(device).manual_seed(seed))
            yield Batch([Part("crops", tensors)], {"rows": torch.arange(len(crops.pixels), device=device)})

    def _augmented(self, crops: CropBatch, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        flipped = torch.rand(len(crops.pixels), generator=generator, device=self._process_group.device) < 0.5
        pixels = flip(crops.pixels, flipped, 3)
        if epoch < self._config.distil.small_epochs:
            size_px = self._config.distil.small_px
            pixels = nn.functional.interpolate(pixels, (size_px, size_px), mode="bilinear", antialias=True)
        return {
            PIXELS: erase(jitter(pixels, generator), generator).contiguous(memory_format=torch.channels_last),
            TEACHER_TOKENS: flip(_square(crops.tokens), flipped, 2).flatten(1, 2),
            TEACHER_SEGMENTS: flip(crops.segments, flipped, 3),
        }

    def embed(self, part: Part) -> dict[str, Tensor]:
        """The student's outputs, with the teachers'."""
        tokens, class_logits = self.model(part.tensors[PIXELS])
        teachers = {name: part.tensors[name] for name in (TEACHER_TOKENS, TEACHER_SEGMENTS)}
        return {TOKENS: tokens.float(), CLASS_LOGITS: class_logits.float(), **teachers}

    def loss(self, embeddings: Tensors, labels: Tensors) -> dict[str, Tensor]:  # noqa: ARG002  # the protocol's
        """The terms of `distillation_terms`."""
        return distillation_terms(self._config.distil, embeddings, self._scale)

    def after_step(self, labels: Tensors) -> None:
        """Does nothing."""

    def validate(self) -> Scores:
        """No scores: the last averaged weights are kept."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing beside the weights."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Does nothing."""
