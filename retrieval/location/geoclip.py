"""GeoCLIP's GPS encoder (Vivanco Cepeda et al. 2023, MIT), able to hold the released weights.

The published design projects onto a flat map first (equal earth), with two
consequences that the released weights need kept: the map's left and right edge
are the antimeridian, so places on either side of it get unrelated vectors, and
a pole is a line on the map, so its vector depends on the longitude.
`fourier_capsules` has neither fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

GEOCLIP_DIM = 512
GEOCLIP_SIGMAS = (1.0, 16.0, 256.0)
_FREQUENCIES, _HIDDEN = 256, 1024

# Polynomial of the projection (Savric, Patterson, Jenny 2018) and the scale GeoCLIP gives it.
_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796
_MAP_SCALE = 66.50336


def equal_earth(lat_lon_deg: Tensor) -> Tensor:
    """Positions (batch, 2) in degrees, latitude first, on the scaled equal-earth map: (batch, 2), x first.

    Longitude 180 is taken for -180, being the same place.
    """
    lat_deg, lon_deg = lat_lon_deg.unbind(-1)
    lon_deg = torch.where(lon_deg >= 180.0, lon_deg - 360.0, lon_deg)
    theta = torch.asin(math.sqrt(3.0) / 2.0 * torch.sin(torch.deg2rad(lat_deg)))
    # The derivative of y in theta; x shrinks with it so that areas are kept.
    slope = 9.0 * _A4 * theta**8 + 7.0 * _A3 * theta**6 + 3.0 * _A2 * theta**2 + _A1
    x = 2.0 * math.sqrt(3.0) * torch.deg2rad(lon_deg) * torch.cos(theta) / (3.0 * slope)
    y = _A4 * theta**9 + _A3 * theta**7 + _A2 * theta**3 + _A1 * theta
    # In the release's order of operations: at 256 cycles even the last bit of a coordinate shows.
    return torch.stack([x, y], dim=-1) * _MAP_SCALE / 180.0


class _PlaneFeatures(nn.Module):
    """cos and sin of random projections of map coordinates: (batch, 2) to (batch, 512); frequencies as released."""

    def __init__(self, sigma: float, generator: torch.Generator) -> None:
        super().__init__()
        self.b: Tensor
        self.register_buffer("b", sigma * torch.randn(_FREQUENCIES, 2, generator=generator))

    def forward(self, xy: Tensor) -> Tensor:
        phase = 2.0 * math.pi * xy @ self.b.T
        return torch.cat([phase.cos(), phase.sin()], dim=-1)


class _Capsule(nn.Module):
    """One scale; the parts are named as in the released weights."""

    def __init__(self, sigma: float, generator: torch.Generator) -> None:
        super().__init__()
        self.capsule = nn.Sequential(
            _PlaneFeatures(sigma, generator),
            nn.Linear(2 * _FREQUENCIES, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Linear(_HIDDEN, GEOCLIP_DIM))

    def forward(self, xy: Tensor) -> Tensor:
        vectors: Tensor = self.head(self.capsule(xy))
        return vectors


class GeoClipLocations(nn.Module):
    """Sum of one capsule a scale, L2-normalised: (batch, 2) degrees to (batch, dim).

    Args:
        dim: 512 is the published width; another adds the head of DualGeo (512, 512, dim) on top.
        sigmas: of the frequencies, in cycles per unit of the map, which is 360 degrees wide at about 2 units.
        seed: of the frequencies, where no weights are loaded.
    """

    def __init__(self, dim: int = GEOCLIP_DIM, sigmas: Sequence[float] = GEOCLIP_SIGMAS, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.capsules = nn.ModuleList(_Capsule(sigma, generator) for sigma in sigmas)
        self.head: nn.Module = nn.Identity()
        if dim != GEOCLIP_DIM:
            self.head = nn.Sequential(nn.Linear(GEOCLIP_DIM, GEOCLIP_DIM), nn.ReLU(), nn.Linear(GEOCLIP_DIM, dim))

    def features(self, lat_lon_deg: Tensor) -> Tensor:
        """The published encoder's output: (batch, 512), not normalised. Always in single precision."""
        with torch.autocast(lat_lon_deg.device.type, enabled=False):
            xy = equal_earth(lat_lon_deg.float())
            return torch.stack([capsule(xy) for capsule in self.capsules]).sum(dim=0)

    def forward(self, lat_lon_deg: Tensor) -> Tensor:
        """Positions (batch, 2) in degrees, latitude first."""
        return nn.functional.normalize(self.head(self.features(lat_lon_deg)).float(), dim=-1)

    def load_released(self, state: Mapping[str, Tensor]) -> None:
        """Take weights named as in GeoCLIP's release (`LocEnc0.capsule.0.b`, ...); all of them and no others.

        Raises:
            RuntimeError: other names or shapes, as torch reports them.
        """
        renamed = {f"{name.removeprefix('LocEnc')}": tensor for name, tensor in state.items()}
        self.capsules.load_state_dict(renamed, strict=True)
