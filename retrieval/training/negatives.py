"""Further positions as negatives: a queue of past positions, and gazetteer places."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from core.frozen import Frozen

KM_PER_DEGREE = 111.2


class NegativesConfig(Frozen):
    """How many further positions, and from where."""

    queue: int = Field(0, ge=0, description="further positions that are negatives of each photo; 0: none")
    gallery_share: float = Field(0.5, ge=0.0, le=1.0, description="share of them drawn anew from the gazetteer")
    jitter_km: float = Field(0.0, ge=0.0, description="how far a photo's own position is moved, at random")


class PositionQueue:
    """Past positions (GeoCLIP's queue, arXiv 2309.16020) and places of a gallery such as is searched at run time.

    What is drawn is a function of the seed and the step, the same in every process.

    Args:
        gallery_deg: (n, 2), latitude first.
    """

    def __init__(self, config: NegativesConfig, gallery_deg: Tensor, seed: int) -> None:
        self._gallery_deg, self._seed = gallery_deg, seed
        self._from_gallery = round(config.queue * config.gallery_share)
        # The queue starts full of other gallery places; never a made-up point such as (0, 0).
        self.past = self._draw(config.queue - self._from_gallery, step=-1)

    def positions(self, step: int) -> Tensor:
        """The queue's positions (queue, 2) in degrees at a step."""
        return torch.cat([self.past, self._draw(self._from_gallery, step)])

    def push(self, positions_deg: Tensor) -> None:
        """Replace the oldest past positions by these, (n, 2)."""
        size = len(self.past)
        if size:
            self.past = torch.cat([self.past, positions_deg.to(self.past)])[-size:]

    def _draw(self, count: int, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed * 7_919 + step + 1)
        return self._gallery_deg[torch.randint(len(self._gallery_deg), (count,), generator=generator)]


def jitter_positions(positions_deg: Tensor, jitter_km: float, generator: torch.Generator) -> Tensor:
    """Positions (n, 2) moved by about `jitter_km` in a random direction; latitudes stay within 89.9 degrees."""
    moved_km = jitter_km * torch.randn(positions_deg.shape, generator=generator)
    lat = positions_deg[:, 0] + moved_km[:, 0] / KM_PER_DEGREE
    parallel_scale = torch.cos(torch.deg2rad(positions_deg[:, 0])).clamp(min=0.05)
    lon = positions_deg[:, 1] + moved_km[:, 1] / (KM_PER_DEGREE * parallel_scale)
    return torch.stack([lat.clamp(-89.9, 89.9), (lon + 180.0) % 360.0 - 180.0], dim=1)
