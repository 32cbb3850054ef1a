"""The encoder that `recipe: fusion` trains, at run time: a folder with weights and a card, backbones by name.

The card names the backbones the weights were trained on. Others are refused: they would give other vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from typing_extensions import override

from core.errors import UserError
from core.frozen import Immutable
from retrieval.backbones.base import Backbone, ImageBackbone, Segmenter, Weights
from retrieval.backbones.device import compute_on
from retrieval.backbones.hugging_face import ClipBackbone
from retrieval.backbones.registry import load_image_backbone, load_segmenter
from retrieval.encoders.base import (
    WHAT_TO_DO,
    BatchedPhotoEncoder,
    EncoderIdentity,
    PhotoVectors,
    Vectors,
    read_card,
    verified_revision,
)
from retrieval.encoders.fusion import FusionEncoder
from retrieval.location.registry import build_location_encoder
from retrieval.photos.photo import Photo

TRAINING_ONLY = "text."
"""Weights that only training needs."""


class _BackboneCard(Immutable):
    backbone: str
    weights: Weights = "pretrained"
    folder: Path | None = None
    tokens: Literal["patches", "pooled"] = "patches"
    grid: int = Field(16, gt=0)


class _FusionCard(Immutable):
    heads: int
    layers: int = Field(1, ge=0)
    modality_dropout: float = 0.0
    expansion: int = 0
    dropout: float = 0.0


class _LocationCard(Immutable):
    encoder: str
    options: dict[str, Any] = Field(default_factory=dict)


class _ModelCard(Immutable):
    dim: int = Field(gt=0)
    image: _BackboneCard
    semantics: _BackboneCard | None = None
    fusion: _FusionCard
    location: _LocationCard


class _TokenCard(Immutable):
    image_dim: int
    image_tokens: int
    classes: int
    semantic_tokens: int


class FusionCard(Immutable):
    """The part of `card.json` that running needs; `retrieval.training` writes it.

    Attributes:
        files: file name to SHA-256 in hex.
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


class FusionPhotoEncoder(BatchedPhotoEncoder):
    """Backbones, fusion and GPS encoder of a trained folder. Backbones are loaded when the first photo comes.

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
        self._card, self._folder = read_card(folder, FusionCard), folder
        self._weights_folder, self._compute = weights_folder, compute_on(device, precision)
        self._semantics = semantics and self._card.model.semantics is not None
        if not semantics and not self._card.model.fusion.modality_dropout:
            raise UserError(f"{self._card.name} was trained without modality dropout: it needs the segmentation")
        backbones = (f"{kind}={one}" for kind, one in sorted(self._card.backbones.items()))
        parts = [verified_revision(folder, self._card.files), *backbones]
        revision = hashlib.sha256(" ".join([*parts, f"semantics={semantics}"]).encode()).hexdigest()[:16]
        super().__init__(EncoderIdentity(name=self._card.name, revision=revision, dim=self._card.model.dim))

    @override
    @torch.inference_mode()
    def _encode_photo_batch(self, photos: Sequence[Photo]) -> PhotoVectors:
        with self._compute.autocast():
            tokens = self._tokens(self._pixels(self._image, photos))
            classes = self._segmenter(self._pixels(self._segmenter, photos)) if self._segmenter else None
            views = self._towers.fusion(tokens.float(), None if classes is None else classes.float())
        return PhotoVectors(*(_to_numpy(view) for view in views))

    @override
    @torch.inference_mode()
    def _encode_point_batch(self, lat_lon_deg: NDArray[np.float32]) -> Vectors:
        return _to_numpy(self._towers.location(torch.from_numpy(lat_lon_deg).to(self._compute.device)))

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
        loaded = load_image_backbone(part.backbone, part.weights, self._weights_place(part))
        self._check_identity("image", loaded)
        return loaded.to(self._compute.device)

    @cached_property
    def _segmenter(self) -> Segmenter | None:
        part = self._card.model.semantics
        if part is None or not self._semantics:
            return None
        loaded = load_segmenter(part.backbone, part.grid, part.weights, self._weights_place(part))
        self._check_identity("semantics", loaded)
        return loaded.to(self._compute.device)

    @cached_property
    def _towers(self) -> TrainedTowers:
        towers = TrainedTowers(self._card)
        load_strictly(towers, read_trained(self._folder, self._card), self._folder)
        return towers.eval().requires_grad_(False).to(self._compute.device)

    def _weights_place(self, part: _BackboneCard) -> Path | None:
        if self._weights_folder is not None:
            return self._weights_folder
        return part.folder if part.folder is not None and part.folder.is_dir() else None

    def _check_identity(self, kind: str, loaded: Backbone) -> None:
        wanted = self._card.backbones.get(kind)
        if wanted != loaded.identity:
            raise UserError(
                f"{self._card.name} was trained on other weights of {loaded.description.name}"
                f" (SHA-256 {str(wanted)[:16]}, here {loaded.identity[:16]}): fetch those"
            )


def _to_numpy(vectors: Tensor) -> Vectors:
    return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


def read_trained(folder: Path, card: FusionCard) -> dict[str, Tensor]:
    """The trained weights, in single precision, without what only training needs.

    Raises:
        UserError: no such file, or not safetensors.
    """
    state = read_tensors(folder, card.files)
    return {name: tensor.float() for name, tensor in state.items() if not name.startswith(TRAINING_ONLY)}


def read_tensors(folder: Path, files: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of the safetensors among an encoder's files.

    Raises:
        UserError: no such file, or not safetensors.
    """
    state: dict[str, Tensor] = {}
    for name in (one for one in files if one.endswith(".safetensors")):
        try:
            state |= load_file(folder / name)
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot read the weights {folder / name} ({error}): {WHAT_TO_DO}") from error
    return state


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
            f"the weights in {folder} do not fit its card: {len(wrong)} tensors differ, such as {wrong[0]}:"
            f" {WHAT_TO_DO}"
        )
    module.load_state_dict(dict(state))
