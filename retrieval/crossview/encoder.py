"""The cross-view encoder at run time: a folder that `recipe: crossview` leaves, with weights and a card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import UserError
from core.frozen import Immutable
from retrieval.backbones.base import ImageBackbone, Weights
from retrieval.backbones.device import compute_on
from retrieval.backbones.registry import load_image_backbone
from retrieval.crossview.network import CrossviewNetwork, CrossviewShape, ViewSizes, prepare_view
from retrieval.encoders.base import EncoderIdentity, Vectors, read_card, verified_revision
from retrieval.encoders.fused import load_strictly, read_tensors

TRAINING_ONLY = ("text.", "location.")
"""Weights that only training needs."""

BATCH = 64

Pictures = Sequence[NDArray[np.uint8]]


class CrossviewBackbone(Immutable):
    """The backbone that training started from; a name in `retrieval.backbones.registry.BACKBONES`."""

    backbone: str
    weights: Weights = "pretrained"
    folder: Path | None = None


class CrossviewCard(Immutable):
    """The part of `card.json` that running needs.

    Attributes:
        files: file name to SHA-256 in hex.
    """

    name: str
    kind: Literal["crossview"]
    files: dict[str, str]
    backbone: CrossviewBackbone
    shape: CrossviewShape
    sizes: ViewSizes


def load_backbones(start: CrossviewBackbone, shape: CrossviewShape, seed: int = 0) -> list[ImageBackbone]:
    """The one backbone that both views share, or one for each.

    Raises:
        UserError: weights that are not here.
    """
    count = 1 if shape.shared else 2
    return [load_image_backbone(start.backbone, start.weights, start.folder, seed) for _ in range(count)]


class CrossviewEncoder:
    """Photos of a place, and satellite tiles, as L2-normalised vectors of one space.

    Args:
        folder: as written by `retrieval.training`. The backbone's trained weights are in it; where it was a pretrained
            one, its own files are needed for its shape.
        device: cpu, cuda, auto, ...
        precision: float32, bfloat16 or float16.

    Raises:
        UserError: a missing or damaged file, or weights that do not fit the card.
    """

    def __init__(self, folder: Path, *, device: str = "auto", precision: str = "float32") -> None:
        card = read_card(folder, CrossviewCard)
        self._sizes, self._compute = card.sizes, compute_on(device, precision)
        revision = verified_revision(folder, card.files)
        state = {
            name: tensor
            for name, tensor in read_tensors(folder, card.files).items()
            if not name.startswith(TRAINING_ONLY)
        }
        network = CrossviewNetwork(card.shape, *load_backbones(card.backbone, card.shape))
        load_strictly(network, state, folder)
        self._network = network.eval().requires_grad_(False).to(self._compute.device)
        facts = [revision, card.shape.model_dump_json(), card.sizes.model_dump_json()]
        digest = hashlib.sha256(" ".join(facts).encode()).hexdigest()[:16]
        self._identity = EncoderIdentity(name=card.name, revision=digest, dim=network.dim)

    @property
    def identity(self) -> EncoderIdentity:
        """What this encoder's vectors may be compared with."""
        return self._identity

    def encode_photos(self, photos: Pictures) -> Vectors:
        """Photos, each uint8 (height, width, 3), one by one: (n, dim)."""
        return self._encode(photos, self._sizes.ground_px, self._network.each_photo)

    def encode_tiles(self, tiles: Pictures) -> Vectors:
        """Pictures from above, north up, each uint8 (height, width, 3): (n, dim)."""
        return self._encode(tiles, self._sizes.tile_px, self._network.tiles)

    @torch.inference_mode()
    def join(self, vectors: Vectors, weights: Sequence[float] | None = None) -> Vectors:
        """One query (dim,) out of the vectors (k, dim) of photos of one place; of one photo, too.

        Args:
            weights: of the photos, at least one of them above 0; None: alike.

        Raises:
            UserError: no photo has a weight.
        """
        given = torch.ones(1, len(vectors)) if weights is None else torch.tensor([list(weights)], dtype=torch.float32)
        if not len(vectors) or not bool((given > 0).any()):
            raise UserError("photos of one place: give at least one with a weight above 0")
        rows = torch.from_numpy(np.ascontiguousarray(vectors))[None].to(self._compute.device)
        (query,) = _to_numpy(self._network.joined(rows, given.to(self._compute.device)))
        return np.asarray(query, dtype=np.float32)

    @torch.inference_mode()
    def _encode(self, pictures: Pictures, size_px: tuple[int, int], embed: Callable[[Tensor], Tensor]) -> Vectors:
        found = [np.zeros((0, self._identity.dim), np.float32)]
        for start in range(0, len(pictures), BATCH):
            views = np.stack([prepare_view(picture, size_px) for picture in pictures[start : start + BATCH]])
            with self._compute.autocast():
                found.append(_to_numpy(embed(torch.from_numpy(views).to(self._compute.device))))
        return np.concatenate(found)


def _to_numpy(vectors: Tensor) -> Vectors:
    return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)
