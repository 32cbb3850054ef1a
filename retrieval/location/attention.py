"""TransGeoCLIP's GPS encoder (arXiv 2606.08918), made a function of one position.

The paper's transformer takes one token of random Fourier features a scale and
then attends by distance to the other positions of the batch, so a position's
vector depends on its batch. Here the tokens attend with a distance bias to a
learned set of anchor places, which is the same for every position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geo.sphere import EARTH_RADIUS_KM
from retrieval.location.fourier import FourierFeatures, unit_vectors

NEAREST_REACH_KM, FARTHEST_REACH_KM = 250.0, 8000.0


def fibonacci_sphere(count: int) -> Tensor:
    """`count` unit vectors (count, 3) spread evenly over the sphere."""
    steps = torch.arange(count, dtype=torch.float64) + 0.5
    z, turn = 1.0 - 2.0 * steps / count, math.pi * (1.0 + math.sqrt(5.0)) * steps
    ring = torch.sqrt(1.0 - z * z)
    return torch.stack([ring * turn.cos(), ring * turn.sin(), z], dim=1).float()


class AnchorAttention(nn.Module):
    """Tokens of a position attend to anchor places; each head fades with distance at its own, learned, reach.

    A head starts with a reach (the distance at which an anchor's weight falls
    by e) between 250 and 8,000 km. Anchor positions start evenly spread (or
    where `anchors_deg` says) and are learned with the rest.
    """

    def __init__(self, width: int, heads: int, anchors: Tensor) -> None:
        super().__init__()
        self.heads = heads
        self.anchors = nn.Parameter(anchors)
        self.features = nn.Parameter(torch.randn(len(anchors), width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        reach_km = torch.logspace(math.log10(NEAREST_REACH_KM), math.log10(FARTHEST_REACH_KM), heads)
        self.log_slope = nn.Parameter(torch.log(EARTH_RADIUS_KM / reach_km))

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Tokens (batch, scales, width) of places, unit vectors (batch, 3), to the same shape."""
        batch, scales, width = tokens.shape
        # The anchors are the same for every place, so one product serves the batch: ten times faster than copies.
        query = self._split(self.query(self.norm(tokens)).reshape(batch * scales, width))
        key, value = (self._split(part) for part in self.key_value(self.features).chunk(2, dim=-1))
        scores = (query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])).reshape(self.heads, batch, scales, -1)
        weights = torch.softmax(scores + self._bias(places, scores.dtype), dim=-1).to(value.dtype)
        mixed = (weights.flatten(1, 2) @ value).transpose(0, 1).flatten(1)
        attended: Tensor = self.out(mixed).reshape(batch, scales, width)
        return tokens + attended

    def _bias(self, places: Tensor, dtype: torch.dtype) -> Tensor:
        """Minus the chord (in Earth radii) times each head's slope: (heads, batch, 1, anchors)."""
        with torch.autocast(places.device.type, enabled=False):
            anchors = nn.functional.normalize(self.anchors.float(), dim=-1)
            squared = (places.float()[:, None, :] - anchors[None]).square().sum(dim=-1)
            # The small constant, some 6 km, keeps the gradient finite where a place is an anchor.
            chord = torch.sqrt(squared + 1e-6)
            return (-self.log_slope.exp()[:, None, None, None] * chord[None, :, None, :]).to(dtype)

    def _split(self, rows: Tensor) -> Tensor:
        """(n, width) to (heads, n, width / heads)."""
        return rows.reshape(len(rows), self.heads, -1).transpose(0, 1)


class LocationAttention(nn.Module):
    """Scale tokens, a transformer over them, and attention to anchors: (batch, 2) degrees to (batch, dim).

    Args:
        dim: of the vectors, L2-normalised.
        sigmas: one token each, in cycles per Earth radius.
        width: of the tokens; the paper has 1024.
        layers: of the transformer, each followed by attention to the anchors; the paper has 3.
        heads: of both attentions; the paper has 8.
        dropout: in the transformer; the paper has 0.1.
        seed: of the frequencies.
        anchors_deg: (anchors, 2) in degrees, latitude first, to start from instead of an even spread.
    """

    def __init__(
        self,
        dim: int,
        sigmas: Sequence[float] = (1.0, 16.0, 256.0),
        frequencies: int = 256,
        width: int = 512,
        layers: int = 3,
        heads: int = 8,
        anchors: int = 512,
        dropout: float = 0.1,
        seed: int = 0,
        anchors_deg: Tensor | None = None,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.scales = nn.ModuleList(FourierFeatures(sigma, frequencies, generator) for sigma in sigmas)
        self.token_in = nn.ModuleList(nn.Linear(2 * frequencies, width) for _ in sigmas)
        self.scale_place = nn.Parameter(torch.randn(1, len(sigmas), width) * 0.02)
        start = fibonacci_sphere(anchors) if anchors_deg is None else unit_vectors(anchors_deg.float())
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.attend = nn.ModuleList(AnchorAttention(width, heads, start.clone()) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim))

    def forward(self, lat_lon_deg: Tensor) -> Tensor:
        """Positions (batch, 2) in degrees, latitude first."""
        places = unit_vectors(lat_lon_deg.float())
        tokens = [into(scale(places)) for scale, into in zip(self.scales, self.token_in, strict=True)]
        stream = torch.stack(tokens, dim=1) + self.scale_place
        for block, attend in zip(self.blocks, self.attend, strict=True):
            stream = attend(block(stream), places)
        return nn.functional.normalize(self.head(stream.mean(dim=1)).float(), dim=-1)
