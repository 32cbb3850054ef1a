"""Second phase of `compact`: contrastive alignment of the distilled backbone's tokens, which are computed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from geo.places.gazetteer import Gazetteer
from retrieval.backbones.compact import CLASSES as CITYSCAPES_CLASSES
from retrieval.backbones.compact import CompactBackbone, class_distributions
from retrieval.training.compact.crop_cache import CropCache
from retrieval.training.config import (
    CompactConfig,
    CompactShape,
    FusionShape,
    ImageConfig,
    LocationConfig,
    SemanticsConfig,
    TowersConfig,
)
from retrieval.training.contrastive_task import TEXT_IDS
from retrieval.training.distributed import ProcessGroup
from retrieval.training.losses import TEACHER
from retrieval.training.text_tower import TextConfig, TextTower, text_id
from retrieval.training.towers import CLASSES, POSITIONS, TEXTS, TOKENS, TokenShape, Towers


class TokenBank(NamedTuple):
    """The frozen backbone's outputs on every plain crop, with the teacher's embedding and the position.

    Attributes:
        tokens: float16 (photos, crops, tokens, channels).
        distributions: float16 (photos, crops, tokens, 19).
        embeddings: float32 (photos, crops, 1024), centred and L2-normalised.
        positions: float32 (photos, 2) in degrees, latitude first.
    """

    tokens: Tensor
    distributions: Tensor
    embeddings: Tensor
    positions: Tensor


@torch.no_grad()
def compute_token_bank(
    config: CompactConfig, cache: CropCache, backbone: CompactBackbone, device: torch.device
) -> TokenBank:
    """Run the backbone over all plain crops of all training photos; every other crop is mirrored first."""
    backbone = backbone.to(device).eval()
    tokens, distributions = [], []
    for photo in tqdm(range(len(cache.table.ids)), desc="tokens"):
        pairs = np.stack([np.full(cache.plain_crops, photo), np.arange(cache.plain_crops)], axis=1)
        pixels = cache.batch(pairs, device).pixels
        pixels[1::2] = pixels[1::2].flip(3)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
            output = backbone(pixels)
        tokens.append(output.tokens.half().cpu())
        distributions.append(class_distributions(output.class_logits.float()).half().cpu())
    embeddings = cache.embeddings()[:, : cache.plain_crops]
    embeddings = embeddings - embeddings[:, 0].mean(dim=0)
    positions = torch.from_numpy(cache.table.positions_deg).float()
    return TokenBank(
        torch.stack(tokens), torch.stack(distributions), nn.functional.normalize(embeddings, dim=-1), positions
    )


class TokenBankLoader:
    """Implements `retrieval.training.contrastive_task.BatchLoader`: a random crop of each of the batch's photos.

    Args:
        train: rows that may be trained on.
        validation: rows that are validated on, as whole photos.
        texts: token ids (photos, length) and text ids (photos,); None without a text view.
    """

    def __init__(
        self,
        bank: TokenBank,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        batch: int,
        process_group: ProcessGroup,
        seed: int,
        texts: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self._bank, self._train, self._validation = bank, torch.from_numpy(train), torch.from_numpy(validation)
        self._process_group, self._seed, self._texts = process_group, seed, texts
        # A photo is in a batch once, so that it is never its own negative.
        self._batch = min(batch, len(train))
        self.steps_per_epoch = max(1, len(train) * bank.tokens.shape[1] // batch)

    def batches(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """This process's photos of steps first..last-1."""
        for step in range(first, last):
            generator = torch.Generator().manual_seed(self._seed * 15_485_863 + step)
            photos = self._train[torch.randperm(len(self._train), generator=generator)[: self._batch]]
            crops = torch.randint(self._bank.tokens.shape[1], photos.shape, generator=generator)
            local = self._process_group.local_slice(len(photos))
            yield self._tensors(photos[local], crops[local])

    def validation_batches(self) -> Iterable[dict[str, Tensor]]:
        """The validation photos as a whole (crop 0)."""
        for photos in torch.split(self._validation, 128):
            yield self._tensors(photos, torch.zeros_like(photos))

    def _tensors(self, photos: Tensor, crops: Tensor) -> dict[str, Tensor]:
        bank = self._bank
        tensors = {
            TOKENS: bank.tokens[photos, crops].float(),
            CLASSES: bank.distributions[photos, crops].float(),
            TEACHER: bank.embeddings[photos, crops],
            POSITIONS: bank.positions[photos],
        }
        if self._texts is not None:
            tensors |= {TEXTS: self._texts[0][photos], TEXT_IDS: self._texts[1][photos]}
        return {name: tensor.to(self._process_group.device) for name, tensor in tensors.items()}


def compact_towers(shape: CompactShape, text: TextConfig | None, seed: int, bank: TokenBank) -> Towers:
    """Untrained towers of the shape that `compact` ships."""
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
    tokens = bank.tokens.shape[2]
    return Towers(config, TokenShape(shape.widths[-1], tokens, CITYSCAPES_CLASSES, tokens), seed)


def place_texts(positions_deg: Tensor, tower: TextTower) -> tuple[Tensor, Tensor]:
    """Token ids (n, length) and text ids (n,) of the gazetteer's place of each position (n, 2)."""
    names = [place.name for place in Gazetteer().places_at(positions_deg.double().numpy())]
    return tower.tokenize(names), torch.tensor([text_id(name) for name in names])
