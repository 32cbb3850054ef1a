"""Second phase: the fusion encoder and the GPS encoder learn one space.

The backbone is frozen and its tokens are computed once, so an epoch takes
seconds. Each view of a photo (image, semantic, fused) is contrasted with
positions, both ways, against soft geographic targets; the relational term
keeps photos that the teacher finds alike, alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from retrieval.backbones import CompactBackbone, class_distributions
from retrieval.fusion import Views
from retrieval.training import losses
from retrieval.training.cache import CropCache
from retrieval.training.config import AlignConfig, TrainingConfig
from retrieval.training.model import CompactModel, device_of
from retrieval.training.photos import lat_lon_deg

KM_PER_DEGREE = 111.2


class TokenBank(NamedTuple):
    """What the frozen backbone says about every plain crop, with the teacher's embedding and the position.

    Attributes:
        tokens: float16 (photos, crops, 49, channels).
        distributions: float16 (photos, crops, 49, 19).
        embeddings: float32 (photos, crops, 1024), centred and L2-normalised.
        positions: float32 (photos, 2) in degrees.
    """

    tokens: Tensor
    distributions: Tensor
    embeddings: Tensor
    positions: Tensor


@torch.no_grad()
def fill_bank(config: TrainingConfig, cache: CropCache, backbone: CompactBackbone) -> TokenBank:
    """Run the backbone over all plain crops of all training photos; every other crop is mirrored first."""
    device = device_of(config)
    backbone = backbone.to(device).eval()
    tokens, distributions = [], []
    for photo in tqdm(range(len(cache.all_rows)), desc="tokens"):
        pairs = np.stack([np.full(cache.plain_crops, photo), np.arange(cache.plain_crops)], axis=1)
        pixels = cache.batch(pairs, device).pixels
        pixels[1::2] = pixels[1::2].flip(3)
        seen = backbone(pixels)
        tokens.append(seen.tokens.half().cpu())
        distributions.append(class_distributions(seen.class_logits).half().cpu())
    embeddings = cache.embeddings()[:, : cache.plain_crops]
    embeddings = embeddings - embeddings[:, 0].mean(dim=0)
    positions = torch.from_numpy(lat_lon_deg(cache.all_rows)).float()
    return TokenBank(
        torch.stack(tokens), torch.stack(distributions), nn.functional.normalize(embeddings, dim=-1), positions
    )


def random_positions(count: int, generator: torch.Generator) -> Tensor:
    """Positions (count, 2) in degrees, uniform on the sphere."""
    uniform = torch.rand(count, 2, generator=generator)
    lat = torch.rad2deg(torch.asin(2.0 * uniform[:, 0] - 1.0))
    return torch.stack([lat, 360.0 * uniform[:, 1] - 180.0], dim=1)


def jitter_positions(positions_deg: Tensor, jitter_km: float, generator: torch.Generator) -> Tensor:
    """Positions moved by about `jitter_km` in a random direction; latitudes stay within 89.9 degrees."""
    moved_km = jitter_km * torch.randn(positions_deg.shape, generator=generator)
    lat = positions_deg[:, 0] + moved_km[:, 0] / KM_PER_DEGREE
    narrow = torch.cos(torch.deg2rad(positions_deg[:, 0])).clamp(min=0.05)
    lon = positions_deg[:, 1] + moved_km[:, 1] / (KM_PER_DEGREE * narrow)
    return torch.stack([lat.clamp(-89.9, 89.9), (lon + 180.0) % 360.0 - 180.0], dim=1)


class PositionQueue:
    """Positions every photo is also told from: past positions (GeoCLIP's queue), and anywhere on the sphere."""

    def __init__(self, size: int, generator: torch.Generator) -> None:
        self._generator = generator
        self._past = random_positions(size // 2, generator)
        self._anywhere = size - size // 2

    def positions(self) -> Tensor:
        """The queue's positions (size, 2) in degrees; the random half is drawn anew each time."""
        return torch.cat([self._past, random_positions(self._anywhere, self._generator)])

    def push(self, positions_deg: Tensor) -> None:
        """The oldest past positions make room for these."""
        self._past = torch.cat([self._past[len(positions_deg) :], positions_deg])[-len(self._past) :]


def align_loss(
    config: AlignConfig, views: Views, model: CompactModel, photos_deg: Tensor, extra_deg: Tensor, temperature: Tensor
) -> Tensor:
    """Symmetric contrast of each view with the positions, averaged over the three views.

    Args:
        config: softness of the targets.
        views: of the batch's photos.
        model: its GPS encoder is used.
        photos_deg: (batch, 2), the photos' positions.
        extra_deg: (queue, 2), further positions for the photo-to-position direction.
        temperature: a scalar.
    """
    places_deg = torch.cat([photos_deg, extra_deg])
    places: Tensor = model.points(places_deg)
    to_places = losses.geographic_targets(photos_deg, places_deg, config.target_km)
    to_photos = losses.geographic_targets(photos_deg, photos_deg, config.target_km)
    total = torch.zeros((), device=places.device)
    for view in views:
        total = total + losses.contrast(view, places, to_places, temperature)
        total = total + losses.contrast(places[: len(photos_deg)], view, to_photos, temperature)
    return total / (2.0 * len(views))


def align(config: TrainingConfig, bank: TokenBank, photos: np.ndarray[tuple[int], np.dtype[np.int64]]) -> CompactModel:
    """Train fusion and GPS encoder of a fresh model on the given photos of the bank."""
    model = CompactModel(config.model, config.seed).to(device_of(config))
    log_temperature = nn.Parameter(torch.tensor(float(np.log(config.align.temperature))))
    trained = [*model.photos.fusion.parameters(), *model.points.parameters(), log_temperature]
    optimiser = torch.optim.AdamW(trained, config.align.learning_rate, weight_decay=config.align.weight_decay)
    steps_per_epoch = max(1, len(photos) * bank.tokens.shape[1] // config.align.batch)
    steps = config.align.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.align.learning_rate, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(config.seed)
    queue = PositionQueue(config.align.queue, generator)
    model.train()
    for _ in (bar := tqdm(range(steps), desc="align")):
        loss = _align_step(config.align, model, bank, torch.from_numpy(photos), queue, generator, log_temperature)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
    return model.eval()


def _align_step(
    config: AlignConfig,
    model: CompactModel,
    bank: TokenBank,
    photos: Tensor,
    queue: PositionQueue,
    generator: torch.Generator,
    log_temperature: Tensor,
) -> Tensor:
    chosen = photos[torch.randperm(len(photos), generator=generator)[: config.batch]]
    crop = torch.randint(bank.tokens.shape[1], chosen.shape, generator=generator)
    device = next(model.parameters()).device
    tokens, distributions, teacher = (
        t[chosen, crop].float().to(device) for t in (bank.tokens, bank.distributions, bank.embeddings)
    )
    positions = jitter_positions(bank.positions[chosen], config.jitter_km, generator)
    views: Views = model.photos.fusion(tokens, distributions)
    temperature = log_temperature.exp().clamp(0.02, 0.5)
    loss = align_loss(config, views, model, positions.to(device), queue.positions().to(device), temperature)
    queue.push(positions)
    alike = losses.relation(views.image, teacher) + losses.relation(views.fused, teacher)
    return loss + config.relation_weight * alike
