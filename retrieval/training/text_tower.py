"""The text view: "A photo taken in Paris, Île-de-France, France" as a vector.

`chars` is a small encoder trained with the other towers: a bag of hashed letter
triples and words (as in fastText), so that names of one country share features.
Any other name is a frozen text model of `transformers` (CLIP's, or a sentence
encoder whose token vectors are averaged) with a trained head.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from core.errors import UserError
from core.frozen import Frozen
from retrieval.encoders.fusion import Head

BUCKETS, MAX_TOKENS = 16384, 96


class TextConfig(Frozen):
    """Which text encoder, and the sentence it reads."""

    encoder: str = Field("chars", description="`chars`, or a folder or hub name of a transformers text model")
    template: str = "A photo taken in {place}"
    width: int = Field(128, gt=0, description="of the `chars` encoder")


class TextTower(Protocol):
    """Tokenizes texts in a worker process, and maps token ids to vectors on the device."""

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Texts as int64 token ids (n, length); 0 is padding."""
        ...

    def __call__(self, token_ids: Tensor) -> Tensor:
        """(n, length) to (n, dim), L2-normalised."""
        ...


class CharTower(nn.Module):
    """Bag of hashed letter triples and words, then a head."""

    def __init__(self, dim: int, width: int, template: str = "{place}") -> None:
        super().__init__()
        self.template = template
        self.bag = nn.EmbeddingBag(BUCKETS, width, mode="mean", padding_idx=0)
        self.head = Head(width, dim, 0.0)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Hashes of the triples and words of each text, (n, 96)."""
        rows = [_hashes(self.template.format(place=text)) for text in texts]
        return torch.tensor([row + [0] * (MAX_TOKENS - len(row)) for row in rows], dtype=torch.long)

    def forward(self, token_ids: Tensor) -> Tensor:
        """(n, length) to (n, dim), L2-normalised."""
        vectors: Tensor = self.head(self.bag(token_ids))
        return vectors


class TransformerTower(nn.Module):
    """A frozen text model of `transformers` and a trained head.

    Args:
        model: returns `last_hidden_state`, and `text_embeds` if it has a trained projection.
        hidden: width of the head's input.
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

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids and masks side by side, (n, 2 * length)."""
        filled = [self.template.format(place=text) for text in texts]
        encoded = self._tokenizer(filled, padding="max_length", max_length=MAX_TOKENS // 2, truncation=True)
        return torch.cat([torch.tensor(encoded["input_ids"]), torch.tensor(encoded["attention_mask"])], dim=1)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Ids and masks (n, 2 * length) to (n, dim), L2-normalised."""
        ids, mask = token_ids.chunk(2, dim=1)
        with torch.no_grad():
            pooled = _pooled(self.model(input_ids=ids, attention_mask=mask), mask)
        vectors: Tensor = self.head(pooled.float())
        return vectors


def build_text_tower(config: TextConfig, dim: int) -> CharTower | TransformerTower:
    """Load the text encoder named in the configuration.

    Raises:
        UserError: transformers is not installed, or the model cannot be loaded.
    """
    if config.encoder == "chars":
        return CharTower(dim, config.width, config.template)
    try:
        from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModelWithProjection
    except ImportError as error:
        raise UserError('model.text: transformers is not installed: pip install "geosleuth[train]"') from error
    try:
        tokenizer, shape = AutoTokenizer.from_pretrained(config.encoder), AutoConfig.from_pretrained(config.encoder)
        is_clip = "clip" in shape.model_type
        model = (CLIPTextModelWithProjection if is_clip else AutoModel).from_pretrained(config.encoder)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"model.text.encoder: cannot load {config.encoder!r} ({first}): give a folder with the model, or `chars`"
        ) from error
    text_shape = getattr(shape, "text_config", shape)
    hidden = text_shape.projection_dim if is_clip else text_shape.hidden_size
    return TransformerTower(model, tokenizer, hidden, dim, config.template)


def text_id(text: str) -> int:
    """An integer that is equal for equal texts."""
    return zlib.crc32(text.encode())


def _hashes(text: str) -> list[int]:
    lowered = f" {text.lower()} "
    pieces = [lowered[i : i + 3] for i in range(len(lowered) - 2)] + lowered.split()
    return [1 + zlib.crc32(piece.encode()) % (BUCKETS - 1) for piece in pieces][:MAX_TOKENS]


def _pooled(output: Any, mask: Tensor) -> Tensor:
    """The model's projected vector if it has one (CLIP), else the mean of its token vectors; (n, hidden)."""
    vectors: Tensor | None = getattr(output, "text_embeds", None)
    if vectors is not None:
        return vectors
    hidden: Tensor = output.last_hidden_state
    weights = mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
