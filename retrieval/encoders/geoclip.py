"""The `geoclip` encoder: CLIP ViT-L/14 with GeoCLIP's released projection and GPS encoder.

Vivanco Cepeda et al. 2023, arXiv 2309.16020 (MIT licence). Searched in a GPS
atlas of the gallery it was published with, it is GeoCLIP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from core.errors import UserError
from core.files import sha256_of_file
from retrieval.backbones.device import Compute, compute_on
from retrieval.backbones.hugging_face import CLIP_PROJECTION_DIM, ClipBackbone
from retrieval.backbones.registry import BACKBONES
from retrieval.encoders.base import BatchedPhotoEncoder, EncoderIdentity, PhotoVectors, Vectors
from retrieval.encoders.geoclip_release import CLIP, HOW_TO_GET, GeoClipFiles, GeoClipRelease
from retrieval.location.geoclip import GEOCLIP_DIM, GeoClipLocations
from retrieval.photos.photo import Photo


class LazyClip(NamedTuple):
    """CLIP, loaded when the first photo comes: encoding positions does without its 1.7 GB."""

    identity: str
    load: Callable[[], ClipBackbone]


def load_geoclip(files: GeoClipFiles, *, device: str = "auto", precision: str = "float32") -> GeoClipEncoder:
    """The encoder with the weights of some files.

    Args:
        precision: of CLIP: float32, bfloat16 or float16. The GPS encoder always computes in float32.
    """
    clip = LazyClip(sha256_of_file(files.clip), lambda: ClipBackbone(BACKBONES[CLIP], "pretrained", files.clip, 0))
    return GeoClipEncoder(files.release, clip, compute_on(device, precision))


class GeoClipEncoder(BatchedPhotoEncoder):
    """CLIP with GeoCLIP's projection. `image` and `fused` are the same; without a semantic view, `semantic` is zero."""

    photo_batch = 32

    def __init__(self, release: GeoClipRelease, clip: LazyClip, compute: Compute) -> None:
        self._release, self._lazy_clip, self._compute = release, clip, compute
        parts = (clip.identity, sha256_of_file(release.image_projection), sha256_of_file(release.location))
        revision = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
        super().__init__(EncoderIdentity(name="geoclip", revision=revision, dim=GEOCLIP_DIM))

    @override
    @torch.inference_mode()
    def _encode_photo_batch(self, photos: Sequence[Photo]) -> PhotoVectors:
        pixels = torch.from_numpy(np.stack([self._clip.prepare(photo.rgb) for photo in photos]))
        with self._compute.autocast():
            embeddings = self._clip.embeddings(pixels.to(self._compute.device))
        projected = nn.functional.normalize(self._projection(embeddings.float()), dim=-1)
        vectors = np.asarray(projected.cpu().numpy(), dtype=np.float32)
        return PhotoVectors(vectors, np.zeros_like(vectors), vectors)

    @override
    @torch.inference_mode()
    def _encode_point_batch(self, lat_lon_deg: NDArray[np.float32]) -> Vectors:
        vectors = self._points(torch.from_numpy(lat_lon_deg).to(self._compute.device))
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)

    @cached_property
    def _clip(self) -> ClipBackbone:
        return self._lazy_clip.load().to(self._compute.device)

    @cached_property
    def _projection(self) -> nn.Module:
        return load_projection(self._release.image_projection).to(self._compute.device)

    @cached_property
    def _points(self) -> nn.Module:
        return load_locations(self._release.location).to(self._compute.device)


def load_projection(path: Path) -> nn.Module:
    """GeoCLIP's projection of CLIP embeddings: (batch, 768) to (batch, 512), not normalised.

    Raises:
        UserError: not these weights.
    """
    layers = nn.Sequential(
        nn.Linear(CLIP_PROJECTION_DIM, CLIP_PROJECTION_DIM), nn.ReLU(), nn.Linear(CLIP_PROJECTION_DIM, GEOCLIP_DIM)
    )
    _load(path, layers.load_state_dict)
    return layers.eval().requires_grad_(False)


def load_locations(path: Path) -> GeoClipLocations:
    """GeoCLIP's GPS encoder with its released weights.

    Raises:
        UserError: not these weights.
    """
    encoder = GeoClipLocations()
    _load(path, encoder.load_released)
    encoder.eval().requires_grad_(False)
    return encoder


def _load(path: Path, take: Callable[[dict[str, Tensor]], object]) -> None:
    try:
        # weights_only: tensors and plain containers, no code.
        take(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} does not hold GeoCLIP's weights ({reason}): {HOW_TO_GET} again") from error
