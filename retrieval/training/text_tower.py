"""The text view: "A photo taken in Paris, Île-de-France, France" as a vector.

`chars` is a small encoder trained with the rest: a bag of hashed letter
triples and words, so that names of one country share something. Any other name
is a frozen text model of `transformers` (CLIP's, or a sentence encoder whose
token vectors are averaged) with a trained head.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from core.errors import UserError
from retrieval.encoders.fusion import Head

BUCKETS, LONGEST = 16384, 96


class TextConfig(BaseModel):
    """Which text encoder, and what it reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = Field("chars", description="`chars`, or a folder or hub name of a transformers text model")
    template: str = "A photo taken in {place}"
    width: int = Field(128, gt=0, description="of the `chars` encoder")


class TextTower(Protocol):
    """Texts to integers in a worker process, and integers to vectors on the device."""

    def numbers(self, texts: Sequence[str]) -> Tensor:
        """Texts as integers (n, length); 0 is padding."""
        ...

    def __call__(self, numbers: Tensor) -> Tensor:
        """(n, length) to (n, dim), L2-normalised."""
        ...


class CharTower(nn.Module):
    """Bag of hashed letter triples and words, then a head."""

    def __init__(self, dim: int, width: int, template: str = "{place}") -> None:
        super().__init__()
        self.template = template
        self.bag = nn.EmbeddingBag(BUCKETS, width, mode="mean", padding_idx=0)
        self.head = Head(width, dim, 0.0)

    def numbers(self, texts: Sequence[str]) -> Tensor:
        """Hashes of the triples and words of each text, (n, 96)."""
        rows = [_hashes(self.template.format(place=text)) for text in texts]
        return torch.tensor([row + [0] * (LONGEST - len(row)) for row in rows], dtype=torch.long)

    def forward(self, numbers: Tensor) -> Tensor:
        """(n, length) to (n, dim)."""
        vectors: Tensor = self.head(self.bag(numbers))
        return vectors


class TransformerTower(nn.Module):
    """A frozen text model of `transformers` and a trained head.

    Args:
        model: gives `last_hidden_state`, and `text_embeds` or `pooler_output` if it was trained for that.
        tokenizer: its own.
        hidden: width of what the head reads.
        dim: of the vectors.
        template: with `{place}`.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, hidden: int, dim: int, template: str) -> None:
        super().__init__()
        self.model, self.template = model.requires_grad_(False).eval(), template
        self._tokenizer = tokenizer
        self.head = Head(hidden, dim, 0.0)

    def train(self, mode: bool = True) -> TransformerTower:
        """The frozen model stays in evaluation mode."""
        super().train(mode)
        self.model.eval()
        return self

    def numbers(self, texts: Sequence[str]) -> Tensor:
        """Token ids and masks side by side, (n, 2 * length)."""
        filled = [self.template.format(place=text) for text in texts]
        read = self._tokenizer(filled, padding="max_length", max_length=LONGEST // 2, truncation=True)
        return torch.cat([torch.tensor(read["input_ids"]), torch.tensor(read["attention_mask"])], dim=1)

    def forward(self, numbers: Tensor) -> Tensor:
        """Ids and masks to (n, dim)."""
        ids, mask = numbers.chunk(2, dim=1)
        with torch.no_grad():
            pooled = _pooled(self.model(input_ids=ids, attention_mask=mask), mask)
        vectors: Tensor = self.head(pooled.float())
        return vectors


def build_text_tower(config: TextConfig, dim: int) -> CharTower | TransformerTower:
    """The text encoder a configuration names.

    Raises:
        UserError: transformers is missing, or the model cannot be had.
    """
    if config.encoder == "chars":
        return CharTower(dim, config.width, config.template)
    try:
        from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModelWithProjection
    except ImportError as error:
        raise UserError('model.text: transformers is not installed: pip install "geosleuth[train]"') from error
    try:
        tokenizer, shape = (one.from_pretrained(config.encoder) for one in (AutoTokenizer, AutoConfig))
        is_clip = "clip" in shape.model_type
        kind = CLIPTextModelWithProjection if is_clip else AutoModel
        model = kind.from_pretrained(config.encoder)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"model.text.encoder: cannot load {config.encoder!r} ({first}): give a folder with the model, or `chars`"
        ) from error
    text_shape = getattr(shape, "text_config", shape)
    hidden = text_shape.projection_dim if is_clip else text_shape.hidden_size
    return TransformerTower(model, tokenizer, hidden, dim, config.template)


def text_number(text: str) -> int:
    """An integer that is equal for equal texts."""
    return zlib.crc32(text.encode())


def _hashes(text: str) -> list[int]:
    lowered = f" {text.lower()} "
    pieces = [lowered[i : i + 3] for i in range(len(lowered) - 2)] + lowered.split()
    return [1 + zlib.crc32(piece.encode()) % (BUCKETS - 1) for piece in pieces][:LONGEST]


def _pooled(said: Any, mask: Tensor) -> Tensor:
    """The model's own pooled vector if it has a trained one (CLIP), else the mean of its tokens."""
    vectors: Tensor | None = getattr(said, "text_embeds", None)
    if vectors is not None:
        return vectors
    hidden: Tensor = said.last_hidden_state
    weights = mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
