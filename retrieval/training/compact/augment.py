"""Augmentation of batches of cached crops, on the device."""

from __future__ import annotations

import torch
from torch import Tensor


def flip(batch: Tensor, flipped: Tensor, dim: int) -> Tensor:
    """Mirror the rows of `batch` where `flipped` (batch,) is true, along `dim`."""
    shape = (-1, *[1] * (batch.dim() - 1))
    return torch.where(flipped.view(shape), batch.flip(dim), batch)


def disturb(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Random brightness, colour and an erased patch; (batch, 3, h, w) in 0..255 to the same."""
    return erase(jitter(pixels, generator), generator)


def jitter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness and contrast within 40 %, saturation from grey to 1.6, as one colour matrix a photo."""
    brightness, contrast = (1.0 + 0.4 * _uniform(pixels, generator) for _ in range(2))
    saturation = 0.8 + 0.8 * _uniform(pixels, generator)
    same = torch.eye(3, device=pixels.device)
    colour = saturation * same + (1.0 - saturation) / 3.0
    level = pixels.mean(dim=(1, 2, 3)).view(-1, 1, 1)
    offset = (1.0 - contrast) * brightness * level
    mixed = torch.baddbmm(offset, contrast * brightness * colour, pixels.flatten(2))
    return mixed.clamp_(0.0, 255.0).view_as(pixels)


def erase(pixels: Tensor, generator: torch.Generator, share: float = 0.3) -> Tensor:
    """Grey out one rectangle of up to 40 % of each side in `share` of the photos (Zhong et al. 2020)."""
    batch, _, height, width = pixels.shape
    rows, columns = (torch.linspace(0.0, 1.0, size, device=pixels.device) for size in (height, width))
    centre = torch.rand(batch, 2, 1, generator=generator, device=pixels.device)
    half = 0.2 * torch.rand(batch, 2, 1, generator=generator, device=pixels.device)
    half = half * (torch.rand(batch, 1, 1, generator=generator, device=pixels.device) < share)
    inside_rows = (rows - centre[:, 0]).abs() < half[:, 0]
    inside_columns = (columns - centre[:, 1]).abs() < half[:, 1]
    hole = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return torch.where(hole, torch.full_like(pixels, 114.0), pixels)


def _uniform(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """(batch, 1, 1) in [-1, 1)."""
    return 2.0 * torch.rand(len(pixels), 1, 1, generator=generator, device=pixels.device) - 1.0
