"""Positions to vectors by multi-scale random Fourier capsules on the sphere.

After GeoCLIP (Vivanco Cepeda et al. 2023, arXiv 2309.16020): one capsule a
scale, summed. The input is the position's 3-D unit vector instead of a map
projection, so the encoder is continuous across the antimeridian and at the poles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def unit_vectors(lat_lon_deg: Tensor) -> Tensor:
    """Positions (batch, 2) in degrees, latitude first, as unit vectors (batch, 3), as in `geo.sphere`."""
    lat, lon = torch.deg2rad(lat_lon_deg).unbind(-1)
    return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1)


class FourierFeatures(nn.Module):
    """cos and sin of random projections (Tancik et al. 2020): (batch, 3) to (batch, 2 * frequencies).

    `sigma` is the standard deviation of the frequencies in cycles per unit of
    the input: for unit vectors, per Earth radius, so that a feature of
    frequency f has a wavelength of 6371 / f km. Always computed in single
    precision: in bfloat16 a phase of 256 cycles is noise, and a position is
    some 25 km off before that.
    """

    def __init__(self, sigma: float, frequencies: int, generator: torch.Generator) -> None:
        super().__init__()
        self.frequencies: Tensor
        drawn = sigma * torch.randn(3, frequencies, generator=generator)
        # Rounded to half precision when drawn: the shipped weights are halves, and a rounded phase is another feature.
        self.register_buffer("frequencies", drawn.half().float())

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (batch, 3) to float32 features (batch, 2 * frequencies)."""
        with torch.autocast(vectors.device.type, enabled=False):
            phase = 2.0 * math.pi * (vectors.float() @ self.frequencies.float())
            return torch.cat([phase.cos(), phase.sin()], dim=-1)


class FourierCapsules(nn.Module):
    """Sum of one capsule a scale, L2-normalised: (batch, 2) degrees to (batch, dim).

    Args:
        sigmas: of the frequencies of each capsule, in cycles per Earth radius.
        hidden: width of its two hidden layers.
    """

    def __init__(
        self,
        dim: int,
        sigmas: Sequence[float] = (1.0, 16.0, 256.0),
        frequencies: int = 256,
        hidden: int = 1024,
        seed: int = 0,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.capsules = nn.ModuleList(
            nn.Sequential(
                FourierFeatures(sigma, frequencies, generator),
                nn.Linear(2 * frequencies, hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
                nn.GELU(),
                nn.Linear(hidden, dim),
            )
            for sigma in sigmas
        )

    def forward(self, lat_lon_deg: Tensor) -> Tensor:
        """Positions (batch, 2) in degrees, latitude first."""
        vectors = unit_vectors(lat_lon_deg)
        total = torch.stack([capsule(vectors) for capsule in self.capsules]).sum(dim=0)
        return nn.functional.normalize(total.float(), dim=-1)
