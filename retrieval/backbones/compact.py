"""The compact backbone: one small network for tokens and segmentation.

Plain residual blocks (He et al. 2016) on a patchified stem: dense 3x3
convolutions run several times faster on CPUs than depthwise ones of the same
size, in training and under ONNX Runtime. Needs torch; inference does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from core.errors import UserError
from core.json_text import parse_json
from retrieval.backbones.base import BackboneDescription, ImageBackbone, Segmenter, Weights, resized, weights_identity

CLASSES = 19
BACKBONE_STRIDE = 32


class CompactOutput(NamedTuple):
    """What the compact backbone computes of a batch of photos.

    Attributes:
        tokens: (batch, tokens, channels), a square grid in reading order, one token a 32 px cell.
        class_logits: (batch, 19, rows, columns), one cell 16 px; unnormalised scores of the Cityscapes classes.
    """

    tokens: Tensor
    class_logits: Tensor


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm: nn.Module = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        last_norm = nn.BatchNorm2d(outputs)
        nn.init.zeros_(last_norm.weight)
        self.second_norm: nn.Module = last_norm
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=True) if stride > 1 else nn.Identity()

    def forward(self, grid: Tensor) -> Tensor:
        """(batch, in, h, w) to (batch, out, h / stride, w / stride)."""
        inner = torch.relu(self.first_norm(self.first(grid)))
        return torch.relu(self.second_norm(self.second(inner)) + self.shortcut(grid))


class CompactBackbone(nn.Module):
    """Photos to a 5 x 5 token grid and a 10 x 10 segmentation for 160 px input, in proportion for others.

    Args:
        widths: channels at 1/4, 1/8, 1/16 and 1/32 of the input's size.
        blocks: residual blocks at 1/8, 1/16 and 1/32.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 4, 4, bias=False)
        self.stem_norm: nn.Module = nn.BatchNorm2d(widths[0])
        self.eighth = _stage(widths[0], widths[1], blocks[0])
        self.sixteenth = _stage(widths[1], widths[2], blocks[1])
        self.thirty_second = _stage(widths[2], widths[3], blocks[2])
        self.segment_deep = nn.Conv2d(widths[3], widths[2], 1)
        self.segment = nn.Conv2d(widths[2], CLASSES, 1)
        self.register_buffer("mean", torch.tensor([123.7, 116.3, 103.5]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([58.4, 57.1, 57.4]).view(1, 3, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def forward(self, pixels: Tensor) -> CompactOutput:
        """Pixels float32 (batch, 3, size, size) in 0..255; the result depends on each photo alone in eval mode."""
        grid = torch.relu(self.stem_norm(self.stem((pixels - self.mean) / self.std)))
        middle = self.sixteenth(self.eighth(grid))
        deep = self.thirty_second(middle)
        from_deep = nn.functional.interpolate(self.segment_deep(deep), scale_factor=2.0, mode="nearest")
        class_logits = self.segment(torch.relu(middle + from_deep))
        return CompactOutput(deep.flatten(2).transpose(1, 2), class_logits)


def class_distributions(class_logits: Tensor) -> Tensor:
    """Class logits (batch, classes, rows, columns) as distributions of semantic tokens (batch, tokens, classes)."""
    probabilities = torch.softmax(class_logits, dim=1)
    return nn.functional.avg_pool2d(probabilities, 2).flatten(2).transpose(1, 2)


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    first = ResidualBlock(inputs, outputs, 2)
    return nn.Sequential(first, *[ResidualBlock(outputs, outputs, 1) for _ in range(blocks - 1)])


def fold_norms(backbone: CompactBackbone) -> None:
    """Fold every batch normalisation into the convolution before it, in place; the backbone must be in eval mode."""
    backbone.stem, backbone.stem_norm = _folded(backbone.stem, backbone.stem_norm)
    for block in backbone.modules():
        if isinstance(block, ResidualBlock):
            block.first, block.first_norm = _folded(block.first, block.first_norm)
            block.second, block.second_norm = _folded(block.second, block.second_norm)


def _folded(convolution: nn.Conv2d, norm: nn.Module) -> tuple[nn.Conv2d, nn.Module]:
    assert isinstance(norm, nn.BatchNorm2d), "norms are folded once"  # noqa: S101  # a programming error
    return fuse_conv_bn_eval(convolution, norm), nn.Identity()


_TINY_WIDTHS, _TINY_BLOCKS, _TINY_PX = (8, 8, 16, 16), (1, 1, 1), 64


def _network(weights: Weights, file: Path | None, seed: int) -> CompactBackbone:
    """The shipped network out of `weights.safetensors` beside its card, or one with random weights."""
    if file is not None:
        return _shipped(file)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tiny = weights == "tiny"
        shape = (_TINY_WIDTHS, _TINY_BLOCKS) if tiny else ((32, 96, 192, 256), (1, 2, 2))
        return CompactBackbone(*shape).eval()


def _shipped(file: Path) -> CompactBackbone:
    from safetensors.torch import load_file

    try:
        card = parse_json((file.parent / "card.json").read_bytes())
        shape = card["config"]["model"]
        network = CompactBackbone(shape["widths"], shape["blocks"]).eval()
        fold_norms(network)
        prefix = "photos.backbone."
        state = {name.removeprefix(prefix): t.float() for name, t in load_file(file).items() if name.startswith(prefix)}
        network.load_state_dict(state, strict=True)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{file} holds no compact backbone ({str(error).splitlines()[0]}): reinstall it") from error
    return network


class CompactTokens(ImageBackbone):
    """The tokens of the compact backbone, as shipped."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int) -> None:
        cells = (_TINY_PX // BACKBONE_STRIDE) ** 2
        description = resized(about, _TINY_PX, _TINY_WIDTHS[-1], cells) if weights == "tiny" else about
        super().__init__(description, _network(weights, file, seed), weights_identity(weights, file, seed))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 160, 160, 3) to tokens (batch, 25, 256)."""
        found: CompactOutput = self.network(pixels.permute(0, 3, 1, 2).float())
        return found.tokens


class CompactSegmenter(Segmenter):
    """The class distributions of the compact backbone, as shipped."""

    def __init__(self, about: BackboneDescription, weights: Weights, file: Path | None, seed: int, grid: int) -> None:
        description = resized(about, _TINY_PX, CLASSES, None) if weights == "tiny" else about
        super().__init__(description, _network(weights, file, seed), weights_identity(weights, file, seed), grid)

    def probabilities(self, pixels: Tensor) -> Tensor:
        """uint8 (batch, 160, 160, 3) to (batch, 19, 10, 10)."""
        found: CompactOutput = self.network(pixels.permute(0, 3, 1, 2).float())
        return torch.softmax(found.class_logits.float(), dim=1)
