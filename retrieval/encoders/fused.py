"""The encoder that `recipe: fusion` trains, at run time: a folder with weights and a card, backbones by name.

The card says which backbones the weights were trained on; others are refused,
since the same photo would get another vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from core.errors import UserError
from retrieval.backbones.base import Backbone
from retrieval.backbones.device import compute_on
from retrieval.backbones.hugging_face import ClipBackbone
from retrieval.backbones.registry import ImageBackbone, Segmenter, Weights, load_image_backbone, load_segmenter
from retrieval.encoders.base import EncoderIdentity, PhotoVectors, Vectors, checked_positions
from retrieval.encoders.compact import MEND, verified_revision
from retrieval.encoders.fusion import FusionEncoder, Views
from retrieval.location.registry import build_location_encoder
from retrieval.photos.photo import Photo

PHOTO_BATCH, POINT_BATCH = 16, 4096
TRAINING_ONLY = "text."
"""Weights that only training needs."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _BackboneCard(_Part):
    backbone: str
    weights: Weights = "pretrained"
    folder: Path | None = None
    tokens: Literal["patches", "pooled"] = "patches"
    grid: int = Field(16, gt=0)


class _FusionCard(_Part):
    heads: int
    layers: int = Field(1, ge=0)
    modality_dropout: float = 0.0
    expansion: int = 0
    dropout: float = 0.0


class _LocationCard(_Part):
    encoder: str
    options: dict[str, Any] = {}


class _ModelCard(_Part):
    dim: int = Field(gt=0)
    image: _BackboneCard
    semantics: _BackboneCard | None = None
    fusion: _FusionCard
    location: _LocationCard


class _TokenCard(_Part):
    image_dim: int
    image_tokens: int
    classes: int
    semantic_tokens: int


class FusionCard(_Part):
    """The part of `card.json` that running needs; `retrieval.training` writes it.

    Attributes:
        name: of the encoder.
        kind: `fusion`.
        files: file name to SHA-256 in hex.
        model: backbones, fusion and GPS encoder.
        tokens: what the backbones give.
        backbones: which weights each backbone had: `image`, and `semantics` if there is one.
    """

    name: str
    kind: Literal["fusion"]
    files: dict[str, str]
    model: _ModelCard
    tokens: _TokenCard
    backbones: dict[str, str]


class TrainedTowers(nn.Module):
    """What was trained, without what only training needs."""

    def __init__(self, card: FusionCard) -> None:
        super().__init__()
        model, tokens = card.model, card.tokens
        self.fusion = FusionEncoder(
            tokens.image_dim,
            tokens.classes,
            model.dim,
            image_tokens=tokens.image_tokens,
            semantic_tokens=tokens.semantic_tokens,
            **model.fusion.model_dump(),
        )
        self.location = build_location_encoder(model.location.encoder, model.dim, model.location.options)


class FusionPhotoEncoder:
    """Implements `retrieval.encoders.registry.PhotoEncoder`. Backbones are loaded when the first photo comes.

    Args:
        folder: as written by `retrieval.training`.
        device: cpu, cuda, auto, ...
        precision: float32, bfloat16 or float16.
        weights_folder: holds the backbones' weight files; None looks where the card says, then in the caches.
        semantics: False leaves the segmentation out; only for an encoder trained with modality dropout. Its
            vectors are of another revision.

    Raises:
        UserError: a missing or damaged file, or weights that do not fit the card.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "auto",
        precision: str = "float32",
        weights_folder: Path | None = None,
        semantics: bool = True,
    ) -> None:
        self._card, self._folder = read_fusion_card(folder), folder
        self._weights_folder, self._compute = weights_folder, compute_on(device, precision)
        self._semantics = semantics and self._card.model.semantics is not None
        if not semantics and not self._card.model.fusion.modality_dropout:
            raise UserError(f"{self._card.name} was trained without modality dropout: it needs the segmentation")
        revision = verified_revision(folder, self._card.files)
        parts = [revision, *(f"{kind}={one}" for kind, one in sorted(self._card.backbones.items()))]
        self._identity = EncoderIdentity(
            name=self._card.name,
            revision=hashlib.sha256(" ".join([*parts, f"semantics={semantics}"]).encode()).hexdigest()[:16],
            dim=self._card.model.dim,
        )

    @property
    def identity(self) -> EncoderIdentity:
        """Name, revision (of all the weights) and dimension."""
        return self._identity

    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        """Vectors of n photos, in their order."""
        views: list[list[Vectors]] = [[np.zeros((0, self._identity.dim), np.float32)] * 3]
        for start in range(0, len(photos), PHOTO_BATCH):
            seen = self._look(photos[start : start + PHOTO_BATCH])
            views.append([np.asarray(view.float().cpu().numpy(), dtype=np.float32) for view in seen])
        return PhotoVectors(*(np.concatenate(column) for column in zip(*views, strict=True)))

    @torch.inference_mode()
    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        """Vectors (n, dim), L2-normalised, of positions (n, 2) in degrees, latitude first.

        Raises:
            ValueError: positions of another shape, or not finite.
        """
        positions = torch.from_numpy(checked_positions(lat_lon_deg))
        towers = self._towers
        parts = [towers.location(part.to(self._compute.device)) for part in torch.split(positions, POINT_BATCH)]
        found = [np.asarray(part.float().cpu().numpy(), dtype=np.float32) for part in parts]
        return np.concatenate([np.zeros((0, self._identity.dim), np.float32), *found])

    @torch.inference_mode()
    def _look(self, photos: Sequence[Photo]) -> Views:
        with self._compute.autocast():
            tokens = self._tokens(self._pixels(self._image, photos))
            classes = self._segmenter(self._pixels(self._segmenter, photos)) if self._segmenter else None
            views: Views = self._towers.fusion(tokens.float(), None if classes is None else classes.float())
        return views

    def _pixels(self, backbone: Backbone, photos: Sequence[Photo]) -> Tensor:
        squares = np.stack([backbone.prepare(photo.rgb) for photo in photos])
        return torch.from_numpy(squares).to(self._compute.device)

    def _tokens(self, pixels: Tensor) -> Tensor:
        if self._card.model.image.tokens == "patches":
            found: Tensor = self._image(pixels)
            return found
        if not isinstance(self._image, ClipBackbone):
            raise UserError(f"{self._image.description.name} has no pooled embedding: the card {self._folder} is wrong")
        return self._image.embeddings(pixels)[:, None, :]

    @cached_property
    def _image(self) -> ImageBackbone:
        part = self._card.model.image
        loaded = load_image_backbone(part.backbone, part.weights, self._place(part))
        self._check("image", loaded)
        return loaded.to(self._compute.device)

    @cached_property
    def _segmenter(self) -> Segmenter | None:
        part = self._card.model.semantics
        if part is None or not self._semantics:
            return None
        loaded = load_segmenter(part.backbone, part.grid, part.weights, self._place(part))
        self._check("semantics", loaded)
        return loaded.to(self._compute.device)

    @cached_property
    def _towers(self) -> TrainedTowers:
        towers = TrainedTowers(self._card)
        load_strictly(towers, read_trained(self._folder, self._card), self._folder)
        return towers.eval().requires_grad_(False).to(self._compute.device)

    def _place(self, part: _BackboneCard) -> Path | None:
        if self._weights_folder is not None:
            return self._weights_folder
        return part.folder if part.folder is not None and part.folder.is_dir() else None

    def _check(self, kind: str, loaded: Backbone) -> None:
        wanted = self._card.backbones.get(kind)
        if wanted != loaded.identity:
            raise UserError(
                f"{self._card.name} was trained on other weights of {loaded.description.name}"
                f" (SHA-256 {str(wanted)[:16]}, here {loaded.identity[:16]}): fetch those"
            )


def read_fusion_card(folder: Path) -> FusionCard:
    """The card of an encoder folder.

    Raises:
        UserError: no card, or not such a card.
    """
    path = folder / "card.json"
    try:
        return FusionCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the encoder card {path} ({error.strerror}): {MEND}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"the encoder card {path} is damaged ({where}: {first['msg']}): {MEND}") from error


def read_trained(folder: Path, card: FusionCard) -> dict[str, Tensor]:
    """The trained weights, in single precision, without what only training needs.

    Raises:
        UserError: no such file, or not safetensors.
    """
    state: dict[str, Tensor] = {}
    for name in (one for one in card.files if one.endswith(".safetensors")):
        try:
            state |= load_file(folder / name)
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot read the weights {folder / name} ({error}): {MEND}") from error
    return {name: tensor.float() for name, tensor in state.items() if not name.startswith(TRAINING_ONLY)}


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], folder: Path) -> None:
    """Fill a module, all names and shapes as expected.

    Raises:
        UserError: they are not.
    """
    expected = module.state_dict()
    wrong = sorted(set(expected) ^ set(state))
    wrong += [name for name in set(expected) & set(state) if expected[name].shape != state[name].shape]
    if wrong:
        raise UserError(
            f"the weights in {folder} do not fit its card: {len(wrong)} tensors differ, such as {wrong[0]}: {MEND}"
        )
    module.load_state_dict(dict(state))
