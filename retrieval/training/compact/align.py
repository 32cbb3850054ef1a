"""Second phase of `compact`: the distilled backbone's tokens, computed once, feed the same contrast as `fusion`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from geo.places.gazetteer import Gazetteer
from retrieval.backbones.registry import CLASSES as CITYSCAPES
from retrieval.backbones.registry import CompactBackbone, class_distributions
from retrieval.training.compact.crop_cache import CropCache
from retrieval.training.compact.photos import lat_lon_deg
from retrieval.training.config import (
    FusionShape,
    ImageConfig,
    LocationConfig,
    ModelConfig,
    SemanticsConfig,
    TowersConfig,
    TrainingConfig,
)
from retrieval.training.contrastive_task import CLASSES, POSITIONS, TEXT_NUMBERS, TEXTS, TOKENS
from retrieval.training.distributed import ProcessGroup
from retrieval.training.losses import TEACHER
from retrieval.training.text_tower import TextConfig, TextTower, text_number
from retrieval.training.towers import TokenShape, Towers


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
def fill_bank(config: TrainingConfig, cache: CropCache, backbone: CompactBackbone, device: torch.device) -> TokenBank:
    """Run the backbone over all plain crops of all training photos; every other crop is mirrored first."""
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


class BankFeed:
    """Implements `retrieval.training.contrastive_task.Feed`: a random crop of each of the batch's photos.

    Args:
        bank: tokens and positions.
        photos: rows that may be trained on.
        held: rows that are validated on, as whole photos.
        batch: photos a step.
        world: the processes.
        seed: of the order.
        texts: integers (photos, length) and text numbers (photos,); None without a text view.
    """

    def __init__(
        self,
        bank: TokenBank,
        photos: NDArray[np.int64],
        held: NDArray[np.int64],
        batch: int,
        process_group: ProcessGroup,
        seed: int,
        texts: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self._bank, self._photos, self._held = bank, torch.from_numpy(photos), torch.from_numpy(held)
        self._world, self._seed, self._texts = process_group, seed, texts
        # A photo is in a batch once, so that it is never its own negative.
        self.batch = min(batch, len(photos))
        self.steps_per_epoch = max(1, len(photos) * bank.tokens.shape[1] // batch)

    def steps(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """This process's photos of steps first..last-1."""
        for step in range(first, last):
            generator = torch.Generator().manual_seed(self._seed * 15_485_863 + step)
            chosen = self._photos[torch.randperm(len(self._photos), generator=generator)[: self.batch]]
            crop = torch.randint(self._bank.tokens.shape[1], chosen.shape, generator=generator)
            mine = self._world.share(len(chosen))
            yield self._tensors(chosen[mine], crop[mine])

    def held_out(self) -> Iterable[dict[str, Tensor]]:
        """The validation photos as a whole (crop 0)."""
        for part in torch.split(self._held, 128):
            yield self._tensors(part, torch.zeros_like(part))

    def _tensors(self, photos: Tensor, crop: Tensor) -> dict[str, Tensor]:
        bank = self._bank
        found = {
            TOKENS: bank.tokens[photos, crop].float(),
            CLASSES: bank.distributions[photos, crop].float(),
            TEACHER: bank.embeddings[photos, crop],
            POSITIONS: bank.positions[photos],
        }
        if self._texts is not None:
            found |= {TEXTS: self._texts[0][photos], TEXT_NUMBERS: self._texts[1][photos]}
        return {name: one.to(self._world.device) for name, one in found.items()}


def compact_towers(shape: ModelConfig, text: TextConfig | None, seed: int, bank: TokenBank) -> Towers:
    """Fresh towers of the shape that `compact` ships."""
    options = {"sigmas": shape.sigmas, "frequencies": shape.frequencies, "hidden": shape.hidden, "seed": seed}
    config = TowersConfig(
        dim=shape.dim,
        image=ImageConfig(backbone="compact"),
        semantics=SemanticsConfig(backbone="compact-segments"),
        fusion=FusionShape(
            heads=shape.heads, layers=shape.layers, modality_dropout=shape.modality_dropout, dropout=0.2
        ),
        location=LocationConfig(encoder="fourier_capsules", options=options),
        text=text,
    )
    count = bank.tokens.shape[2]
    return Towers(config, TokenShape(shape.widths[-1], count, CITYSCAPES, count), seed)


def place_texts(positions_deg: Tensor, tower: TextTower) -> tuple[Tensor, Tensor]:
    """The text view of positions that no table names: the gazetteer's place of each."""
    names = [place.name for place in Gazetteer().places_at(positions_deg.double().numpy())]
    return tower.numbers(names), torch.tensor([text_number(name) for name in names])
