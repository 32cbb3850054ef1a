"""Replies of all providers in one form: why they ended, the model's reasoning, and text without it.

Afterwards `response_metadata["finish_reason"]` is OpenAI's word (stop, length, tool_calls, content_filter), whatever
the provider calls it, and `additional_kwargs["reasoning_content"]` holds the reasoning, as in LangChain's integrations
for DeepSeek and Ollama; the text holds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from langchain_core.messages import AIMessage

from agents.structured_output.arguments import FINISH_REASON as FINISH_REASON
from agents.structured_output.thoughts import split_thoughts

Message = TypeVar("Message", bound=AIMessage)
REASONING = "reasoning_content"
MAX_TOKENS = 1_000_000_000
"""Of one reply: a greater count is a fault of the server."""
MAX_REASONING_CHARACTERS = 6_000
"""Characters kept of the reasoning: it goes into records and checkpoints."""

_REASON_NAMES = ("finish_reason", "stop_reason", "done_reason")
"""Of OpenAI and Google; Anthropic; Ollama."""
_WORDS: Mapping[str, tuple[str, ...]] = {
    "stop": ("end_turn", "stop_sequence", "eos", "eos_token", "load"),
    "length": ("max_tokens", "model_length", "model_context_window_exceeded", "max_output_tokens"),
    "tool_calls": ("tool_use", "function_call", "tool_call"),
    "content_filter": ("refusal", "safety", "recitation", "blocklist", "prohibited_content", "spii", "image_safety"),
}
_STANDARD = MappingProxyType({word: standard for standard, words in _WORDS.items() for word in words})


def finish_reason_of(metadata: Mapping[str, Any]) -> str:
    """Why a reply ended, in OpenAI's words; empty if the provider does not say."""
    said = next((str(metadata[name]) for name in _REASON_NAMES if metadata.get(name)), "")
    word = said.rpartition(".")[2].casefold()
    return _STANDARD.get(word, word)


def normalised(answer: AIMessage, info: Mapping[str, Any]) -> AIMessage:
    """The reply with its finish reason and reasoning in one place, and no reasoning in its text.

    Args:
        answer: as LangChain's integration gives it. Blocks of reasoning with a signature stay in its content, as their
            provider wants them back.
        info: what the integration says of the generation.
    """
    content, thought = _without_thoughts(answer.content)
    reasoning = "\n\n".join(filter(None, [_reasoning(answer), thought]))
    refused = isinstance(answer.additional_kwargs.get("refusal"), str)
    ended = "content_filter" if refused else finish_reason_of({**info, **answer.response_metadata})
    kept = {key: value for key, value in answer.additional_kwargs.items() if key not in ("reasoning", REASONING)}
    return answer.model_copy(
        update={
            "content": content,
            "additional_kwargs": {**kept, **({REASONING: _shortened(reasoning)} if reasoning else {})},
            "response_metadata": {**answer.response_metadata, **({FINISH_REASON: ended} if ended else {})},
        }
    )


def counted(answer: Message) -> Message:
    """The reply without the server's counts of tokens where they are no counts: they become estimates, and money."""
    usage: Mapping[str, Any] = answer.usage_metadata or {}
    names = ("input_tokens", "output_tokens", "total_tokens")
    details = [usage.get("input_token_details"), usage.get("output_token_details")]
    if not usage or (all(is_count(usage.get(name)) for name in names) and all(map(are_counts, details))):
        return answer
    return answer.model_copy(update={"usage_metadata": None})


def is_count(value: object) -> bool:
    """Whether a value is a number of tokens."""
    return type(value) is int and 0 <= value <= MAX_TOKENS


def are_counts(details: object) -> bool:
    """Whether a value says of what kinds tokens are, if it is there."""
    if details is None:
        return True
    return isinstance(details, Mapping) and all(value is None or is_count(value) for value in details.values())


def _without_thoughts(content: Any) -> tuple[Any, str]:
    """Content without the reasoning between tags, and that reasoning."""
    if isinstance(content, str):
        return split_thoughts(content)
    blocks, thoughts = [], []
    for block in content:
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            said, thought = split_thoughts(block["text"])
            block = {**block, "text": said}
            thoughts.append(thought)
        # An empty text is refused by Anthropic's server when it is sent back.
        if not (isinstance(block, dict) and block.get("type") == "text" and not block.get("text")):
            blocks.append(block)
    return blocks, "\n\n".join(filter(None, thoughts))


def _reasoning(answer: AIMessage) -> str:
    """The reasoning that stands beside the text: in a field of its own, or in blocks of the content."""
    fields = [answer.additional_kwargs.get(name) for name in (REASONING, "reasoning")]
    blocks = [block for block in answer.content if isinstance(block, dict)] if isinstance(answer.content, list) else []
    said = [block.get("thinking") or block.get("reasoning") for block in blocks]
    return "\n\n".join(text for text in [*fields, *said] if isinstance(text, str) and text)


def _shortened(text: str) -> str:
    """The beginning and, as reasoning comes to its point late, the end of a text."""
    if len(text) <= MAX_REASONING_CHARACTERS:
        return text
    half = MAX_REASONING_CHARACTERS // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"
