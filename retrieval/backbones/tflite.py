"""Two small quantised networks for CPUs, run from `.tflite` files by `ai-edge-litert`.

MobileNetV1 1.0/224 (ImageNet) gives a token grid and, averaged, an embedding;
DeepLab on MobileNet-EdgeTPU gives Cityscapes class distributions.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import UserError
from retrieval.backbones.base import (
    BackboneDescription,
    ImageBackbone,
    Pixels,
    Segmenter,
    Weights,
    resized,
    weights_identity,
)

TOKEN_SHAPE = (7, 7, 1024)
SEGMENT_SHAPE = (33, 33, 19)
_TINY_CELLS, _TINY_DIM = 4, 16


class TfLiteNet:
    """One quantised net with one inner uint8 tensor, found by its shape, as output.

    Raises:
        UserError: no such file, or ai-edge-litert is not installed.
    """

    def __init__(self, path: Path, inner_shape: tuple[int, ...], threads: int = 1) -> None:
        interpreter = _interpreter()
        if not path.is_file():
            raise UserError(
                f"no net at {path}: give the folder of the .tflite files, or python -m retrieval.backbones.weights"
            )
        with warnings.catch_warnings():
            # The interpreter warns that keeping inner tensors costs memory; here they are the output.
            warnings.simplefilter("ignore", UserWarning)
            self._net = interpreter(str(path), num_threads=threads, experimental_preserve_all_tensors=True)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]
        self._inner = self._last_of_shape((1, *inner_shape))

    def _last_of_shape(self, shape: tuple[int, ...]) -> dict[str, Any]:
        details: list[dict[str, Any]] = self._net.get_tensor_details()
        return [d for d in details if tuple(d["shape"]) == shape][-1]

    def __call__(self, pixels: Pixels) -> NDArray[np.uint8]:
        """uint8 (size, size, 3) to the inner tensor, quantised."""
        self._net.set_tensor(self._input["index"], pixels[None])
        self._net.invoke()
        return np.asarray(self._net.get_tensor(self._inner["index"])[0], dtype=np.uint8)

    @property
    def size_px(self) -> int:
        """Of the square the net takes."""
        return int(self._input["shape"][1])

    @property
    def scale_zero(self) -> tuple[float, int]:
        """Real value = scale * (quantised - zero)."""
        scale, zero = self._inner["quantization"]
        return float(scale), int(zero)

    def real(self, pixels: Pixels) -> NDArray[np.float32]:
        """The inner tensor as real numbers."""
        scale, zero = self.scale_zero
        return np.asarray((self(pixels).astype(np.float32) - zero) * scale, dtype=np.float32)


def _interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise UserError("the .tflite nets need ai-edge-litert: pip install 'geosleuth[train]'") from error
    return Interpreter


class MobileNetBackbone(ImageBackbone):
    """MobileNetV1's last feature map as tokens; `forward` computes on the CPU, wherever the pixels are."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int) -> None:
        description = resized(about, 32, _TINY_DIM, _TINY_CELLS**2) if weights == "tiny" else about
        cells = _TINY_CELLS if weights == "tiny" else TOKEN_SHAPE[0]
        network = TfLiteNet(file, TOKEN_SHAPE) if file else _RandomFeatures(description.dim, cells, seed)
        super().__init__(description, network, weights_identity(weights, file, seed))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 224, 224, 3) to tokens (batch, 49, 1024)."""
        return torch.relu(_feature_map(self.network, pixels)).flatten(2).transpose(1, 2)


class DeepLabSegmenter(Segmenter):
    """DeepLab's distributions over the 19 Cityscapes classes; computes on the CPU, wherever the pixels are."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int, grid: int) -> None:
        description = resized(about, 66, about.dim, None) if weights == "tiny" else about
        network = TfLiteNet(file, SEGMENT_SHAPE) if file else _RandomFeatures(about.dim, SEGMENT_SHAPE[0], seed)
        super().__init__(description, network, weights_identity(weights, file, seed), grid)

    def probabilities(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 513, 513, 3) to (batch, 19, 33, 33)."""
        return torch.softmax(_feature_map(self.network, pixels), dim=1)


class _RandomFeatures(nn.Module):
    """Average colours of a grid of cells through a random projection, in place of a network without its weights."""

    def __init__(self, channels: int, cells: int, seed: int) -> None:
        super().__init__()
        self.cells = cells
        drawn = torch.randn(channels, 3, 1, 1, generator=torch.Generator().manual_seed(seed))
        self.projection: Tensor
        self.register_buffer("projection", 4.0 * drawn)

    def forward(self, pixels: Tensor) -> Tensor:
        colours = nn.functional.adaptive_avg_pool2d(pixels.permute(0, 3, 1, 2).float() / 255.0 - 0.5, self.cells)
        return nn.functional.conv2d(colours, self.projection)


def _feature_map(network: TfLiteNet | _RandomFeatures, pixels: Tensor) -> Tensor:
    """uint8 (batch, size, size, 3) to (batch, channels, rows, columns)."""
    if isinstance(network, _RandomFeatures):
        features: Tensor = network(pixels)
        return features
    found = np.stack([network.real(one) for one in pixels.cpu().numpy()])
    return torch.from_numpy(found).permute(0, 3, 1, 2).to(pixels.device)
