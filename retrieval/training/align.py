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
from numpy.typing import NDArray
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
        tokens: float16 (photos, crops, tokens, channels).
        distributions: float16 (photos, crops, tokens, 19).
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
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
            seen = backbone(pixels)
        tokens.append(seen.tokens.half().cpu())
        distributions.append(class_distributions(seen.class_logits.float()).half().cpu())
    embeddings = cache.embeddings()[:, : cache.plain_crops]
    embeddings = embeddings - embeddings[:, 0].mean(dim=0)
    positions = torch.from_numpy(lat_lon_deg(cache.all_rows)).float()
    return TokenBank(
        torch.stack(tokens), torch.stack(distributions), nn.functional.normalize(embeddings, dim=-1), positions
    )


def jitter_positions(positions_deg: Tensor, jitter_km: float, generator: torch.Generator) -> Tensor:
    """Positions moved by about `jitter_km` in a random direction; latitudes stay within 89.9 degrees."""
    moved_km = jitter_km * torch.randn(positions_deg.shape, generator=generator)
    lat = positions_deg[:, 0] + moved_km[:, 0] / KM_PER_DEGREE
    narrow = torch.cos(torch.deg2rad(positions_deg[:, 0])).clamp(min=0.05)
    lon = positions_deg[:, 1] + moved_km[:, 1] / (KM_PER_DEGREE * narrow)
    return torch.stack([lat.clamp(-89.9, 89.9), (lon + 180.0) % 360.0 - 180.0], dim=1)


class PositionQueue:
    """Positions every photo is also told from: past positions (GeoCLIP's queue), and places of a gallery.

    Args:
        size: of the queue; half of it remembers, half is drawn anew each time.
        gallery_deg: (n, 2) positions such as the system will search at run time.
        generator: draws from the gallery.
    """

    def __init__(self, size: int, gallery_deg: Tensor, generator: torch.Generator) -> None:
        self._gallery, self._generator = gallery_deg, generator
        self._elsewhere = size - size // 2
        self._past = self._draw(size // 2)

    def positions(self) -> Tensor:
        """The queue's positions (size, 2) in degrees."""
        return torch.cat([self._past, self._draw(self._elsewhere)])

    def push(self, positions_deg: Tensor) -> None:
        """The oldest past positions make room for these."""
        room = len(self._past)
        self._past = torch.cat([self._past, positions_deg])[-room:]

    def _draw(self, count: int) -> Tensor:
        return self._gallery[torch.randint(len(self._gallery), (count,), generator=self._generator)]


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


def align(config: TrainingConfig, bank: TokenBank, photos: NDArray[np.int64], gallery_deg: Tensor) -> CompactModel:
    """Train fusion and GPS encoder of a fresh model.

    Args:
        config: its `model` and `align` parts.
        bank: tokens and positions.
        photos: which photos of the bank may be seen.
        gallery_deg: (n, 2) positions of the gallery that will be searched.
    """
    model = CompactModel(config.model, config.seed).to(device_of(config))
    log_temperature = nn.Parameter(torch.tensor(float(np.log(config.align.temperature))))
    trained = [*model.photos.fusion.parameters(), *model.points.parameters(), log_temperature]
    optimiser = torch.optim.AdamW(trained, config.align.learning_rate, weight_decay=config.align.weight_decay)
    steps_per_epoch = max(1, len(photos) * bank.tokens.shape[1] // config.align.batch)
    steps = config.align.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.align.learning_rate, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(config.seed)
    queue = PositionQueue(config.align.queue, gallery_deg, generator)
    model.train()
    for _ in (bar := tqdm(range(steps), desc="align")):
        with torch.autocast(device_of(config).type, torch.bfloat16, enabled=config.bf16):
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
