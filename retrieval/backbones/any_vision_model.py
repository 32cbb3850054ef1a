"""Any vision model of `transformers`, out of a folder of the Hugging Face hub: ConvNeXt, Swin, ViT, DINOv2 ...

hf download facebook/convnext-base-384-22k-1k --local-dir weights/convnext-base
image = load_image_backbone("transformers", folder=Path("weights/convnext-base"))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, PositiveFloat, ValidationError
from torch import Tensor
from transformers import AutoConfig, AutoModel, ConvNextConfig, ConvNextModel

from core.errors import UserError
from retrieval.backbones.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    BackboneDescription,
    ImageBackbone,
    Weights,
    build_network,
    resized,
    weights_identity,
)

_CONVNEXT_BASE: dict[str, Any] = {"depths": [3, 3, 27, 3], "hidden_sizes": [128, 256, 512, 1024], "image_size": 384}
_CONVNEXT_TINY: dict[str, Any] = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16], "image_size": 64}
STRIDE = 32


class _Processing(BaseModel):
    """The part of `preprocessor_config.json` that is used: what photos are normalised with, by channel, of 0 to 1."""

    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = IMAGENET_STD


class AnyVisionModel(ImageBackbone):
    """Tokens of a vision model: the cells of its last feature map, or its last hidden states.

    Random weights have the shape of ConvNeXt-B at 384 px (Liu et al. 2022), which Sample4Geo trains.
    """

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int) -> None:
        if file is None:
            shape = _CONVNEXT_TINY if weights == "tiny" else _CONVNEXT_BASE
            config, processing = ConvNextConfig(**shape), _Processing()
        else:
            config, processing = _config_of(file.parent), _processing_of(file.parent)
        network = build_network(ConvNextModel if file is None else AutoModel, config, about.name, file, seed)
        description = _described(about, config, processing)
        super().__init__(description, network, weights_identity(weights, file, seed))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, height, width, 3) to tokens (batch, tokens, dim); convolutions take any size."""
        found: Tensor = self.network(self.description.preprocessing.normalise(pixels)).last_hidden_state
        return found.flatten(2).transpose(1, 2) if found.dim() == 4 else found


def _config_of(folder: Path) -> Any:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no model of transformers ({_first_line(error)})") from error
    if hasattr(config, "text_config"):
        raise UserError(f"{folder} holds a model of images and texts: save its vision model, or use clip-vit-l14")
    return config


def _processing_of(folder: Path) -> _Processing:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return _Processing()
    try:
        return _Processing.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{path} is damaged ({_first_line(error)}): fetch it again") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _described(about: BackboneDescription, config: Any, processing: _Processing) -> BackboneDescription:
    """The description of this very model: its sizes, and how its photos are normalised."""
    size = getattr(config, "image_size", None) or about.preprocessing.size_px
    size_px = int(size if isinstance(size, int) else size[0])
    sizes = getattr(config, "hidden_sizes", None)
    dim = int(sizes[-1] if sizes else config.hidden_size)
    described = resized(about, size_px, dim, (size_px // STRIDE) ** 2 if sizes else None)
    normalised = {"mean": processing.image_mean, "std": processing.image_std}
    preprocessing = described.preprocessing.model_copy(update=normalised)
    return described.model_copy(update={"preprocessing": preprocessing})
