"""The contract of backbones: frozen networks that turn a photo's pixels into tokens or class distributions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor, nn

from core.errors import UserError
from core.files import sha256_of_file
from core.frozen import Immutable

Pixels = NDArray[np.uint8]

Weights = Literal["pretrained", "random", "tiny"]
"""Pretrained weights; the real shape with random weights (to measure speed); a tiny shape with random ones (tests)."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Kind(StrEnum):
    """What a backbone computes of a photo: image tokens, or class distributions."""

    IMAGE = "image"
    SEMANTIC = "semantic"


class Preprocessing(Immutable):
    """From a photo to the square that a network takes.

    Attributes:
        crop: True takes the centre of the photo (shorter side to `size_px`); False resizes the whole photo to it.
        bicubic: resampling; bilinear otherwise. Both are antialiased.
        mean: of each channel in 0..1, subtracted.
        std: of each channel, divided by.
        reducing_gap: as in Pillow: large photos are first reduced by a whole factor, which is faster.
    """

    size_px: int = Field(gt=0)
    crop: bool
    bicubic: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    reducing_gap: float | None = None

    def prepare(self, rgb: Pixels) -> Pixels:
        """A photo (height, width, 3) as (size_px, size_px, 3)."""
        photo = Image.fromarray(rgb)
        resample = Image.Resampling.BICUBIC if self.bicubic else Image.Resampling.BILINEAR
        width, height = photo.size
        size = (self.size_px, self.size_px)
        if self.crop:
            # As in CLIP's own preprocessing, the longer side is rounded down.
            short = min(width, height)
            size = (self.size_px * width // short, self.size_px * height // short)
        resized = photo.resize(size, resample, reducing_gap=self.reducing_gap)
        left, top = (resized.width - self.size_px) // 2, (resized.height - self.size_px) // 2
        return np.array(resized.crop((left, top, left + self.size_px, top + self.size_px)), dtype=np.uint8)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, size, size, 3) to float32 (batch, 3, size, size)."""
        mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (pixels.permute(0, 3, 1, 2).float() / 255.0 - mean) / std


class BackboneDescription(Immutable):
    """What one may know about a backbone before loading it.

    Attributes:
        name: in the registry and in configurations.
        dim: channels of a token, or number of classes.
        tokens: how many image tokens a photo has; the grid of a semantic backbone is chosen when loading.
        weights: its name in `retrieval.backbones.weights`; None ships with the package.
    """

    name: str
    kind: Kind
    summary: str
    dim: int = Field(gt=0)
    tokens: int | None = None
    preprocessing: Preprocessing
    weights: str | None = None


class Backbone(nn.Module, ABC):
    """A frozen network; `prepare` runs on a photo (in a data loader's worker), `forward` on a batch (on the device).

    Attributes:
        description: its registry entry, with the sizes of this very instance.
        identity: which weights: the SHA-256 of the file, or `random-<seed>`, `tiny-<seed>`.
    """

    network: Any

    def __init__(self, description: BackboneDescription, network: Any, identity: str) -> None:
        super().__init__()
        self.description, self.network, self.identity = description, network, identity
        self.requires_grad_(False).eval()

    def prepare(self, rgb: Pixels) -> Pixels:
        """A photo (height, width, 3) as the uint8 square (size, size, 3) that `forward` takes."""
        return self.description.preprocessing.prepare(rgb)


class ImageBackbone(Backbone):
    """Tokens of photos."""

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, size, size, 3) to tokens (batch, tokens, dim), in reading order."""


class Segmenter(Backbone):
    """Class distributions of photos, on a square grid of tokens.

    Attributes:
        grid: tokens a side.
    """

    def __init__(self, description: BackboneDescription, network: Any, identity: str, grid: int) -> None:
        super().__init__(description, network, identity)
        self.grid = grid

    @abstractmethod
    def probabilities(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, size, size, 3) to float32 class probabilities (batch, classes, rows, columns)."""

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, size, size, 3) to distributions (batch, grid * grid, classes), in reading order."""
        return soft_tokens(self.probabilities(pixels), self.grid)


def soft_tokens(probabilities: Tensor, grid: int) -> Tensor:
    """Class probabilities (batch, classes, rows, columns), averaged over each cell: (batch, grid * grid, classes)."""
    pooled = nn.functional.adaptive_avg_pool2d(probabilities, grid)
    return pooled.flatten(2).transpose(1, 2)


def build_network(kind: Any, config: Any, name: str, file: Path | None, seed: int) -> Any:
    """A `transformers` model of a class and configuration.

    Args:
        file: a weight file named as `transformers` expects it; None draws random weights.
        seed: of the random weights; the caller's random state stays as it was.

    Raises:
        UserError: the file lacks weights or has them in other shapes.
    """
    if file is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return kind(config)
    try:
        network, report = kind.from_pretrained(
            file.parent,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot read the weights of {name} from {file} ({reason}): fetch them again") from error
    # What is there beside the network, such as CLIP's text tower, is left alone.
    wrong = [*report["missing_keys"], *report["mismatched_keys"]]
    if wrong:
        raise UserError(
            f"{file} does not fit {name}: {len(wrong)} tensors are missing or of another shape, such as {wrong[0]}"
        )
    return network


def weights_identity(weights: Weights, file: Path | None, seed: int) -> str:
    """Which weights these are: the SHA-256 of their file, or how they were drawn."""
    return sha256_of_file(file) if file is not None else f"{weights}-{seed}"


def resized(about: BackboneDescription, size_px: int, dim: int, tokens: int | None) -> BackboneDescription:
    """The description of the tiny shape of a backbone, for tests."""
    preprocessing = about.preprocessing.model_copy(update={"size_px": size_px})
    return about.model_copy(update={"preprocessing": preprocessing, "dim": dim, "tokens": tokens})
