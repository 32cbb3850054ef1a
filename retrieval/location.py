"""The GPS encoder: positions to vectors, by multi-scale random Fourier capsules.

After GeoCLIP (Vivanco Cepeda et al. 2023): one capsule a scale, summed. The
input is the position's 3-D unit vector instead of a map projection, so the
encoder is continuous across the antimeridian and at the poles. Needs torch;
inference does not.
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

    `sigma` is the standard deviation of the frequencies in cycles per Earth
    radius: a feature of frequency f has a wavelength of 6371 / f km.
    """

    def __init__(self, sigma: float, frequencies: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.frequencies: Tensor
        drawn = sigma * torch.randn(3, frequencies, generator=generator)
        # Rounded to half precision at birth: the shipped weights are halves, and a rounded phase is another feature.
        self.register_buffer("frequencies", drawn.half().float())

    def forward(self, vectors: Tensor) -> Tensor:
        """Unit vectors (batch, 3) to features (batch, 2 * frequencies)."""
        phase = 2.0 * math.pi * (vectors @ self.frequencies)
        return torch.cat([phase.cos(), phase.sin()], dim=-1)


class LocationEncoder(nn.Module):
    """Sum of one capsule a scale, L2-normalised: (batch, 2) degrees to (batch, dim)."""

    def __init__(self, sigmas: Sequence[float], frequencies: int, hidden: int, dim: int, seed: int = 0) -> None:
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
        return nn.functional.normalize(total, dim=-1)
