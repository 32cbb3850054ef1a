"""Tiny vision-language models made on disk: real configuration, real tokenizer, real image processor, no download.

`build_random` has random weights: it sees the photo and says anything. `build_reciter` has the same parts, but its
weights are set by hand so that each token of a sentence is followed by the next one: behind a real server it makes a
real tool call, whatever it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

HIDDEN = 256
SIDE_PX, PATCH_PX = 28, 14
TURN = "<|im_start|>assistant\n"

CHAT_TEMPLATE = """\
{%- for tool in tools or [] %}{{ tool | tojson }}
{% endfor %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}
{%- else %}{% for part in message.content or [] %}
{%- if part.type == "image" %}<image>{% elif part.type == "text" %}{{ part.text }}{% endif %}
{%- endfor %}{% endif %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

# Says where tool calls stand in what the model writes; the server reads them so for models of the Qwen family.
RESPONSE_TEMPLATE: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    "start_anchor": TURN,
    "fields": {
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"\s*<\|im_end\|>", "content": "text"},
    },
}


def build_random(folder: Path, seed: int = 0) -> Path:
    """A model with random weights."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer(())
    return _save(folder, _model(tokenizer), tokenizer)


def build_reciter(folder: Path, pieces: Sequence[str]) -> Path:
    """A model that says these pieces, one token each, and stops. No piece may occur twice."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(pieces)
    model = _model(tokenizer)
    # The prompt ends with a newline, the last byte of "assistant\n".
    chain = [tokenizer.encode("\n")[-1], *(tokenizer.convert_tokens_to_ids(piece) for piece in pieces)]
    _recite(model, [*chain, tokenizer.eos_token_id])
    return _save(folder, model, tokenizer)


def _recite(model: LlavaForConditionalGeneration, chain: Sequence[int]) -> None:
    """Let nothing but the last token count, and let each token of the chain ask for the next one."""
    weights = dict(model.named_parameters())
    embedded = next(weight for name, weight in weights.items() if name.endswith("embed_tokens.weight"))
    head = next(weight for name, weight in weights.items() if name.endswith("lm_head.weight"))
    mixing = [weight for name, weight in weights.items() if _mixes(name)]
    with torch.no_grad():
        for weight in [*mixing, head]:
            weight.zero_()
        embedded.copy_(torch.nn.functional.normalize(torch.randn_like(embedded), dim=1))
        for this, following in pairwise(chain):
            head[following] = 10.0 * embedded[this]


def _mixes(name: str) -> bool:
    """Whether a weight adds something to a token: what others say, or a thought of its own."""
    return "language_model" in name and name.endswith(("o_proj.weight", "down_proj.weight"))


def _tokenizer(pieces: Sequence[str]) -> PreTrainedTokenizerFast:
    """Bytes, the marks of turns and pictures, and the pieces as tokens of their own."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(BPE(vocab={char: number for number, char in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    plain.add_tokens([AddedToken(piece, normalized=False) for piece in pieces])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        eos_token="<|im_end|>",  # noqa: S106 - a token of the vocabulary
        pad_token="<pad>",  # noqa: S106
        additional_special_tokens=["<image>", "<|im_start|>"],
        response_template=RESPONSE_TEMPLATE,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _model(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    sees = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE_PX,
        patch_size=PATCH_PX,
    )
    speaks = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=65_536,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=sees,
        text_config=speaks,
        image_token_index=tokenizer.get_vocab()["<image>"],
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    model.eval()
    return model


def _save(folder: Path, model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> Path:
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX})
    processor = LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",  # noqa: S106
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.do_sample = False
    # In a reply that is sent back it would stand for a picture that is not there.
    model.generation_config.suppress_tokens = [tokenizer.get_vocab()["<image>"]]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
