"""DualGeo's training loop as its public code has it, for comparison of speed only.

Written from a description of `DualGeo_train.py` and `utils/DualView_seg.py` of CJ310177/DualGeo at eb3eccb; no line is
copied. Frozen CLIP's pooled vector, a ResNet18 from scratch on the one-channel class map, attention across the batch,
three capsules of random Fourier features on Web Mercator coordinates that are computed on the CPU one by one in every
step, two symmetric InfoNCE terms, AdamW, one backward pass over the whole batch, half precision with a scaler.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from retrieval.backbones.hugging_face import ClipBackbone
from retrieval.backbones.registry import load_image_backbone
from retrieval.encoders.fusion import Views
from retrieval.training.config import ImageConfig

PUBLISHED_DIM = 768
HEADS = 8


class BatchMixingAttention(nn.Module):
    """Attention of the vectors of one stream to those of all photos in the batch; residual, then layer norm."""

    def __init__(self, dim: int, heads: int = HEADS, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out, self.norm, self.dropout = nn.Linear(dim, dim), nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Both (batch, dim), as is the result, each row of which depends on all rows of `context`."""
        query, key, value = (
            self._split(layer(vectors))
            for layer, vectors in ((self.query, queries), (self.key, context), (self.value, context))
        )
        weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)
        mixed = (self.dropout(weights) @ value).transpose(0, 1).flatten(1)
        normed: Tensor = self.norm(queries + self.dropout(self.out(mixed)))
        return normed

    def _split(self, vectors: Tensor) -> Tensor:
        """(batch, dim) to (heads, batch, dim / heads): the published transposition."""
        return vectors.reshape(len(vectors), self.heads, -1).transpose(0, 1)


class BatchMixingFusion(nn.Module):
    """Both streams pooled to one vector each, mixed across the batch, and two trained heads.

    Published with CLIP's pooled vector and a ResNet18 on the class map; here the streams are the same frozen
    features that every other variant gets, flattened for the segmentation so that its layout is kept.

    Args:
        image_dim: channels of an image token.
        semantic_dim: numbers in a whole segmentation grid (tokens x classes).
        dim: width; 768 as published.
        mixes: False leaves the attention out, as an ablation.
    """

    def __init__(self, image_dim: int, semantic_dim: int, dim: int = PUBLISHED_DIM, *, mixes: bool = True) -> None:
        super().__init__()
        self.mixes = mixes
        self.image_in = nn.Linear(image_dim, dim)
        self.semantic_in = nn.Sequential(nn.Linear(semantic_dim, 512), nn.ReLU(), nn.Linear(512, dim))
        self.semantic_project = nn.Linear(dim, dim, bias=False)
        self.to_semantic, self.to_image = BatchMixingAttention(dim), BatchMixingAttention(dim)
        self.image_head, self.semantic_head = _head(dim), _head(dim)

    def forward(self, image_tokens: Tensor, class_distributions: Tensor) -> Views:
        """Tokens (batch, tokens, image_dim), distributions (batch, tokens, classes): both heads' vectors, and one more.

        `fused` is the enhanced image vector *before* its head, which no loss sees directly: the published index holds
        it, of length 1, joined with the frozen net's vector, and neither head.
        """
        image = self.image_in(image_tokens.mean(dim=1))
        semantic = self.semantic_project(self.semantic_in(class_distributions.flatten(1)))
        if self.mixes:
            enhanced, enhanced_semantic = self.to_semantic(image, semantic), self.to_image(semantic, image)
        else:
            enhanced, enhanced_semantic = self.to_semantic.norm(image), self.to_image.norm(semantic)
        vectors = (self.image_head(enhanced), self.semantic_head(enhanced_semantic), enhanced)
        return Views(*(nn.functional.normalize(vector.float(), dim=-1) for vector in vectors))


def _head(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))


EDGE_M = 20037508.3427892
EARTH_M = 6378137.0
LOGIT_SCALE = 3.99


class _Capsule(nn.Module):
    """Random Fourier features of one scale, three layers, a head: (batch, 2) to (batch, 512)."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", sigma * torch.randn(256, 2))
        sizes = [512, 1024, 1024, 1024]
        layers = [one for a, b in itertools.pairwise(sizes) for one in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(1024, 512))

    def forward(self, xy: Tensor) -> Tensor:
        phase = 2.0 * math.pi * xy @ self.frequencies.T
        found: Tensor = self.layers(torch.cat([phase.cos(), phase.sin()], dim=-1))
        return found


class PublishedModel(nn.Module):
    """What is trained, and frozen CLIP."""

    def __init__(self, clip: ClipBackbone) -> None:
        super().__init__()
        self.clip = clip
        shape = ResNetConfig(num_channels=1, depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic")
        self.segments = ResNetModel(shape)
        dim = PUBLISHED_DIM
        self.segment_out, self.segment_project = nn.Linear(512, dim), nn.Linear(dim, dim, bias=False)
        self.to_semantic, self.to_image = BatchMixingAttention(dim), BatchMixingAttention(dim)
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim)) for _ in range(2))
        self.capsules = nn.ModuleList(_Capsule(sigma) for sigma in (1.0, 16.0, 256.0))
        self.place_head = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, dim))
        self.scales = nn.ParameterList(nn.Parameter(torch.tensor(LOGIT_SCALE)) for _ in range(2))

    def forward(self, pixels: Tensor, maps: Tensor, lat_lon_deg: Tensor) -> Tensor:
        """Pixels (batch, size, size, 3), maps (batch, 1, 224, 224), positions (batch, 2) to the loss."""
        image = self.clip.embeddings(pixels).float()
        semantic = self.segment_project(self.segment_out(self.segments(maps).pooler_output.flatten(1)))
        views = self.to_semantic(image, semantic), self.to_image(semantic, image)
        xy = web_mercator(lat_lon_deg).to(image.device)
        places = self.place_head(torch.stack([capsule(xy) for capsule in self.capsules]).sum(dim=0))
        places = places / places.norm(dim=-1, keepdim=True)
        total = torch.zeros((), device=image.device)
        for head, view, scale in zip(self.heads, views, self.scales, strict=True):
            vectors = head(view)
            logits = vectors / vectors.norm(dim=-1, keepdim=True) @ places.T * scale.exp()
            right = torch.arange(len(logits), device=logits.device)
            there, back = (nn.functional.cross_entropy(one, right) for one in (logits, logits.T))
            total = total + (there + back) / 2.0
        return total


def web_mercator(lat_lon_deg: Tensor) -> Tensor:
    """Positions (batch, 2) on Web Mercator, divided by its edge, one after the other on the CPU."""
    found = []
    for lat, lon in lat_lon_deg.cpu().tolist():
        y = EARTH_M * math.log(math.tan(math.pi / 4.0 + math.radians(lat) / 2.0))
        found.append([y / EDGE_M, EARTH_M * math.radians(lon) / EDGE_M])
    return torch.tensor(found)


class PublishedLoop:
    """One step after the other, nothing overlapped."""

    def __init__(self, image: ImageConfig, device: torch.device, *, half: bool) -> None:
        torch.manual_seed(0)
        clip = load_image_backbone(image.backbone, image.weights, image.folder)
        assert isinstance(clip, ClipBackbone), "the published loop is of CLIP"  # noqa: S101  # for the type checker
        self._device, self._half = device, half
        self._model = PublishedModel(clip).to(device)
        trained = [one for one in self._model.parameters() if one.requires_grad]
        self._optimiser = torch.optim.AdamW(trained, 4e-5, weight_decay=1e-6)
        self._scaler = torch.amp.GradScaler(device.type, enabled=half)
        self._size_px = clip.description.preprocessing.size_px

    def batch(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Random photos, maps as grey values, positions."""
        size = self._size_px
        pixels = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, device=self._device)
        positions = (torch.rand(count, 2) - 0.5) * torch.tensor([160.0, 340.0])
        return pixels, torch.rand(count, 1, max(size, 64), max(size, 64), device=self._device), positions

    def step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Loss, backward, AdamW."""
        self._optimiser.zero_grad()
        with torch.autocast(self._device.type, torch.float16, enabled=self._half):
            loss = self._model(*batch)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        loss.item()
