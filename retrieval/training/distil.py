"""First phase: a backbone from scratch learns to see as its teachers do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from geo.errors import UserError
from retrieval.backbones import CompactBackbone
from retrieval.training import losses
from retrieval.training.augment import disturb, flip
from retrieval.training.cache import Batch, CropCache
from retrieval.training.config import DistilConfig, ModelConfig, TrainingConfig
from retrieval.training.model import device_of, load, save

TEACHER_DIM = 1024
EMA_DECAY = 0.998


class Student(nn.Module):
    """The backbone with a projection onto the teacher's channels, which is thrown away afterwards."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
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


def distil_loss(config: DistilConfig, tokens: Tensor, class_logits: Tensor, batch: Batch, scale: Scale) -> Tensor:
    """Weighted sum of token, pooled, relational and segmentation terms; each is about 1 for an untrained student."""
    wanted = (_regrid(batch.tokens, tokens.shape[1]) - scale.mean) / scale.std
    segments = nn.functional.adaptive_avg_pool2d(batch.segments, class_logits.shape[-1])
    pooled, wanted_pooled = (nn.functional.normalize(t.float().mean(dim=1), dim=-1) for t in (tokens, wanted))
    return (
        config.token_weight * nn.functional.smooth_l1_loss(tokens.float(), wanted)
        + config.pooled_weight * (1.0 - (pooled * wanted_pooled).sum(dim=-1)).mean()
        + config.relation_weight * losses.relation(pooled, wanted_pooled)
        + config.segment_weight * losses.segmentation(class_logits, segments)
    )


def _regrid(tokens: Tensor, count: int) -> Tensor:
    """Square token grids (batch, n, channels) averaged down to `count` tokens."""
    grid = _square(tokens).permute(0, 3, 1, 2)
    return nn.functional.adaptive_avg_pool2d(grid, math.isqrt(count)).flatten(2).transpose(1, 2)


def _square(tokens: Tensor) -> Tensor:
    """Tokens (batch, n, channels) as a square grid (batch, side, side, channels)."""
    batch, count, channels = tokens.shape
    return tokens.view(batch, math.isqrt(count), math.isqrt(count), channels)


def _averaged(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
    """Exponential moving average whose memory grows with the run, so that the first weights are soon forgotten."""
    decay = min(EMA_DECAY, (1.0 + float(updates)) / (10.0 + float(updates)))
    return average * decay + current * (1.0 - decay)


class Distiller:
    """One distillation run: student, average of its weights, optimiser, schedule, and where it stands."""

    def __init__(self, config: TrainingConfig, cache: CropCache) -> None:
        torch.manual_seed(config.seed)
        self.config, self.cache, self.device = config, cache, device_of(config)
        self.student = Student(config.model).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack this documented form
        self.average = AveragedModel(self.student, avg_fn=_averaged, use_buffers=True)
        self.scale = Scale(*(t.to(self.device) for t in teacher_scale(cache)))
        self.steps_per_epoch = len(cache.pairs()) // config.distil.batch
        self.optimiser = torch.optim.AdamW(
            self.student.parameters(), config.distil.learning_rate, weight_decay=config.distil.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, config.distil.learning_rate, config.distil.epochs * self.steps_per_epoch, pct_start=0.1
        )
        self.epoch = 0

    def run(self, checkpoint: Path) -> CompactBackbone:
        """Train to the end, going on from the checkpoint where there is one; the averaged backbone."""
        if checkpoint.is_file():
            self._restore(checkpoint)
        while self.epoch < self.config.distil.epochs:
            self._train_epoch()
            self.epoch += 1
            self._store(checkpoint)
        return self.averaged()

    def averaged(self) -> CompactBackbone:
        """The backbone whose weights are the running average of the student's."""
        student = self.average.module
        assert isinstance(student, Student), "the average is of students"  # noqa: S101  # a programming error
        return student.backbone.eval()

    def _train_epoch(self) -> None:
        rng = np.random.default_rng([self.config.seed, self.epoch])
        generator = torch.Generator(self.device).manual_seed(self.config.seed + self.epoch)
        pairs = rng.permutation(self.cache.pairs())[: self.steps_per_epoch * self.config.distil.batch]
        batches = np.split(pairs, self.steps_per_epoch)
        self.student.train()
        for chosen in (bar := tqdm(batches, desc=f"distil {self.epoch + 1}/{self.config.distil.epochs}")):
            loss = self._step(self.cache.batch(chosen, self.device), generator)
            bar.set_postfix(loss=f"{loss:.3f}")

    def _step(self, batch: Batch, generator: torch.Generator) -> float:
        flipped = torch.rand(len(batch.pixels), generator=generator, device=self.device) < 0.5
        grid = _square(batch.tokens)
        batch = Batch(
            flip(batch.pixels, flipped, 3), flip(grid, flipped, 2).flatten(1, 2), flip(batch.segments, flipped, 3)
        )
        pixels = batch.pixels
        if self.epoch < self.config.distil.small_epochs:
            size_px = self.config.distil.small_px
            pixels = nn.functional.interpolate(pixels, (size_px, size_px), mode="bilinear", antialias=True)
        pixels = disturb(pixels, generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            tokens, class_logits = self.student(pixels)
        loss = distil_loss(self.config.distil, tokens, class_logits, batch, self.scale)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.student)
        return float(loss.detach())

    def _store(self, checkpoint: Path) -> None:
        parts = ("student", "average", "optimiser", "schedule")
        save(
            checkpoint,
            {"epoch": self.epoch, "recipe": self._recipe()}
            | {part: getattr(self, part).state_dict() for part in parts},
        )

    def _recipe(self) -> str:
        """Everything a checkpoint depends on; going on with other settings would be neither run."""
        config = self.config
        network = f"{config.seed} {config.bf16} {config.model.widths} {config.model.blocks} {config.model.size_px}"
        return f"{network} {config.distil.model_dump_json()} {config.prepare.model_dump_json(exclude={'workers'})}"

    def _restore(self, checkpoint: Path) -> None:
        state = load(checkpoint, "distillation checkpoint")
        if state.pop("recipe", None) != self._recipe():
            raise UserError(f"{checkpoint} was made with other settings: delete it or set run to a new folder")
        self.epoch = state.pop("epoch")
        for part, values in state.items():
            getattr(self, part).load_state_dict(values)
