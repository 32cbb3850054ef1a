"""OpenAI's protocol as other servers speak it: `max_tokens`, and the reasoning in a field beside the text.

LangChain's class for OpenAI drops such fields. DeepSeek and Qwen send `reasoning_content`
(https://api-docs.deepseek.com/guides/thinking_mode), vLLM since 0.12 and OpenRouter `reasoning`. DeepSeek in thinking
mode refuses a conversation with tool calls whose reasoning is not sent back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai.chat_models.base import BaseChatOpenAI

from agents.chat_models.dialects.replies import REASONING, are_counts, is_count

_FIELDS = (REASONING, "reasoning")


class CompatibleChat(BaseChatOpenAI):
    """A chat model behind a server that speaks OpenAI's protocol.

    Attributes:
        length_parameter: the name under which the limit of a reply's tokens is sent.
        sends_reasoning: whether the reasoning of past replies is sent back.
    """

    length_parameter: str = "max_tokens"
    sends_reasoning: bool = False

    @property
    def _llm_type(self) -> str:
        return "openai-compatible"

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        limit = payload.pop("max_tokens", None)
        if limit is not None:
            payload[self.length_parameter] = limit
        if self.sends_reasoning:
            messages = self._convert_input(input_).to_messages()
            for message, sent in zip(messages, payload["messages"], strict=True):
                if isinstance(message, AIMessage):
                    sent[REASONING] = message.additional_kwargs.get(REASONING, "")
        return payload

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        is_plain = isinstance(response, dict) or not hasattr(response, "model_dump")
        plain = response if is_plain else response.model_dump(warnings=False)
        if not _has_counts(plain.get("usage")):
            plain = {**plain, "usage": None}
            response = plain if is_plain else response.model_copy(update={"usage": None})
        result = super()._create_chat_result(response, generation_info)
        for generation, choice in zip(result.generations, plain["choices"], strict=True):
            _keep_reasoning(generation.message, choice["message"])
            _count_cached(generation.message, plain.get("usage"))
            # LangChain gives all choices one dictionary, in which the last one's reason would stand.
            generation.generation_info = {
                **(generation.generation_info or {}),
                "finish_reason": choice.get("finish_reason"),
            }
        return result

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        if not _has_counts(chunk.get("usage")):
            chunk = {**chunk, "usage": None}
        piece = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        choices = chunk.get("choices") or []
        if piece is not None:
            _keep_reasoning(piece.message, choices[0]["delta"] if choices else {})
            _count_cached(piece.message, chunk.get("usage"))
        return piece


def _keep_reasoning(message: Any, sent: Mapping[str, Any]) -> None:
    said = next((sent[name] for name in _FIELDS if isinstance(sent.get(name), str) and sent[name]), "")
    if said and isinstance(message, AIMessage | AIMessageChunk):
        message.additional_kwargs[REASONING] = said


def _has_counts(usage: Any) -> bool:
    """Whether a server's usage, if there is one, holds counts where the protocol has them."""
    if usage is None:
        return True
    if not isinstance(usage, Mapping):
        return False
    names = ("prompt_tokens", "completion_tokens")
    details = [usage.get(f"{name}_details") for name in names]
    return all(is_count(usage.get(name)) for name in names) and all(map(are_counts, details))


def _count_cached(message: Any, usage: Mapping[str, Any] | None) -> None:
    """Take DeepSeek's count of cached tokens, where the field of OpenAI's protocol is missing."""
    cached = (usage or {}).get("prompt_cache_hit_tokens")
    counted = getattr(message, "usage_metadata", None)
    if is_count(cached) and counted and "cache_read" not in (counted.get("input_token_details") or {}):
        message.usage_metadata = {**counted, "input_token_details": {"cache_read": cached}}
