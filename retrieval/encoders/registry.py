"""The list of photo encoders, by name, and how to load one. Importing it loads neither torch nor ONNX Runtime."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.json_text import parse_json
from retrieval.encoders.base import EncoderDescription, PhotoEncoder

if TYPE_CHECKING:
    from retrieval.crossview.encoder import CrossviewEncoder

_COMPACT = EncoderDescription(
    name="compact",
    dim=256,
    preprocessing="whole photo to 160 x 160 px RGB, antialiased bilinear, aspect ratio given up",
    licence="Apache-2.0",
    source="ships with the package; trained from scratch by retrieval.training",
    folder=Path(__file__).parents[1] / "data" / "compact",
)

_GEOCLIP = EncoderDescription(
    name="geoclip",
    dim=512,
    preprocessing="shorter side to 224 px, bicubic, centre 224 x 224 px, as CLIP",
    licence="MIT (GeoCLIP, CLIP)",
    source="CLIP ViT-L/14 from openai/clip-vit-large-patch14 (1.7 GB) and the weights in the geoclip package",
    folder=None,
)

ENCODERS: Mapping[str, EncoderDescription] = MappingProxyType({one.name: one for one in (_COMPACT, _GEOCLIP)})

TORCH_EXTRA = "pip install 'geosleuth[train]'"
GALLERY_SOURCE = "GeoCLIP's gallery"


class Gallery(NamedTuple):
    """Coordinates that an encoder was published with, to be searched by it.

    Attributes:
        lat_lon_deg: (n, 2), latitude first.
        ids: n names.
    """

    source: str
    lat_lon_deg: NDArray[np.float64]
    ids: Sequence[str]


def own_gallery(encoder_name: str) -> Gallery | None:
    """The gallery that comes with an encoder; None if it comes with none.

    Raises:
        UserError: the package that holds it is not installed.
    """
    if encoder_name != _GEOCLIP.name:
        return None
    from retrieval.encoders.geoclip_release import find_release, read_gallery

    found = read_gallery(find_release().gallery)
    return Gallery(GALLERY_SOURCE, found, [f"geoclip-{i}" for i in range(len(found))])


def check_encoder_name(name_or_folder: str | Path) -> None:
    """Refuse what is neither a known name nor a folder with an encoder, without loading anything.

    Raises:
        UserError: the message lists the names.
    """
    if str(name_or_folder) not in ENCODERS and not os.path.isfile(Path(name_or_folder) / "card.json"):
        names = ", ".join(sorted(ENCODERS))
        raise UserError(f"no encoder {str(name_or_folder)!r}: use one of {names}, or a folder with a card.json")


def load_encoder(
    name_or_folder: str | Path,
    threads: int | None = None,
    *,
    device: str = "auto",
    precision: str = "float32",
    weights_folder: Path | None = None,
) -> PhotoEncoder:
    """The encoder of that name, or the one in a folder written by `retrieval.training`.

    Args:
        name_or_folder: a name in `ENCODERS`, or a folder with a `card.json`.
        threads: CPU threads of one call; None leaves it to the library that computes.
        device: cpu, cuda, auto; `compact` always computes on the CPU.
        precision: float32, bfloat16 or float16; likewise.
        weights_folder: holds the weight files of pretrained backbones; None looks in the caches.

    Raises:
        UserError: neither a known name nor such a folder, missing or damaged weights, or torch not installed.
    """
    check_encoder_name(name_or_folder)
    name = str(name_or_folder)
    if name == _GEOCLIP.name:
        _check_torch(name)
        from retrieval.encoders.geoclip_release import find_files

        files = find_files(weights_folder)  # before torch, which takes seconds to import
        _prepare_torch(name, threads)
        from retrieval.encoders.geoclip import load_geoclip

        return load_geoclip(files, device=device, precision=precision)
    known = ENCODERS.get(name)
    folder = (known and known.folder) or Path(name_or_folder)
    if _is_fusion(folder):
        _prepare_torch(name, threads)
        from retrieval.encoders.fused import FusionPhotoEncoder

        return FusionPhotoEncoder(folder, device=device, precision=precision, weights_folder=weights_folder)
    from retrieval.encoders.compact import OnnxPhotoEncoder

    return OnnxPhotoEncoder(folder, threads)


def load_crossview_encoder(folder: Path, threads: int | None = None, *, device: str = "auto") -> CrossviewEncoder:
    """The encoder of photos and satellite tiles in a folder that `recipe: crossview` left.

    Args:
        threads: CPU threads of one call; None leaves it to torch.
        device: cpu, cuda, auto.

    Raises:
        UserError: no such folder, missing or damaged weights, or torch not installed.
    """
    if not os.path.isfile(folder / "card.json"):
        raise UserError(
            f"no cross-view encoder at {folder}: give the folder that"
            " `python -m retrieval.training.train configs/crossview_compact.yaml` left, with its card.json"
        )
    _prepare_torch(folder.name, threads)
    from retrieval.crossview.encoder import CrossviewEncoder

    return CrossviewEncoder(folder, device=device)


def computes_with_torch(name_or_folder: str | Path) -> bool:
    """Whether an encoder computes with torch, and so on a GPU where there is one; the others compute on the CPU."""
    return str(name_or_folder) == _GEOCLIP.name or _is_fusion(Path(name_or_folder))


def _is_fusion(folder: Path) -> bool:
    """Whether the card is of a fusion encoder on pretrained backbones; the loader reports any other fault in it."""
    try:
        card = parse_json((folder / "card.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("kind") == "fusion"


def _check_torch(name: str) -> None:
    """Check that the packages are installed."""
    for package in ("torch", "transformers", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"the encoder {name} needs {package}: {TORCH_EXTRA}")


def _prepare_torch(name: str, threads: int | None) -> None:
    """Check that the packages are installed, and set torch's threads."""
    _check_torch(name)
    from retrieval.backbones.device import use_threads

    use_threads(threads)
